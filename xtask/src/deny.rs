//! Checks licences, duplicates and known faults of what we depend on, by cargo-deny.
//!
//! Never fails for lack of a network: the list of known faults is then left out, loudly.

use crate::tools::{Failure, Project, find_program, run};
use std::{
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub(crate) fn check(project: &Project) -> Result<(), Failure> {
    let program = program(project)?;
    run(
        &mut project.command(&program, &["--locked", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"])
    )?;
    if can_fetch(&mut project.command(&program, &["fetch", "db"])) {
        run(&mut project.command(&program, &["--locked", "check", "--disable-fetch", "advisories"]))
    } else {
        eprintln!("!! NOT CHECKED: known faults (advisories), because their list cannot be fetched from here");
        Ok(())
    }
}

/// Some networks drop what they don't allow, so this waits no longer than a minute.
fn can_fetch(fetch: &mut Command) -> bool {
    let quiet = fetch.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut fetching) = quiet.env("GIT_TERMINAL_PROMPT", "0").spawn() else { return false };
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        match fetching.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => thread::sleep(Duration::from_millis(100)),
            Err(_) => return false,
        }
    }
    // Ended or not, nobody waits for it any more.
    let _ = fetching.kill().and_then(|()| fetching.wait());
    false
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
