//! Builds the crates of `plugins/` as components, and puts those that are shipped in place.

use crate::tools::{Failure, Project, copy_file, empty_dir, file_failure, output, run, subdirectories};
use std::{fs, path::Path};

const TARGET: &str = "wasm32-wasip2";
/// A library for authors, no plugin.
const SDK: &str = "sdk";
/// Guests for tests, that misbehave or are old: built, never shipped.
const NOT_SHIPPED: &[&str] = &["fixture-0-1-0", "hostile"];

/// The shipped plugins' names.
pub(crate) fn build(project: &Project) -> Result<Vec<String>, Failure> {
    add_target(project)?;
    let names = plugins(project)?;
    let mut cargo = project.cargo(&["build", "--target", TARGET, "--profile", "plugin"]);
    for name in &names {
        cargo.args(["-p", name]);
    }
    run(&mut cargo)?;
    let shipped: Vec<_> = names.into_iter().filter(|name| !NOT_SHIPPED.contains(&name.as_str())).collect();
    let plugins = project.layout().join("plugins");
    empty_dir(&plugins)?;
    for name in &shipped {
        // Cargo names a library with underscores.
        let built = project.built_guests().join(format!("{}.wasm", name.replace('-', "_")));
        copy_file(&built, &plugins.join(format!("{name}.wasm")))?;
    }
    Ok(shipped)
}

fn add_target(project: &Project) -> Result<(), Failure> {
    let directory = output(&mut project.command("rustc", &["--print", "target-libdir", "--target", TARGET]))?;
    if Path::new(directory.trim()).is_dir() {
        return Ok(());
    }
    run(&mut project.command("rustup", &["target", "add", TARGET])).map_err(|failure| {
        Failure::Other(format!("{failure}; the plugins need Rust's target {TARGET}: rustup target add {TARGET}"))
    })
}

/// The packages below `plugins/`.
fn plugins(project: &Project) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for directory in subdirectories(&project.root.join("plugins"))? {
        let manifest = directory.join("Cargo.toml");
        if !manifest.is_file() || directory.ends_with(SDK) {
            continue;
        }
        let text = fs::read_to_string(&manifest).map_err(file_failure(&manifest))?;
        let name = package_name(&text);
        names.push(name.ok_or_else(|| Failure::Other(format!("{} names no package", manifest.display())))?);
    }
    Ok(names)
}

fn package_name(manifest: &str) -> Option<String> {
    let package = manifest.split("[package]").nth(1)?.split("\n[").next()?;
    let name = package.lines().find_map(|line| line.trim().strip_prefix("name")?.trim_start().strip_prefix('='))?;
    Some(name.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packages_name_is_read_from_its_own_table() {
        let manifest = "[package]\nname = \"vip-redirect\"\nversion = \"1\"\n\n[lib]\nname = \"other\"\n";
        assert_eq!(package_name(manifest).as_deref(), Some("vip-redirect"));
        assert_eq!(package_name("[lib]\nname = \"other\"\n"), None);
        assert_eq!(package_name("[package]\nversion = \"1\"\n[lib]\nname = \"other\"\n"), None);
    }

    #[test]
    fn every_plugin_of_the_project_is_found_and_the_sdk_is_none() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let project = Project { target: root.join("target"), root };
        let names = plugins(&project).unwrap();
        for shipped in ["greylist", "recipients", "split-route", "tag", "vip-redirect"] {
            assert!(names.iter().any(|name| name == shipped), "{shipped} in {names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("sdk")));
    }
}
