//! Decides how Python becomes a component: componentize-py from PyPI puts interpreter and code into one.
//!
//! Its components import `wasi:sockets` whether the code uses them or not, and the gateway has none: they are
//! closed here, so that using them ends the call, and nothing else does.

mod network;

use super::{Missing, Toolchain};
use crate::{
    build::{BuildError, read, write},
    contract::WORLD,
    project::Project,
    run::Run,
    template::TemplateFile,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

const TOOL: &str = "componentize-py";
const INSTALL_PYTHON: &str = "sudo apt-get install python3 python3-venv";
const INSTALL: &str = "python3 -m venv .venv\n.venv/bin/pip install -r requirements.txt";
/// The author's module. The generated one takes the world's name, so this must be another.
const MODULE: &str = "app";

pub(super) struct Python;

impl Toolchain for Python {
    fn template(&self) -> &'static [TemplateFile] {
        &[
            TemplateFile { path: "requirements.txt", text: include_str!("../../templates/python/requirements.txt") },
            TemplateFile { path: ".gitignore", text: include_str!("../../templates/python/gitignore") },
            TemplateFile { path: "README.md", text: include_str!("../../templates/python/README.md") },
            TemplateFile { path: "app.py", text: include_str!("../../templates/python/app.py.in") },
        ]
    }

    fn missing(&self, project: &Project, run: &mut dyn Run) -> Vec<Missing> {
        if run.find(&[local_tools(project)], TOOL).is_some() {
            return Vec::new();
        }
        let mut missing = Vec::new();
        if run.find(&[], "python3").is_none() {
            missing.push(Missing { what: "Python 3".to_owned(), install: INSTALL_PYTHON.to_owned() });
        }
        missing.push(Missing { what: TOOL.to_owned(), install: INSTALL.to_owned() });
        missing
    }

    fn build(&self, project: &Project, run: &mut dyn Run) -> Result<PathBuf, BuildError> {
        // For editors and type checkers: the component gets its own. The tool wants a directory that is not there yet.
        remove(&project.gen_dir())?;
        run.run(tool(project, run).args(["bindings", "gen"]))?;
        run.run(tool(project, run).args(["componentize", MODULE, "--output", "gen/app.wasm"]))?;
        let built = project.gen_dir().join("app.wasm");
        let closed =
            network::without(&read(&built)?).map_err(|error| BuildError::Component { path: built.clone(), error })?;
        write(&built, &closed)?;
        Ok(built)
    }
}

fn tool(project: &Project, run: &dyn Run) -> Command {
    let mut command = Command::new(run.find(&[local_tools(project)], TOOL).unwrap_or_else(|| TOOL.into()));
    command.current_dir(&project.dir).args(["--wit-path", "wit", "--world", WORLD]);
    // Where it looks for the packages that the author's module imports.
    if project.dir.join(".venv").is_dir() {
        command.env("VIRTUAL_ENV", ".venv");
    }
    command
}

fn remove(dir: &Path) -> Result<(), BuildError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BuildError::File { path: dir.to_owned(), error }),
        _ => Ok(()),
    }
}

fn local_tools(project: &Project) -> PathBuf {
    project.dir.join(".venv/bin")
}
