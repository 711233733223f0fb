//! `waypost run` and `waypost check`.

use crate::{
    admin_client::{AdminClient, AdminError},
    setup::{self, HostedPlugins, SetupError},
    trace_command::say,
};
use gateway::{
    Domains, Fault, Status,
    clock::Clock,
    config::{self, Config, ConfigErrors, Fixed, Reading},
};
use std::{path::PathBuf, sync::Arc};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// Until SIGTERM or SIGINT, of which a second one ends the wait for what is under way. Files are watched; SIGHUP looks at them at once.
pub async fn run(config: Config) -> Result<(), SetupError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(SetupError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(SetupError::Signals)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(SetupError::Signals)?;
    let clock = Clock::system();
    let queue = setup::open_queue(&config, &clock)?;
    let host = setup::plugin_host(&config, queue.kv(), config.data_dir.join("cache"))?;
    let running = gateway::start(config, Arc::new(HostedPlugins(host)), queue, clock).await?;
    loop {
        tokio::select! {
            _ = hang_up.recv() => tokio::select! {
                _ = running.reload() => {}
                // A reload may compile for a while: who stops the gateway doesn't wait for it.
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    info!("told to stop");
    tokio::select! {
        () = running.stop() => {}
        // What is queued is on disk: all that is cut short is sessions and attempts.
        _ = terminate.recv() => warn!("told again: what is under way is cut"),
        _ = interrupt.recv() => warn!("told again: what is under way is cut"),
    }
    Ok(())
}

/// Every error of every file and plugin.
pub async fn check(file: PathBuf) -> Result<(), SetupError> {
    let Reading { config, broken: mut errors, .. } = Config::read(&file)?;
    let queue = queue::Queue::open_in_memory(
        queue::Options::default(),
        mail::Timestamp::from_system(std::time::SystemTime::now()),
    )?;
    // Another user may run this: what the gateway's own cache holds must stay that user's.
    let cache =
        tempfile::tempdir().map_err(|source| SetupError::Directory { path: "a temporary directory".into(), source })?;
    let host = setup::plugin_host(&config, queue.kv(), cache.path().join("cache"))?;
    if let Some(Err(error)) = config.tls.as_ref().map(gateway::check_tls_files) {
        errors.push(error.in_file(&config.file));
    }
    let domains = Domains::load(&config, host.as_ref()).await;
    let count = domains.as_ref().map_or(0, |domains| domains.all().len());
    errors.extend(domains.err().unwrap_or_default());
    if !errors.is_empty() {
        return Err(ConfigErrors::new(&file, errors).into());
    }
    let plugins: usize = config.domains.values().map(|domain| domain.plugins.len()).sum();
    println!("{}: no errors; {count} domains, {} plugins bound", file.display(), plugins + config.chain.len());
    compare(&config);
    Ok(())
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Told {
    #[serde(flatten)]
    status: Status,
    started_with: Fixed,
}

/// What it could not take makes this fail.
pub fn reload(config: &Config, json: bool) -> Result<(), AdminError> {
    let told: serde_json::Value = AdminClient::new(config)?.post("/api/reload", &[])?;
    if json {
        say(&serde_json::to_string_pretty(&told).unwrap_or_default());
    }
    let status = serde_json::from_value::<Status>(told).unwrap_or_default();
    if !status.needs_restart.is_empty() {
        say(&format!("taken at the next start only: {}", status.needs_restart.join(", ")));
    }
    if status.not_in_force.is_empty() {
        say(&format!("in force: {} domains", status.domains));
        return Ok(());
    }
    let faults: Vec<String> = status.not_in_force.iter().map(fault).collect();
    Err(AdminError::Refused(format!("what was there before goes on serving:\n{}", faults.join("\n"))))
}

fn fault(fault: &Fault) -> String {
    let Fault { file, line, column, message, hint } = fault;
    let hint = hint.as_ref().map(|hint| format!("\n   = {hint}")).unwrap_or_default();
    format!("{file}:{line}:{column}: {message}{hint}")
}

/// With the gateway that runs with this file, if one does and lets us ask.
fn compare(config: &Config) {
    let Ok(client) = AdminClient::new(config) else { return };
    let Ok(told) = client.get::<Told>("/api/status", &[]) else { return };
    let keys = config::needs_restart(&config.fixed(), &told.started_with);
    if !keys.is_empty() {
        println!("the running gateway takes these at its next start only: {}", keys.join(", "));
    }
    for found in &told.status.not_in_force {
        println!("not in force in the running gateway: {}", fault(found));
    }
}
