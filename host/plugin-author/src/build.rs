//! Decides the order of a build: what is missing, bindings, the language's tools, the finished component.

use crate::{
    component::{self, Malformed},
    languages::Missing,
    project::{Project, ProjectError},
    run::{Run, RunError},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// Nothing was started.
    #[error("{}", missing_text(.0))]
    Missing(Vec<Missing>),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("bindings for {language}: {text}")]
    Bindings { language: &'static str, text: String },
    #[error("{}: {error}", path.display())]
    Component { path: PathBuf, error: Malformed },
}

/// Builds the project, and puts the component where [`Project::component`] says.
///
/// # Errors
/// What the person has to install, or what failed.
pub fn build(project: &Project, run: &mut dyn Run) -> Result<PathBuf, BuildError> {
    let toolchain = project.language.toolchain();
    // A mistake in the WIT files is told in our words, before any tool tells it in its own.
    project.hooks()?;
    let missing = toolchain.missing(project, run);
    if !missing.is_empty() {
        return Err(BuildError::Missing(missing));
    }
    toolchain.bindings(project)?;
    let built = toolchain.build(project, run)?;
    let bytes = read(&built)?;
    let finished = component::named(&bytes, &project.name, &project.version)
        .map_err(|error| BuildError::Component { path: built, error })?;
    let path = project.component();
    write(&path, &finished)?;
    Ok(path)
}

/// A gateway that watches the directory never sees half a file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let failed = |error| BuildError::File { path: path.to_owned(), error };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path)).map_err(failed)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    fs::read(path).map_err(|error| BuildError::File { path: path.to_owned(), error })
}

fn missing_text(missing: &[Missing]) -> String {
    let mut text = String::from("before this project can be built:");
    for Missing { what, install } in missing {
        text.push_str(&format!("\n\n{what} is missing; install it with\n"));
        text.push_str(&install.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"));
    }
    text
}
