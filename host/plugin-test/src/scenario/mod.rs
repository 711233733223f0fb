//! What a scenario file says: a plugin's surroundings, the calls that are made, and what must come of them.

mod authenticity;
pub(crate) mod content;
mod expect;
mod file;
mod step;
mod world;

pub use expect::{Expect, KvExpect};

use crate::{question::Question, setting::Setting};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use toml_keys::Mistakes;

#[derive(Clone)]
pub struct Scenario {
    pub file: PathBuf,
    pub setting: Setting,
    /// The plugin must be refused when it is loaded, for a reason that holds this text.
    pub expect_load: Option<String>,
    pub steps: Vec<Step>,
}

/// One call.
#[derive(Clone)]
pub struct Step {
    pub name: String,
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// Since the start of the scenario.
    pub at: Duration,
    pub question: Question,
    pub expect: Expect,
}

impl Scenario {
    /// Reads the file, and the mails that it names. Blocks.
    pub fn read(file: &Path) -> Result<Self, Mistakes> {
        file::read(file)
    }

    /// The file's name without its ending.
    pub fn name(&self) -> String {
        self.file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
    }
}

/// The scenario files of a directory, in order of name. Blocks.
pub fn find(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// All of `files`, or every mistake of every one. Blocks.
pub fn read_all(files: &[PathBuf]) -> Result<Vec<Scenario>, Mistakes> {
    let (mut scenarios, mut mistakes) = (Vec::new(), Vec::new());
    for file in files {
        match Scenario::read(file) {
            Ok(scenario) => scenarios.push(scenario),
            Err(wrong) => mistakes.extend(wrong.into_list()),
        }
    }
    if mistakes.is_empty() { Ok(scenarios) } else { Err(Mistakes::new(Path::new(""), mistakes)) }
}

#[cfg(test)]
mod tests;
