//! Checks the built plugins from outside: a component exports just the hooks that its author named.
//!
//! Reads `WAYPOST_GUESTS`, else the place where `cargo xtask guests` puts components.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use wasmparser::{Parser, Payload};

/// Interfaces at the component's own level; what is nested in it is its own business.
#[derive(Debug, Default)]
struct Surface {
    exports: BTreeSet<String>,
    imports: BTreeSet<String>,
}

fn surface(component: &[u8]) -> Surface {
    let mut surface = Surface::default();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                surface.imports.extend(section.into_iter().map(|import| import.unwrap().name.name.to_owned()));
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                surface.exports.extend(section.into_iter().map(|export| export.unwrap().name.name.to_owned()));
            }
            _ => {}
        }
    }
    surface
}

fn built(plugin: &str) -> Surface {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/wasm32-wasip2/plugin");
    let folder = std::env::var_os("WAYPOST_GUESTS").map_or(default, PathBuf::from);
    // Cargo writes an underscore for a hyphen.
    let found = [plugin.to_owned(), plugin.replace('-', "_")].map(|name| folder.join(name).with_extension("wasm"));
    let Some(file) = found.iter().find(|file| file.exists()) else {
        panic!("{} is not built: run `cargo xtask guests` first", found[0].display())
    };
    surface(&std::fs::read(file).unwrap())
}

#[test]
fn each_plugin_exports_its_hooks_and_no_other() {
    for (plugin, hook) in [
        ("recipients", "on-recipient"),
        ("greylist", "on-recipient"),
        ("tag", "on-message"),
        ("split-route", "on-route"),
        ("vip-redirect", "on-offline"),
    ] {
        let expected = ["setup", hook].map(|name| format!("waypost:plugin/{name}@0.1.0"));
        assert_eq!(built(plugin).exports, BTreeSet::from(expected), "{plugin}");
    }
}

#[test]
fn no_plugin_asks_for_the_network_or_for_more_of_the_gateway_than_it_uses() {
    for (plugin, services) in [
        ("recipients", &["config", "log"][..]),
        ("greylist", &["config", "kv", "log", "metrics", "session", "transaction", "types"]),
        ("tag", &["config", "log", "message", "transaction", "types"]),
        ("split-route", &["config", "delivery", "log"]),
        ("vip-redirect", &["config", "delivery", "log"]),
    ] {
        let imports = built(plugin).imports;
        let ours = imports.iter().filter_map(|name| name.strip_prefix("waypost:plugin/")?.split('@').next());
        let used: BTreeSet<&str> = ours.filter(|name| *name != "types").collect();
        assert_eq!(used, services.iter().copied().filter(|name| *name != "types").collect(), "{plugin}");
        for name in imports.iter().filter(|name| !name.starts_with("waypost:plugin/")) {
            assert!(
                ["wasi:cli/", "wasi:io/", "wasi:clocks/", "wasi:random/", "wasi:filesystem/"]
                    .iter()
                    .any(|package| name.starts_with(package)),
                "{plugin} imports {name}"
            );
        }
    }
}
