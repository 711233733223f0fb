//! Which component and which scenarios an author means: a project, a directory, or a file.

use super::PluginError;
use plugin_author::Project;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Target {
    pub component: PathBuf,
    /// May not be there.
    pub scenarios: PathBuf,
}

impl Target {
    /// `given` is a directory or a component; scenarios lie in `tests/` beside it, unless they are named.
    pub fn find(given: &Path, scenarios: Option<&Path>) -> Result<Self, PluginError> {
        let component = if given.is_dir() { in_directory(given)? } else { given.to_owned() };
        if !component.is_file() {
            let made = if given.is_dir() { ": `waypost plugin build` makes it" } else { "" };
            return Err(usage(format!("{} is not there{made}", component.display())));
        }
        let beside = || component.parent().unwrap_or(Path::new("")).join("tests");
        let scenarios = scenarios.map_or_else(beside, Path::to_owned);
        Ok(Self { component, scenarios })
    }
}

/// What a project makes; in another directory, the only component there.
fn in_directory(dir: &Path) -> Result<PathBuf, PluginError> {
    if dir.join(plugin_author::project::MANIFEST).exists() {
        let project = Project::open(dir).map_err(|error| PluginError::Configuration(error.to_string()))?;
        return Ok(dir.join(project.component().file_name().unwrap_or_default()));
    }
    let entries = std::fs::read_dir(dir).map_err(|error| usage(format!("{}: {error}", dir.display())))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "wasm")).collect();
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(usage(format!(
            "{} is no plugin project and holds no component; name one: waypost plugin test FILE.wasm",
            dir.display()
        ))),
        (Some(_), false) => Err(usage(format!("{} holds several components; name one", dir.display()))),
    }
}

fn usage(text: String) -> PluginError {
    PluginError::Usage(format!("waypost plugin test: {text}"))
}
