//! From the configuration file to the parts that the gateway is built from.

use gateway::{
    MetricValue, PluginMetric, PluginStatus, Plugins, StartError,
    clock::Clock,
    config::{Config, ConfigError, ConfigErrors, Place},
};
use mail::{Binding, BoxFuture, Chain, ChainSource, Domain, KvStore, LoadError};
use plugin_host::{BreakerState, Grant, HostConfig, HostError, PluginHost, PluginSettings, Resolver, SystemResolver};
use queue::{OpenError, Queue};
use std::{
    collections::BTreeMap,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
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
    #[error("waypost: {0}")]
    Start(StartError),
    #[error("waypost: cannot listen for signals: {0}")]
    Signals(std::io::Error),
}

impl SetupError {
    /// A person has to change a file.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::NoConfig | Self::Config(_))
    }
}

impl From<StartError> for SetupError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Configuration(errors) => Self::Config(errors),
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

pub fn open_queue(config: &Config, clock: &Clock) -> Result<Queue, SetupError> {
    let dir = config.data_dir.join("queue");
    make_private(&config.data_dir)
        .and_then(|()| std::fs::create_dir_all(&dir))
        .map_err(|source| SetupError::Directory { path: dir.display().to_string(), source })?;
    let (now, steady) = (clock.now(), clock.clone());
    let options = queue::Options { clock: Arc::new(move || steady.now()), ..queue::Options::default() };
    let (queue, recovered) = Queue::open(&dir, options, now)?;
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

/// Mail, journal and keys are nobody else's. A directory that was made by somebody is left as it is.
fn make_private(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

pub fn plugin_host(config: &Config, kv: Arc<dyn KvStore>, cache_dir: PathBuf) -> Result<Arc<PluginHost>, SetupError> {
    let settings = plugin_settings(config).map_err(|errors| ConfigErrors::new(&config.file, errors))?;
    let resolver = resolver();
    Ok(PluginHost::new(HostConfig { settings, resolver, ..HostConfig::new(config.plugin_dir.clone(), cache_dir, kv) })?)
}

/// The system's. Without one, plugins that are granted DNS are told that it is unavailable.
fn resolver() -> Option<Arc<dyn Resolver>> {
    match SystemResolver::from_system() {
        Ok(resolver) => Some(Arc::new(resolver)),
        Err(error) => {
            tracing::warn!(%error, "no DNS for plugins");
            None
        }
    }
}

/// The plugin host as the gateway sees it.
pub struct HostedPlugins(pub Arc<PluginHost>);

impl ChainSource for HostedPlugins {
    fn load<'a>(
        &'a self,
        domain: &'a Domain,
        own_plugins: Option<&'a Path>,
        bindings: &'a [Binding],
    ) -> BoxFuture<'a, Result<Arc<dyn Chain>, Vec<LoadError>>> {
        self.0.load(domain, own_plugins, bindings)
    }
}

impl Plugins for HostedPlugins {
    fn configure(&self, config: &Config) -> Result<(), Vec<ConfigError>> {
        self.0.set_settings(plugin_settings(config)?);
        Ok(())
    }

    fn status(&self) -> Vec<PluginStatus> {
        let breaker = |state| match state {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half-open",
        };
        let status = self.0.status().into_iter().map(|status| PluginStatus {
            plugin: status.plugin.to_string(),
            domain: status.domain.to_string(),
            breaker: breaker(status.breaker).to_owned(),
            calls: status.calls,
            failures: status.failures,
            warm: status.warm,
        });
        status.collect()
    }

    fn metrics(&self) -> Vec<PluginMetric> {
        let metrics = self.0.metrics().into_iter().map(|metric| PluginMetric {
            plugin: metric.plugin.to_string(),
            domain: metric.domain.to_string(),
            name: metric.name,
            labels: metric.labels,
            value: match metric.value {
                plugin_host::MetricValue::Count(count) => MetricValue::Count(count),
                plugin_host::MetricValue::Observed { count, sum } => MetricValue::Observed { count, sum },
            },
        });
        metrics.collect()
    }
}

/// Limits and grants, in the plugin host's terms; all errors at once.
pub fn plugin_settings(config: &Config) -> Result<BTreeMap<String, PluginSettings>, Vec<ConfigError>> {
    let (mut all, mut errors) = (BTreeMap::new(), Vec::new());
    for (name, settings) in &config.plugins {
        let mut out = PluginSettings::default();
        out.limits.memory = settings.memory.unwrap_or(out.limits.memory);
        out.limits.time = settings.time.unwrap_or(out.limits.time);
        for text in &settings.grants {
            match text.parse::<Grant>() {
                Ok(grant) if out.grants.contains(&grant) => {}
                Ok(grant) => out.grants.push(grant),
                Err(error) => {
                    errors.push(Place::of_file(&config.file).error(format!("[plugins.{name}] `grant`: {error}"), None))
                }
            }
        }
        all.insert(name.clone(), out);
    }
    if errors.is_empty() { Ok(all) } else { Err(errors) }
}
