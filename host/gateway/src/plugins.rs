//! What the gateway asks of whoever runs plugins, beyond the chains themselves.

use crate::config::{Config, ConfigError};
use mail::ChainSource;
use serde::{Deserialize, Serialize};

/// Where chains come from, with what an operator sets and sees.
pub trait Plugins: ChainSource {
    /// Limits and grants, for chains that are loaded from now on; with an error the old ones stay.
    fn configure(&self, config: &Config) -> Result<(), Vec<ConfigError>>;
    /// Each entry of each chain in use.
    fn status(&self) -> Vec<PluginStatus>;
    /// What plugins count themselves.
    fn metrics(&self) -> Vec<PluginMetric>;
}

/// One series of one plugin of one domain.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginMetric {
    pub plugin: String,
    pub domain: String,
    /// Letters, digits and underscores.
    pub name: String,
    /// The same of their names.
    pub labels: Vec<(String, String)>,
    pub value: MetricValue,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricValue {
    Count(u64),
    Observed { count: u64, sum: f64 },
}

/// How a plugin of a domain fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PluginStatus {
    pub plugin: String,
    /// The gateway's own name for those that are asked about connections.
    pub domain: String,
    /// `closed`: it is asked; `open` and `half-open`: its policy is applied without asking.
    pub breaker: String,
    pub calls: u64,
    pub failures: u64,
    /// Idle instances.
    pub warm: usize,
}
