//! Checks licences, duplicates and known faults of what we depend on, by cargo-deny.
//!
//! Never fails for lack of a network: the list of known faults is then left out, loudly.

use crate::tools::{Failure, Project, find_program, run};
use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

pub(crate) fn check(project: &Project) -> Result<(), Failure> {
    let program = program(project)?;
    run(&mut project.command(&program, &["--locked", "check", "licenses", "bans"]))?;
    if can_fetch(&mut project.command(&program, &["fetch", "db"])) {
        run(&mut project.command(&program, &["--locked", "check", "--disable-fetch", "advisories"]))
    } else {
        eprintln!("!! NOT CHECKED: known faults (advisories), because their list cannot be fetched from here");
        Ok(())
    }
}

fn can_fetch(fetch: &mut Command) -> bool {
    fetch.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Installed, or built once into our own target directory.
fn program(project: &Project) -> Result<PathBuf, Failure> {
    if let Some(installed) = find_program("cargo-deny") {
        return Ok(installed);
    }
    let tools = project.root.join("target/tools");
    let built = tools.join("bin/cargo-deny");
    if !built.is_file() {
        run(project.cargo(&["install", "--quiet", "--locked", "cargo-deny", "--root"]).arg(&tools))?;
    }
    Ok(built)
}
