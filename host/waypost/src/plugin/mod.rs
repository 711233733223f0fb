//! `waypost plugin …`: what authors of plugins need. Says what can be asked, and which exit code an answer has.
//!
//! None of these commands changes a gateway that runs; `diff` alone asks it.

mod build;
mod inspect;
mod new;
mod replay;
mod run;
mod target;
mod test;
mod watch;

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
    #[command(
        after_help = "Examples:\n  waypost plugin build\n  waypost plugin build no-spam && waypost plugin test no-spam"
    )]
    Build(build::Args),
    /// Tell what a component is: hooks, imports, the grants that it needs, or why it cannot serve
    #[command(
        after_help = "Examples:\n  waypost plugin inspect greylist.wasm\n  waypost plugin inspect greylist.wasm --json"
    )]
    Inspect(inspect::Args),
    /// Run scenarios in the real engine with the real limits, against a made-up clock, DNS, web and state
    #[command(after_help = "\
Examples:
  waypost plugin test                             the project here: its component and its tests/
  waypost plugin test no-spam.wasm --scenarios cases --filter greylist
  waypost plugin test --watch                     again whenever something changes

Exit codes: 0 all hold, 1 some don't, 78 a broken scenario, 2 usage.")]
    Test(test::Args),
    /// Put one mail through one plugin, and see what it says and changes
    #[command(after_help = "\
Examples:
  waypost plugin run no-spam.wasm --message spam.eml --config '{\"word\": \"lottery\"}'
  waypost plugin run no-spam.wasm --message spam.eml --print > tagged.eml
  waypost plugin run greylist.wasm --hook on-recipient --recipient ann@example.org --peer-ip 192.0.2.7")]
    Run(run::Args),
    /// Put recorded mail through a plugin, and see what it would do otherwise
    #[command(after_help = "\
Examples:
  waypost plugin replay greylist.wasm --domain example.org
  waypost plugin replay new.wasm --against old.wasm --recorded data/recorded/example.org --fail-on-difference")]
    Replay(replay::Args),
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
        Command::Test(args) => block_on(test::run(args)),
        Command::Run(args) => block_on(run::run(args, config)),
        Command::Replay(args) => block_on(replay::run(args, config)),
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

/// The table that a plugin reads: what is no file is JSON or TOML itself.
fn table(given: &Path) -> Result<serde_json::Value, PluginError> {
    let wrong = |text: String| PluginError::Configuration(format!("the plugin's table: {text}"));
    let text = if given.is_file() {
        std::fs::read_to_string(given).map_err(|error| wrong(format!("{}: {error}", given.display())))?
    } else {
        given.to_str().ok_or_else(|| wrong("it is not UTF-8".to_owned()))?.to_owned()
    };
    plugin_test::parse_table(&text).map_err(|error| match given.is_file() {
        true => wrong(format!("{}: {error}", given.display())),
        false => wrong(format!("{} is neither a file nor a table: {error}", given.display())),
    })
}

/// `-` is standard input.
fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    if path != Path::new("-") {
        return std::fs::read(path);
    }
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes)?;
    Ok(bytes)
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
