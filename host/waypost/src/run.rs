//! `waypost run` and `waypost check`.

use crate::setup::{self, SetupError};
use gateway::{Domains, Running, clock::Clock, config::Config};
use plugin_host::PluginHost;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

/// Until SIGTERM or SIGINT. SIGHUP reads the domains and plugins again.
pub async fn run(config: Config) -> Result<(), SetupError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(SetupError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(SetupError::Signals)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(SetupError::Signals)?;
    let queue = setup::open_queue(&config)?;
    let host = setup::plugin_host(&config, queue.kv(), config.data_dir.join("cache"))?;
    let file = config.file.clone();
    let running = gateway::start(config, host.clone(), queue, Clock::system()).await?;
    loop {
        tokio::select! {
            _ = hang_up.recv() => reload(&file, &running, &host).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    info!("told to stop");
    running.stop().await;
    Ok(())
}

/// With any error, what served before goes on serving.
async fn reload(file: &Path, running: &Running, host: &PluginHost) {
    let read = Config::load(file).map_err(SetupError::from);
    let read = read.and_then(|config| Ok((setup::plugin_settings(&config)?, config)));
    let (settings, config) = match read {
        Ok(read) => read,
        Err(error) => return error!(%error, "not reloaded: the old configuration stays"),
    };
    host.set_settings(settings);
    if let Err(error) = running.reload(&config).await {
        error!(%error, "not reloaded: the old domains and plugins stay");
    }
}

/// Every error of every file and plugin.
pub async fn check(file: PathBuf) -> Result<(), SetupError> {
    let config = Config::load(&file)?;
    let queue = queue::Queue::open_in_memory(
        queue::Options::default(),
        mail::Timestamp::from_system(std::time::SystemTime::now()),
    )?;
    // Another user may run this: what the gateway's own cache holds must stay that user's.
    let cache =
        tempfile::tempdir().map_err(|source| SetupError::Directory { path: "a temporary directory".into(), source })?;
    let host = setup::plugin_host(&config, queue.kv(), cache.path().join("cache"))?;
    let tls = config.tls.as_ref().map_or(Ok(()), gateway::check_tls_files);
    let tls = tls.map_err(|error| SetupError::Start(error.into()));
    let domains = Domains::load(&config, host.as_ref()).await.map_err(SetupError::Chains);
    let domains = match (tls, domains) {
        (Ok(()), domains) => domains?,
        (Err(tls), Ok(_)) => return Err(tls),
        (Err(tls), Err(chains)) => return Err(SetupError::Several(vec![tls, chains])),
    };
    let count = domains.all().len();
    let plugins: usize = config.domains.values().map(|domain| domain.plugins.len()).sum();
    println!("{}: no errors; {count} domains, {} plugins bound", file.display(), plugins + config.chain.len());
    Ok(())
}
