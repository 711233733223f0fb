//! Where the project is, and how other programs are run.

use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
};

pub(crate) struct Project {
    pub(crate) root: PathBuf,
    /// Where cargo builds; `CARGO_TARGET_DIR` is honoured.
    pub(crate) target: PathBuf,
}

#[derive(Debug)]
pub(crate) enum Failure {
    /// It has said itself what is wrong.
    Program {
        command: String,
        status: ExitStatus,
    },
    Start {
        command: String,
        error: io::Error,
    },
    File {
        path: PathBuf,
        error: io::Error,
    },
    /// What is wrong and what to do.
    Other(String),
}

impl Project {
    pub(crate) fn find() -> Result<Self, Failure> {
        let here = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let root =
            here.as_deref().and_then(Path::parent).map(Path::to_owned).ok_or_else(|| {
                Failure::Other("cannot tell where the project is: start this as `cargo xtask`".into())
            })?;
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |named| root.join(named));
        Ok(Self { root, target })
    }

    /// What an installation has: `bin/`, `plugins/`, `examples/`.
    pub(crate) fn layout(&self) -> PathBuf {
        self.root.join("target/waypost")
    }

    /// Components as cargo leaves them.
    pub(crate) fn built_guests(&self) -> PathBuf {
        self.target.join("wasm32-wasip2/plugin")
    }

    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), args)
    }

    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.root);
        command
    }
}

/// Its output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|error| Failure::Start { command: shown(command), error })?;
    if status.success() { Ok(()) } else { Err(Failure::Program { command: shown(command), status }) }
}

/// What it prints, if it ends well.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command.output().map_err(|error| Failure::Start { command: shown(command), error })?;
    if !output.status.success() {
        return Err(Failure::Program { command: shown(command), status: output.status });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// As it would be typed.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let args = command.get_args().map(|arg| format!(" {}", arg.to_string_lossy()));
    format!("{}{}", program.to_string_lossy(), args.collect::<String>())
}

/// Root often has no /usr/sbin in its PATH when it came by `su`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// A directory that holds nothing else than what is put into it next.
pub(crate) fn empty_dir(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file_failure(path)(error)),
        _ => {}
    }
    fs::create_dir_all(path).map_err(file_failure(path))
}

/// A running program's file can be replaced, but not written to.
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<(), Failure> {
    let partial = to.with_extension("partial");
    fs::copy(from, &partial).map_err(file_failure(from))?;
    fs::rename(&partial, to).map_err(file_failure(to))
}

/// The directories of `path` in order of name; none when there is no `path`.
pub(crate) fn subdirectories(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(file_failure(path)(error)),
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(file_failure(path))?.path();
                if entry.is_dir() {
                    found.push(entry);
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

pub(crate) fn file_failure(path: &Path) -> impl FnOnce(io::Error) -> Failure + use<> {
    let path = path.to_owned();
    move |error| Failure::File { path, error }
}

impl Failure {
    /// A program's own code is passed on.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Program { status, .. } => {
                status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
            }
            _ => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { command, status } => write!(f, "`{command}` failed ({status})"),
            Self::Start { command, error } => write!(f, "`{command}` cannot be started: {error}"),
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Other(what) => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_program_is_named_with_its_arguments_and_its_code_is_passed_on() {
        let failure = run(Command::new("/bin/sh").args(["-c", "exit 78"])).unwrap_err();
        assert_eq!(failure.to_string(), "`sh -c exit 78` failed (exit status: 78)");
        assert_eq!(failure.exit_code(), ExitCode::from(78));
        assert!(matches!(run(&mut Command::new("/no/such/program")), Err(Failure::Start { .. })));
    }
}
