//! From the configuration file to the parts that the gateway is built from.

use gateway::{
    ChainError, StartError,
    config::{Config, ConfigErrors},
};
use mail::{KvStore, Timestamp};
use plugin_host::{Grant, HostConfig, HostError, ParseGrantError, PluginHost, PluginSettings};
use queue::{OpenError, Queue};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(
        "no configuration: neither ./waypost.toml nor /etc/waypost/waypost.toml exists; name one with --config, or try waypost demo"
    )]
    NoConfig,
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error("waypost: cannot make {path}: {source}")]
    Directory { path: String, source: std::io::Error },
    #[error("waypost: {0}")]
    Queue(#[from] OpenError),
    #[error("waypost: {0}")]
    Plugins(#[from] HostError),
    #[error("waypost: [plugins.{plugin}] grant: {error}")]
    Grant { plugin: String, error: ParseGrantError },
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Chains(Vec<ChainError>),
    #[error("waypost: {0}")]
    Start(StartError),
    #[error("waypost: cannot listen for signals: {0}")]
    Signals(std::io::Error),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<SetupError>),
}

impl SetupError {
    /// A person has to change a file.
    pub fn is_configuration(&self) -> bool {
        if let Self::Several(errors) = self {
            return errors.iter().all(Self::is_configuration);
        }
        matches!(
            self,
            Self::NoConfig
                | Self::Config(_)
                | Self::Grant { .. }
                | Self::Chains(_)
                | Self::Start(StartError::Plugins(_) | StartError::Tls(_))
        )
    }
}

impl From<StartError> for SetupError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Plugins(errors) => Self::Chains(errors),
            other => Self::Start(other),
        }
    }
}

pub fn config_path(given: Option<&Path>) -> Result<PathBuf, SetupError> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let places = ["waypost.toml", "/etc/waypost/waypost.toml"];
    places.iter().map(PathBuf::from).find(|path| path.exists()).ok_or(SetupError::NoConfig)
}

pub fn load_config(given: Option<&Path>) -> Result<Config, SetupError> {
    Ok(Config::load(&config_path(given)?)?)
}

pub fn open_queue(config: &Config) -> Result<Queue, SetupError> {
    let dir = config.data_dir.join("queue");
    std::fs::create_dir_all(&dir)
        .map_err(|source| SetupError::Directory { path: dir.display().to_string(), source })?;
    let now = Timestamp::from_system(SystemTime::now());
    let (queue, recovered) = Queue::open(&dir, queue::Options::default(), now)?;
    if recovered.mails > 0 || recovered.set_aside > 0 {
        tracing::info!(
            mails = recovered.mails,
            recipients = recovered.recipients,
            set_aside = recovered.set_aside,
            "the queue was read"
        );
    }
    Ok(queue)
}

pub fn plugin_host(config: &Config, kv: Arc<dyn KvStore>, cache_dir: PathBuf) -> Result<Arc<PluginHost>, SetupError> {
    let settings = plugin_settings(config)?;
    Ok(PluginHost::new(HostConfig { settings, ..HostConfig::new(config.plugin_dir.clone(), cache_dir, kv) })?)
}

/// Limits and grants, in the plugin host's terms.
pub fn plugin_settings(config: &Config) -> Result<BTreeMap<String, PluginSettings>, SetupError> {
    config.plugins.iter().map(|(name, settings)| Ok((name.clone(), one_plugin(name, settings)?))).collect()
}

fn one_plugin(name: &str, settings: &gateway::config::PluginSettings) -> Result<PluginSettings, SetupError> {
    let mut out = PluginSettings::default();
    out.limits.memory = settings.memory.unwrap_or(out.limits.memory);
    out.limits.time = settings.time.unwrap_or(out.limits.time);
    for text in &settings.grants {
        let grant: Grant = text.parse().map_err(|error| SetupError::Grant { plugin: name.to_owned(), error })?;
        if !out.grants.contains(&grant) {
            out.grants.push(grant);
        }
    }
    Ok(out)
}
