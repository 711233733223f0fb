//! Decides which languages there are. Each one says in its own file what it needs and how it builds.

mod c;
mod go;
mod javascript;
mod python;
mod rust;

pub use javascript::Engine;

use crate::{
    build::{BuildError, write},
    project::Project,
    run::Run,
    template::TemplateFile,
};
use std::{fmt, fs, path::PathBuf, str::FromStr};
use wit_bindgen_core::{Files, WorldGenerator};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Rust,
    C,
    Cpp,
    Go,
    JavaScript,
    TypeScript,
    Python,
}

/// What `build` needs, and the exact commands that bring it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// "Rust's target wasm32-wasip2"
    pub what: String,
    /// One command a line, from public registries only.
    pub install: String,
}

/// One language's way from a new project to a component.
pub trait Toolchain: Sync {
    /// The files of a new project, besides those that every language has (see `template`).
    fn template(&self) -> &'static [TemplateFile];

    /// Writes generated sources, from the project's WIT files alone: no program is needed.
    ///
    /// # Errors
    /// The world has something that this language's bindings cannot have.
    fn bindings(&self, _project: &Project) -> Result<(), BuildError> {
        Ok(())
    }

    /// What has to be installed first.
    fn missing(&self, project: &Project, run: &mut dyn Run) -> Vec<Missing>;

    /// Runs the language's tools, and says where the component is. Name and version are noted by the caller.
    ///
    /// # Errors
    /// A tool fails, or what it made is no component.
    fn build(&self, project: &Project, run: &mut dyn Run) -> Result<PathBuf, BuildError>;
}

impl Language {
    pub const ALL: [Self; 7] =
        [Self::Rust, Self::C, Self::Cpp, Self::Go, Self::JavaScript, Self::TypeScript, Self::Python];

    /// As `waypost-plugin.toml` and `--lang` have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Cpp => "cpp",
            Self::Go => "go",
            Self::JavaScript => "javascript",
            Self::TypeScript => "typescript",
            Self::Python => "python",
        }
    }

    #[must_use]
    pub fn toolchain(self) -> &'static dyn Toolchain {
        match self {
            Self::Rust => &rust::Rust,
            Self::C => &c::C,
            Self::Cpp => &c::Cpp,
            Self::Go => &go::Go,
            Self::JavaScript => &javascript::JavaScript,
            Self::TypeScript => &javascript::TypeScript,
            Self::Python => &python::Python,
        }
    }

    /// Other names that people give it.
    const fn alias(self) -> &'static str {
        match self {
            Self::Rust => "rs",
            Self::C => "C",
            Self::Cpp => "c++",
            Self::Go => "golang",
            Self::JavaScript => "js",
            Self::TypeScript => "ts",
            Self::Python => "py",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|language| [language.name(), language.alias()].contains(&text));
        found.ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|language| language.name()).collect();
            format!("{text:?} is none of {}", known.join(", "))
        })
    }
}

/// What a bindings generator makes of the project's world.
fn generated(
    project: &Project,
    language: &'static str,
    mut generator: Box<dyn WorldGenerator>,
) -> Result<Files, BuildError> {
    let (mut resolve, world) = project.world()?;
    let mut files = Files::default();
    let generated = generator.generate(&mut resolve, world, &mut files);
    generated.map_err(|error| BuildError::Bindings { language, text: format!("{error:#}") })?;
    Ok(files)
}

/// What stands there already stays as it is, so that tools that look at times find nothing new.
fn write_changed(path: &std::path::Path, bytes: &[u8]) -> Result<(), BuildError> {
    if fs::read(path).is_ok_and(|found| found == bytes) { Ok(()) } else { write(path, bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_found_by_its_names() {
        for language in Language::ALL {
            assert_eq!(language.name().parse(), Ok(language));
            assert_eq!(language.alias().parse(), Ok(language));
        }
        assert!("perl".parse::<Language>().unwrap_err().contains("rust"));
    }
}
