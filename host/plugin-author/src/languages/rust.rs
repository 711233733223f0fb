//! Decides how a Rust project is built: cargo, Rust's own target for components, bindings by a macro of `wit-bindgen`.

use super::{Missing, Toolchain};
use crate::{build::BuildError, project::Project, run::Run, template::TemplateFile};
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "wasm32-wasip2";
const INSTALL_RUST: &str = "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh";
const ADD_TARGET: &str = "rustup target add wasm32-wasip2";

pub(super) struct Rust;

impl Toolchain for Rust {
    fn template(&self) -> &'static [TemplateFile] {
        &[
            TemplateFile { path: "Cargo.toml", text: include_str!("../../templates/rust/Cargo.toml.in") },
            TemplateFile { path: ".gitignore", text: include_str!("../../templates/rust/gitignore") },
            TemplateFile { path: "README.md", text: include_str!("../../templates/rust/README.md") },
            TemplateFile { path: "src/lib.rs", text: include_str!("../../templates/rust/src/lib.rs.in") },
        ]
    }

    fn missing(&self, project: &Project, run: &mut dyn Run) -> Vec<Missing> {
        if run.find(&[], "cargo").is_none() {
            let install = format!("{INSTALL_RUST}\n{ADD_TARGET}");
            return vec![Missing { what: "Rust (its program cargo)".to_owned(), install }];
        }
        // Asked in the project, where a rust-toolchain.toml may choose another Rust.
        let mut ask = Command::new("rustc");
        ask.args(["--print", "target-libdir", "--target", TARGET]).current_dir(&project.dir);
        if run.ask(&mut ask).is_some_and(|dir| Path::new(&dir).is_dir()) {
            return Vec::new();
        }
        vec![Missing { what: format!("Rust's target {TARGET}"), install: ADD_TARGET.to_owned() }]
    }

    fn build(&self, project: &Project, run: &mut dyn Run) -> Result<PathBuf, BuildError> {
        let target = target_dir(project);
        let mut cargo = Command::new("cargo");
        cargo.current_dir(&project.dir).args(["build", "--release", "--target", TARGET, "--target-dir"]);
        // Below the project it is what cargo would take by itself, and shorter to read.
        cargo.arg(target.strip_prefix(&project.dir).unwrap_or(&target));
        cargo.arg("--config").arg(without_paths(&project.dir));
        run.run(&mut cargo)?;
        Ok(target.join(TARGET).join("release").join(format!("{}.wasm", project.name_snake())))
    }
}

/// `CARGO_TARGET_DIR` is honoured, so that several projects can share what they have in common.
fn target_dir(project: &Project) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| project.dir.join("target"), |dir| project.dir.join(dir))
}

/// Panic messages name source files. The author's home directory is nobody's business, and the same sources
/// make the same component everywhere.
fn without_paths(dir: &Path) -> String {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let maps = [home.map(|home| (home, "cargo")), Some((dir.to_owned(), "."))];
    let flags: Vec<_> = maps
        .into_iter()
        .flatten()
        .map(|(from, to)| toml::Value::from(format!("--remap-path-prefix={}={to}", from.display())).to_string())
        .collect();
    format!("target.{TARGET}.rustflags=[{}]", flags.join(", "))
}
