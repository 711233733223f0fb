//! The command line: reads what is asked, wires the parts, and turns errors into text and exit codes.

mod admin_client;
mod alert_commands;
mod cli;
mod demo;
mod diff_command;
mod domain;
mod logging;
mod password_command;
mod plugin;
mod probe_command;
mod queue_commands;
mod reroute_command;
mod run;
mod send;
mod setup;
mod sink;
mod sink_command;
mod trace_command;

use clap::Parser;
use cli::{Cli, Command};
use setup::SetupError;
use std::{io::Write, process::ExitCode, time::Duration};

const FAILED: u8 = 1;
const USAGE: u8 = 2;
/// EX_CONFIG of sysexits.
const BAD_CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever reads may have gone: `waypost check 2>&1 | head`.
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("waypost: {0}")]
    Admin(#[from] admin_client::AdminError),
    #[error("waypost: {0}")]
    Trace(#[from] trace_command::TraceError),
    #[error("waypost send: {0}")]
    Send(#[from] send::SendError),
    #[error("waypost password: {0}")]
    Password(#[from] password_command::PasswordError),
    #[error("waypost demo: {0}")]
    Demo(#[from] demo::DemoError),
    #[error("waypost sink: {0}")]
    Sink(std::io::Error),
    #[error(transparent)]
    Plugin(#[from] plugin::PluginError),
    #[error(transparent)]
    Probe(#[from] probe_command::ProbeError),
    #[error(transparent)]
    Domain(#[from] domain::DomainError),
    #[error("waypost: cannot start: {0}")]
    Runtime(std::io::Error),
}

impl Error {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Setup(error) if error.is_configuration() => BAD_CONFIGURATION,
            Self::Plugin(error) => error.exit_code(),
            Self::Probe(error) if error.is_configuration() => BAD_CONFIGURATION,
            Self::Domain(error) if error.is_configuration() => BAD_CONFIGURATION,
            _ => FAILED,
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Error> {
    let config = || setup::load_config(cli.config.as_deref());
    match cli.command {
        Command::Run { log } => {
            logging::start(log, "info");
            let config = config()?;
            Ok(finish(run::run(config))??)
        }
        Command::Check => Ok(finish(run::check(setup::config_path(cli.config.as_deref())?))??),
        Command::Demo { once, plugins } => {
            logging::start(cli::LogFormat::Text, "warn");
            Ok(finish(demo::run(once, plugins))??)
        }
        Command::Send(args) => Ok(finish(send::run(args))??),
        Command::Sink(args) => finish(sink_command::run(args))?.map_err(Error::Sink),
        Command::Queue(command) => Ok(queue_commands::run(&config()?, command)?),
        Command::Alert(command) => Ok(alert_commands::run(&config()?, command)?),
        Command::Probe(args) => Ok(finish(probe_command::run(config()?, args))??),
        Command::Domain(command) => Ok(domain::run(cli.config.as_deref(), command)?),
        Command::Trace(args) => Ok(trace_command::run(&config()?, args)?),
        Command::Password(args) => Ok(password_command::run(&args)?),
        Command::Reload { json } => Ok(run::reload(&config()?, json)?),
        Command::Plugin(command) => Ok(plugin::run(command, cli.config.as_deref())?),
    }
}

const LAST_WAIT: Duration = Duration::from_secs(5);

/// What is promised is done when `work` is. A thread that then still computes, or waits for a disk, is not waited for.
fn finish<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = runtime()?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LAST_WAIT);
    Ok(done)
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)
}
