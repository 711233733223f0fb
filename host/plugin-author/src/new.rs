//! Decides what a new project consists of. Writes into a directory that is not there yet, or empty.

use crate::{
    build::BuildError,
    contract::{self, Hook, PLUGIN_WIT},
    languages::Language,
    project::{MANIFEST, Project, ProjectError, check_name},
    template::{TemplateFile, render},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What every language's project has.
const COMMON: &[TemplateFile] = &[
    TemplateFile { path: "tests/first.toml", text: include_str!("../templates/common/tests/first.toml") },
    TemplateFile { path: "tests/hello.eml", text: include_str!("../templates/common/tests/hello.eml") },
];

#[derive(Clone, Debug)]
pub struct NewProject<'a> {
    /// Made if it is not there.
    pub dir: &'a Path,
    pub name: &'a str,
    pub language: Language,
    /// In any order; none asks for `on-message`.
    pub hooks: &'a [Hook],
}

#[derive(Debug, thiserror::Error)]
pub enum NewError {
    #[error("{0}")]
    Name(String),
    #[error("{} is not empty; a new project wants a directory of its own", .0.display())]
    NotEmpty(PathBuf),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error(transparent)]
    Bindings(#[from] BuildError),
}

/// Writes the project, generated bindings included, and opens it.
///
/// # Errors
/// The name is none, the directory is not empty, or cannot be written to.
pub fn create(new: &NewProject<'_>) -> Result<Project, NewError> {
    check_name(new.name).map_err(NewError::Name)?;
    match fs::read_dir(new.dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(NewError::NotEmpty(new.dir.to_owned())),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(new.dir)(error)),
        Ok(false) | Err(_) => {}
    }
    let hooks = if new.hooks.is_empty() { &[Hook::OnMessage] } else { new.hooks };
    for (path, text) in files(new.name, new.language, hooks) {
        let path = new.dir.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed(parent))?;
        }
        fs::write(&path, text).map_err(failed(&path))?;
    }
    let project = Project::open(new.dir)?;
    // So that an editor knows the gateway's functions before the first build.
    project.language.toolchain().bindings(&project)?;
    Ok(project)
}

fn files(name: &str, language: Language, hooks: &[Hook]) -> Vec<(String, String)> {
    let manifest = format!("name = \"{name}\"\nversion = \"0.1.0\"\nlanguage = \"{language}\"\n");
    let mut files = vec![
        (MANIFEST.to_owned(), manifest),
        ("wit/world.wit".to_owned(), contract::world(name, hooks)),
        ("wit/deps/waypost-plugin/plugin.wit".to_owned(), PLUGIN_WIT.to_owned()),
    ];
    let templates = COMMON.iter().chain(language.toolchain().template());
    files.extend(templates.filter_map(|file| render(file, name, hooks)));
    files
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> NewError + use<> {
    let path = path.to_owned();
    move |error| NewError::File { path, error }
}
