//! `waypost plugin …`: what authors of plugins need. Says what can be asked, and which exit code an answer has.
//!
//! None of these commands changes a gateway that runs; `diff` alone asks it.

mod build;
mod inspect;
mod new;

use crate::diff_command::{self, DiffError};
use clap::Subcommand;
use std::{
    io::Write,
    path::{Path, PathBuf},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a project: a plugin that builds, and passes its own test at once
    #[command(
        after_help = "Examples:\n  waypost plugin new --lang rust no-spam\n  waypost plugin new --lang go --hooks setup,on-recipient,on-message no-spam"
    )]
    New(new::Args),
    /// Make a component of a project: says what has to be installed first, and shows the commands that it runs
    #[command(after_help = "Examples:\n  waypost plugin build\n  waypost plugin build no-spam && waypost plugin test no-spam")]
    Build(build::Args),
    /// Tell what a component is: hooks, imports, the grants that it needs, or why it cannot serve
    #[command(
        after_help = "Examples:\n  waypost plugin inspect greylist.wasm\n  waypost plugin inspect greylist.wasm --json"
    )]
    Inspect(inspect::Args),
    /// Tell what plugins in shadow mode would have changed
    #[command(after_help = "Example:\n  waypost plugin diff greylist --domain example.org")]
    Diff(diff_command::Args),
}

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// What was asked for has been done, and the answer is no.
    #[error("{0}")]
    Failed(String),
    /// The command line names what is not there.
    #[error("{0}")]
    Usage(String),
    /// A person has to change a file.
    #[error("{0}")]
    Configuration(String),
}

impl PluginError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => crate::FAILED,
            Self::Usage(_) => crate::USAGE,
            Self::Configuration(_) => crate::BAD_CONFIGURATION,
        }
    }
}

/// `config` is the gateway's file, as given.
pub fn run(command: Command, config: Option<&Path>) -> Result<(), PluginError> {
    match command {
        Command::New(args) => new::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Inspect(args) => block_on(inspect::run(args)),
        Command::Diff(args) => diff_command::run(config, &args).map_err(|error| match &error {
            DiffError::Setup(setup) if setup.is_configuration() => PluginError::Configuration(error.to_string()),
            _ => PluginError::Failed(error.to_string()),
        }),
    }
}

fn block_on<T>(future: impl Future<Output = Result<T, PluginError>>) -> Result<T, PluginError> {
    let runtime = crate::runtime().map_err(|error| PluginError::Failed(error.to_string()))?;
    runtime.block_on(future)
}

/// A reader that has gone (`waypost plugin inspect … | head`) is no reason to fail.
fn print_line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Where compiled plugins are kept from one command to the next; without a home, for this one command.
fn cache() -> Result<Cache, PluginError> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(base) = base.or_else(|| home().map(|home| home.join(".cache"))) {
        let dir = base.join("waypost/plugins");
        if std::fs::create_dir_all(&dir).is_ok() {
            remove_old(&dir);
            return Ok(Cache { dir, _temporary: None });
        }
    }
    let temporary = tempfile::tempdir();
    let temporary = temporary.map_err(|error| PluginError::Failed(format!("no place for compiled code: {error}")))?;
    Ok(Cache { dir: temporary.path().join("plugins"), _temporary: Some(temporary) })
}

struct Cache {
    dir: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

/// Each build of a plugin leaves a compiled file behind, and no other build ever asks for it.
fn remove_old(dir: &Path) {
    const KEPT: std::time::Duration = std::time::Duration::from_secs(14 * 86_400);
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > KEPT) {
            // Another command may have been faster.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
