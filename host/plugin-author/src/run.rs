//! Decides how other programs are run: each command is shown before it starts, as a person would type it.

use std::{
    env,
    ffi::OsStr,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It has said itself what is wrong.
    #[error("`{command}` failed ({status})")]
    Failed { command: String, status: std::process::ExitStatus },
    #[error("`{command}` cannot be started: {error}")]
    Start { command: String, error: io::Error },
}

/// Starts programs. Tests put something else in its place.
pub trait Run {
    /// Shows the command, runs it, and lets it talk to the person.
    ///
    /// # Errors
    /// It cannot be started, or fails.
    fn run(&mut self, command: &mut Command) -> Result<(), RunError>;

    /// What it prints, unless it fails. Not shown: for questions such as a version.
    fn ask(&mut self, command: &mut Command) -> Option<String>;

    /// Where a program is: in the given directories of the project first, then on the PATH.
    fn find(&self, first: &[PathBuf], name: &str) -> Option<PathBuf>;
}

/// The real thing.
#[derive(Debug, Default)]
pub struct Shell {
    /// Commands are still run, but not shown.
    pub quiet: bool,
}

impl Run for Shell {
    fn run(&mut self, command: &mut Command) -> Result<(), RunError> {
        if !self.quiet {
            // Nothing can be done about a closed standard error.
            let _ = writeln!(io::stderr(), "$ {}", shown(command));
        }
        let status = command
            .stdin(Stdio::null())
            .status()
            .map_err(|error| RunError::Start { command: shown(command), error })?;
        if status.success() { Ok(()) } else { Err(RunError::Failed { command: shown(command), status }) }
    }

    fn ask(&mut self, command: &mut Command) -> Option<String> {
        let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn find(&self, first: &[PathBuf], name: &str) -> Option<PathBuf> {
        find_in(first.iter().cloned().chain(env::split_paths(&env::var_os("PATH")?)), name)
    }
}

fn find_in(directories: impl Iterator<Item = PathBuf>, name: &str) -> Option<PathBuf> {
    directories.map(|directory| directory.join(name)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// As it would be typed.
#[must_use]
pub fn shown(command: &Command) -> String {
    let variables =
        command.get_envs().filter_map(|(name, value)| Some(format!("{}={} ", name.to_string_lossy(), quoted(value?))));
    let program = Path::new(command.get_program());
    let below = command.get_current_dir().and_then(|dir| program.strip_prefix(dir).ok());
    let program = match below {
        Some(below) => below.as_os_str(),
        // A full path says nothing more where the PATH would have found the same.
        None if program.is_absolute() => program.file_name().unwrap_or(program.as_os_str()),
        None => program.as_os_str(),
    };
    let args = command.get_args().map(|arg| format!(" {}", quoted(arg)));
    format!("{}{}{}", variables.collect::<String>(), quoted(program), args.collect::<String>())
}

fn quoted(arg: &OsStr) -> String {
    let text = arg.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("/opt/go/bin/go");
        command.env("GOOS", "wasip1").args(["build", "-ldflags", "-w -X a'b", "./gen"]);
        assert_eq!(shown(&command), r"GOOS=wasip1 go build -ldflags '-w -X a'\''b' ./gen");
        let mut command = Command::new("/home/ann/tagger/.venv/bin/go");
        assert_eq!(shown(command.arg("version").current_dir("/home/ann/tagger")), ".venv/bin/go version");
    }

    #[test]
    fn a_failed_command_is_named() {
        let error = Shell { quiet: true }.run(Command::new("/bin/sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c 'exit 3'` failed (exit status: 3)");
        assert!(matches!(Shell { quiet: true }.run(&mut Command::new("/no/such")), Err(RunError::Start { .. })));
        assert_eq!(Shell::default().ask(Command::new("/bin/sh").args(["-c", "echo 1; exit 1"])), None);
    }
}
