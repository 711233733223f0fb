//! Judges a component before it serves: what it is, what it exports and imports, and for which
//! version of the contract it was built. Every refusal says what to do about it.

use crate::{
    guest::{Exports, Guest},
    metadata::{self, Metadata},
    state::State,
};
use std::time::Duration;
use wasmtime::{
    Engine, Store,
    component::{Component, InstancePre, Linker},
};

const PACKAGE: &str = "waypost:plugin/";
/// Of the contract that this host speaks; any 0.1.x fits.
const VERSION: &str = "0.1.0";
const HOOKS: [&str; 8] =
    ["setup", "on-connect", "on-recipient", "on-message", "on-route", "on-offline", "on-online", "on-event"];
const SERVICES: [&str; 12] = [
    "types",
    "session",
    "transaction",
    "attributes",
    "message",
    "delivery",
    "failure",
    "config",
    "kv",
    "dns",
    "log",
    "metrics",
];
/// WASI packages that are linked.
const WASI: [&str; 7] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/",
    "wasi:random/",
];

/// What a component shows from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// As the component says of itself.
    pub name: Option<String>,
    pub version: Option<String>,
    /// Its hooks, `setup` included, in the order of a mail's way.
    pub hooks: Vec<&'static str>,
    /// Interfaces that it imports, as written.
    pub imports: Vec<String>,
    /// Of the contract that it was built for.
    pub wit_version: String,
    /// Of the component, in bytes.
    pub size: u64,
    /// Zero when it came from the cache.
    pub compile_time: Duration,
}

/// A component that can serve.
pub(crate) struct Loaded {
    pre: InstancePre<State>,
    exports: Exports,
    pub(crate) inspection: Inspection,
}

/// Tells a component from everything else that may lie in the directory.
pub(crate) fn check_format(bytes: &[u8]) -> Result<(), String> {
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => {
            Err("it is a core WebAssembly module, not a component; build it for \
             wasm32-wasip2, or wrap it with `wasm-tools component new`"
                .to_owned())
        }
        Some([0, b'a', b's', b'm', ..]) => Err("it is a WebAssembly component of an unknown binary version; build it \
             with current tools"
            .to_owned()),
        Some([0x7f, b'E', b'L', b'F', ..]) => {
            Err("it is compiled code, which is never run; give the component that it was made from".to_owned())
        }
        _ if !bytes.is_empty() && bytes.iter().take(512).all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) => {
            Err("it is a text file, not a WebAssembly component; build the component first, or parse this text with \
                 `wasm-tools parse`"
                .to_owned())
        }
        _ => Err("it is not a WebAssembly component".to_owned()),
    }
}

impl Loaded {
    pub(crate) fn new(
        engine: &Engine,
        linker: &Linker<State>,
        component: &Component,
        bytes: &[u8],
        compile_time: Duration,
    ) -> Result<Self, String> {
        let (hooks, wit_version) = check_exports(engine, component)?;
        let imports = check_imports(engine, component)?;
        let pre = linker.instantiate_pre(component).map_err(|error| {
            format!("its imports do not fit this gateway ({error:#}); build it with this version's WIT")
        })?;
        let exports = Exports::new(&pre, &hooks).map_err(|error| wrong_type(&error))?;
        let Metadata { name, version } = metadata::read(bytes);
        let size = bytes.len() as u64;
        let inspection = Inspection { name, version, hooks, imports, wit_version, size, compile_time };
        Ok(Self { pre, exports, inspection })
    }

    pub(crate) fn has(&self, hook: &str) -> bool {
        self.inspection.hooks.contains(&hook)
    }

    pub(crate) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Guest> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        self.exports.load(store, &instance)
    }

    /// Throws the instance away.
    pub(crate) async fn check_types(&self, store: &mut Store<State>) -> Result<(), String> {
        let instance = self.pre.instantiate_async(&mut *store).await;
        let instance = instance.map_err(|error| format!("it cannot be instantiated: {}", error.root_cause()))?;
        self.exports.load(store, &instance).map(drop).map_err(|error| wrong_type(&error))
    }
}

fn wrong_type(error: &wasmtime::Error) -> String {
    format!("a hook has the wrong type ({error:#}); build it with this version's WIT, waypost:plugin@{VERSION}")
}

/// The hooks and the contract's version. Names outside our package are none of our business.
fn check_exports(engine: &Engine, component: &Component) -> Result<(Vec<&'static str>, String), String> {
    let ty = component.component_type();
    let mut found = Vec::new();
    let mut wit_version = None;
    for (name, _) in ty.exports(engine) {
        let Some((interface, version)) = own_interface(name) else { continue };
        check_version(version)?;
        let Some(hook) = HOOKS.into_iter().find(|hook| *hook == interface) else {
            return Err(format!("it exports {name}, which is no hook; the hooks are {}", HOOKS.join(", ")));
        };
        found.push(hook);
        wit_version = Some(version.to_owned());
    }
    match wit_version {
        Some(version) if found.iter().any(|hook| *hook != "setup") => {
            Ok((HOOKS.into_iter().filter(|hook| found.contains(hook)).collect(), version))
        }
        _ => Err(format!(
            "it exports no hook; export at least one of {} from the package waypost:plugin@{VERSION}",
            HOOKS.iter().skip(1).copied().collect::<Vec<_>>().join(", ")
        )),
    }
}

fn check_imports(engine: &Engine, component: &Component) -> Result<Vec<String>, String> {
    let ty = component.component_type();
    let imports: Vec<String> = ty.imports(engine).map(|(name, _)| name.to_owned()).collect();
    let mut unknown = Vec::new();
    for name in &imports {
        if let Some((interface, version)) = own_interface(name) {
            check_version(version)?;
            if !SERVICES.contains(&interface) {
                unknown.push(name.as_str());
            }
        } else if name.starts_with("wasi:sockets/") {
            return Err(format!(
                "it imports {name}; plugins have no network of their own: ask the dns interface, send requests by \
                 wasi:http to a server that is granted, or build without it"
            ));
        } else if !WASI.iter().any(|package| name.starts_with(package)) {
            unknown.push(name);
        }
    }
    if unknown.is_empty() {
        return Ok(imports);
    }
    Err(format!(
        "it imports {}, which this gateway does not have; it has {} of waypost:plugin@{VERSION}, and wasi:cli, clocks, \
         http, io, random and an empty filesystem",
        unknown.join(", "),
        SERVICES.join(", ")
    ))
}

/// `waypost:plugin/on-message@0.1.0` → `on-message`, `0.1.0`.
fn own_interface(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(PACKAGE)?;
    Some(rest.split_once('@').unwrap_or((rest, "")))
}

/// Within 0.1.x nothing but additions is made.
fn check_version(version: &str) -> Result<(), String> {
    let track = |version: &str| version.rsplit_once('.').map(|(track, _)| track.to_owned());
    if track(version) == track(VERSION) {
        return Ok(());
    }
    Err(format!(
        "it was built for waypost:plugin@{version}; this gateway speaks {VERSION}: build it again with this version's WIT"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_version_of_the_track_fits() {
        assert!(check_version("0.1.7").is_ok());
        for other in ["0.2.0", "1.0.0", "0.1", ""] {
            assert!(check_version(other).is_err(), "{other}");
        }
    }

    #[test]
    fn what_is_no_component_is_named() {
        assert!(check_format(b"\0asm\x01\0\0\0").unwrap_err().contains("core WebAssembly module"));
        assert!(check_format(b"(component)\n").unwrap_err().contains("text file"));
        assert!(check_format(b"\x7fELF\x02\x01\x01\0").unwrap_err().contains("compiled code"));
        assert!(check_format(b"").is_err());
        assert!(check_format(b"\0asm\x0d\0\x01\0").is_ok());
    }
}
