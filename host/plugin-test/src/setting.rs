//! What surrounds a plugin under test: its domain, its configuration, what it may use, and what it finds there.

use crate::fake::{dns::FakeDns, http::Exchange};
use mail::{Domain, Isolation, OnFailure, Timestamp};
use plugin_host::{PluginSettings, Resolver};
use std::{collections::BTreeMap, sync::Arc};

/// 2026-01-01T00:00:00Z: when scenarios begin that don't say.
pub const START: Timestamp = Timestamp::from_secs(1_767_225_600);

#[derive(Clone)]
pub struct Setting {
    pub domain: Domain,
    /// The table that the plugin reads.
    pub config: serde_json::Value,
    /// Limits and grants; the defaults are those of the gateway.
    pub plugin: PluginSettings,
    pub on_failure: Option<OnFailure>,
    pub isolation: Isolation,
    pub start: Timestamp,
    /// State that is there before the first call.
    pub kv: BTreeMap<String, String>,
    pub dns: Names,
    pub web: Web,
}

/// Where look-ups are answered.
#[derive(Clone)]
pub enum Names {
    Fake(FakeDns),
    /// As in the gateway.
    Real(Arc<dyn Resolver>),
}

/// Where requests of wasi:http go.
#[derive(Clone)]
pub enum Web {
    Fake(Vec<Exchange>),
    /// Over the network, to servers that are granted.
    Real,
}

impl Setting {
    /// The defaults of the gateway, and a world without names and servers.
    pub fn new(domain: Domain) -> Self {
        Self {
            domain,
            config: serde_json::Value::Object(serde_json::Map::new()),
            plugin: PluginSettings::default(),
            on_failure: None,
            isolation: Isolation::Domain,
            start: START,
            kv: BTreeMap::new(),
            dns: Names::Fake(FakeDns::default()),
            web: Web::Fake(Vec::new()),
        }
    }
}
