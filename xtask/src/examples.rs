//! Lays out the examples beside the binary and the plugins, builds those that are crates, and
//! has Waypost check every configuration among them.

use crate::{
    guests,
    tools::{Failure, Project, empty_dir, file_failure, run, subdirectories},
};
use std::{fs, path::Path};

/// What a build or a run leaves behind is not part of an example.
const LEFT_OUT: &[&str] = &["target", "node_modules", ".venv", "gen", "data", "__pycache__"];

pub(crate) fn lay_out(project: &Project) -> Result<(), Failure> {
    let to = project.layout().join("examples");
    empty_dir(&to)?;
    let from = project.root.join("examples");
    if from.is_dir() { copy_tree(&from, &to) } else { Ok(()) }
}

pub(crate) fn check(project: &Project) -> Result<(), Failure> {
    // A configuration is checked with the plugins that it names.
    guests::build(project)?;
    lay_out(project)?;
    for example in subdirectories(&project.root.join("examples"))? {
        let manifest = example.join("Cargo.toml");
        if manifest.is_file() {
            let target = project.target.join("examples");
            let args = ["build", "--release", "--target", "wasm32-wasip2", "--manifest-path"];
            run(project.cargo(&args).arg(&manifest).arg("--target-dir").arg(target))?;
        }
    }
    for example in subdirectories(&project.layout().join("examples"))? {
        let configuration = example.join("waypost.toml");
        if configuration.is_file() {
            let args = ["run", "--quiet", "-p", "waypost", "--", "check", "--config"];
            run(project.cargo(&args).arg(&configuration))?;
        }
    }
    Ok(())
}

/// Over what is there already.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to).map_err(file_failure(to))?;
    for entry in fs::read_dir(from).map_err(file_failure(from))? {
        let entry = entry.map_err(file_failure(from))?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            if !LEFT_OUT.iter().any(|name| path.ends_with(name)) {
                copy_tree(&path, &copy)?;
            }
        } else {
            fs::copy(&path, &copy).map_err(file_failure(&path))?;
        }
    }
    Ok(())
}
