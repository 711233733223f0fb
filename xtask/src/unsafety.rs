//! Unsafe code is denied for the whole workspace. This holds the exceptions to the list below.

use crate::tools::{Failure, Project, file_failure};
use std::{fs, path::Path};

/// The gateway has one: compiled plugins are loaded from a cache that only it can write. In guests, which run in the sandbox, what `wit-bindgen`
/// generates is unsafe, and so is what the hostile one tries.
const ALLOWED: &[&str] = &[
    "host/plugin-host/src/cache.rs",
    "plugins/fixture-0-1-0/src/bindings.rs",
    "plugins/fixture-0-1-0/src/lib.rs",
    "plugins/hostile/src/bindings.rs",
    "plugins/hostile/src/deeds.rs",
    "plugins/hostile/src/lib.rs",
    "plugins/sdk/src/bindings.rs",
    "plugins/sdk/src/export.rs",
];

pub(crate) fn check(project: &Project) -> Result<(), Failure> {
    let mut found = Vec::new();
    for directory in ["host", "plugins", "xtask"] {
        look(&project.root.join(directory), &mut |path, source| {
            let shown = path.strip_prefix(&project.root).unwrap_or(path).to_string_lossy().into_owned();
            if !ALLOWED.contains(&shown.as_str()) && source.lines().any(allows_unsafe) {
                found.push(shown);
            }
        })?;
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(Failure::Other(format!("unsafe code outside of its place: {}", found.join(", "))))
}

/// Comments may speak of it.
fn allows_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let words =
        [concat!("unsafe", "_code"), concat!("unsafe", " {"), concat!("unsafe", " fn"), concat!("unsafe", " impl")];
    words.iter().any(|word| code.contains(word)) && !code.contains('"')
}

fn look(directory: &Path, see: &mut dyn FnMut(&Path, &str)) -> Result<(), Failure> {
    for entry in fs::read_dir(directory).map_err(file_failure(directory))? {
        let path = entry.map_err(file_failure(directory))?.path();
        if path.is_dir() && !path.ends_with("target") {
            look(&path, see)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            see(&path, &fs::read_to_string(&path).map_err(file_failure(&path))?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_allows_it_is_found_and_text_about_it_is_not() {
        assert!(allows_unsafe(concat!("#![allow(", "unsafe", "_code)]")));
        assert!(allows_unsafe(concat!("let x = ", "unsafe", " { y };")));
        assert!(!allows_unsafe("// unsafe { } is not used"));
    }
}
