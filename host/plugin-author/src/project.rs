//! Decides what a directory must hold to be a plugin's project, and what may be called one.
//!
//! Reads `waypost-plugin.toml` and the WIT files; never writes.

use crate::{
    contract::{Hook, PACKAGE, WORLD},
    languages::{Engine, Language},
};
use serde::Deserialize;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use wit_parser::{Resolve, WorldId, WorldItem};

pub const MANIFEST: &str = "waypost-plugin.toml";

/// An author's project, read from its directory.
#[derive(Clone, Debug)]
pub struct Project {
    pub dir: PathBuf,
    pub name: String,
    pub version: String,
    pub language: Language,
    /// What runs JavaScript and TypeScript; means nothing in other languages.
    pub engine: Engine,
}

#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error(
        "{dir} has no {MANIFEST}: this is no plugin project (`waypost plugin new --lang rust NAME` makes one)",
        dir = .0.display()
    )]
    NoManifest(PathBuf),
    #[error("{}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{}: {text}", path.display())]
    Manifest { path: PathBuf, text: String },
    #[error("{}: {text}", path.display())]
    Wit { path: PathBuf, text: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    language: String,
    #[serde(default = "first_version")]
    version: String,
    engine: Option<String>,
}

fn first_version() -> String {
    "0.1.0".to_owned()
}

impl Project {
    /// # Errors
    /// No manifest, or one that makes no sense.
    pub fn open(dir: &Path) -> Result<Self, ProjectError> {
        let path = dir.join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ProjectError::NoManifest(dir.to_owned()));
            }
            Err(error) => return Err(ProjectError::Read { path, error }),
        };
        let wrong = |text: String| ProjectError::Manifest { path: path.clone(), text };
        let manifest: Manifest = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        check_name(&manifest.name).map_err(|text| wrong(format!("name: {text}")))?;
        let language = manifest.language.parse().map_err(|text| wrong(format!("language: {text}")))?;
        let engine = manifest.engine.as_deref().map_or(Ok(Engine::default()), str::parse);
        let engine = engine.map_err(|text| wrong(format!("engine: {text}")))?;
        // Programs are run in the project, so their arguments must not depend on where we are.
        let dir = std::path::absolute(dir).map_err(|error| ProjectError::Read { path: dir.to_owned(), error })?;
        Ok(Self { dir, name: manifest.name, version: manifest.version, language, engine })
    }

    /// Where the finished component goes.
    #[must_use]
    pub fn component(&self) -> PathBuf {
        self.dir.join(format!("{}.wasm", self.name))
    }

    /// The name as languages without hyphens write it.
    #[must_use]
    pub fn name_snake(&self) -> String {
        snake(&self.name)
    }

    /// Generated sources.
    #[must_use]
    pub fn gen_dir(&self) -> PathBuf {
        self.dir.join("gen")
    }

    /// # Errors
    /// The files below `wit/` make no sense, or have no world `plugin`.
    pub fn world(&self) -> Result<(Resolve, WorldId), ProjectError> {
        let path = self.dir.join("wit");
        // The alternate form of its errors quotes the line.
        let wrong = |text: String| ProjectError::Wit { path: path.clone(), text };
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(&path).map_err(|error| wrong(format!("{error:#}")))?;
        let world = resolve.select_world(&[package], Some(WORLD)).map_err(|error| wrong(format!("{error:#}")))?;
        Ok((resolve, world))
    }

    /// The hooks that its world exports, in the order of a mail's way.
    ///
    /// # Errors
    /// As for [`Self::world`], or a hook that the contract doesn't have.
    pub fn hooks(&self) -> Result<Vec<Hook>, ProjectError> {
        let (resolve, world) = self.world()?;
        let mut hooks = Vec::new();
        for (key, item) in resolve.worlds.get(world).iter().flat_map(|world| &world.exports) {
            let name = resolve.name_world_key(key);
            let ours = name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/'));
            let (Some(ours), WorldItem::Interface { .. }) = (ours, item) else { continue };
            let hook = ours.split('@').next().unwrap_or(ours).parse();
            hooks.push(hook.map_err(|text| ProjectError::Wit { path: self.dir.join("wit"), text })?);
        }
        hooks.sort_unstable();
        Ok(hooks)
    }
}

/// A name has to do in WIT, in every language's package names and in file names.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    const TAKEN: [&str; 9] = ["test", "core", "std", "alloc", "main", "plugin", "gen", "wit", "tests"];
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    if name.len() > 64 || !name.split('-').all(word) {
        return Err(format!(
            "{name:?}: a name is words of lower-case letters and digits with hyphens between them, each word starts \
             with a letter, 64 characters at most; for instance \"no-reply\""
        ));
    }
    if TAKEN.contains(&name) {
        return Err(format!("{name:?} means something else to some compiler; take another name"));
    }
    // Among others, WIT's own words cannot name a package.
    let mut resolve = Resolve::default();
    resolve
        .push_str("name", &format!("package local:{name};"))
        .map_err(|_| format!("{name:?} means something in WIT; take another name"))?;
    Ok(())
}

pub(crate) fn snake(name: &str) -> String {
    name.replace('-', "_")
}

pub(crate) fn camel(name: &str) -> String {
    let (first, rest) = name.split_once('-').unwrap_or((name, ""));
    format!("{first}{}", pascal(rest))
}

pub(crate) fn pascal(name: &str) -> String {
    let mut text = String::new();
    for word in name.split('-') {
        let mut chars = word.chars();
        text.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        text.push_str(chars.as_str());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_some_tool_would_refuse_is_refused_at_once() {
        for good in ["greylist", "greylist-c", "a1-b2"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "a--b", "A", "a_b", "1a", "a-1", "../a", "é", "test", "interface", "a b"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name(&"a".repeat(65)).is_err());
    }

    #[test]
    fn names_are_written_as_languages_want_them() {
        assert_eq!(snake("my-own-plugin"), "my_own_plugin");
        assert_eq!(pascal("my-own-plugin"), "MyOwnPlugin");
        assert_eq!(camel("my-own-plugin"), "myOwnPlugin");
        assert_eq!(camel("plugin"), "plugin");
    }
}
