//! The domains that are served, each with its chain. The whole table is swapped at once.

use crate::config::{Accept, Config, DomainConfig};
use mail::{Binding, Chain, ChainSource, Domain, LoadError, NextHop, Protocol};
use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

pub struct DomainState {
    pub config: Arc<DomainConfig>,
    pub chain: Arc<dyn Chain>,
    reachable: HashSet<(Protocol, String, u16)>,
    proven: AtomicBool,
}

/// A plugin that could not be loaded, and the domain's file that names it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", file.display())]
pub struct ChainError {
    pub file: PathBuf,
    pub error: LoadError,
}

pub struct Domains {
    table: RwLock<Arc<BTreeMap<Domain, Arc<DomainState>>>>,
}

impl DomainState {
    fn new(config: Arc<DomainConfig>, chain: Arc<dyn Chain>, bindings: &[Binding]) -> Self {
        let mut reachable = HashSet::new();
        let configured = config.next_hops.iter().chain(&config.offline.redirect);
        reachable.extend(configured.map(place));
        for binding in bindings {
            next_hops_in(&binding.config, &mut reachable);
        }
        let proven = AtomicBool::new(config.accept == Accept::Always);
        Self { config, chain, reachable, proven }
    }

    /// What a plugin may send mail to: hosts that the domain's file names, as next hop, for
    /// redirection, or in a plugin's table. Everything else would make the gateway a way into
    /// the operator's network.
    pub fn may_reach(&self, hop: &NextHop) -> bool {
        self.reachable.contains(&place(hop))
    }
    /// A probe of the next hop has passed, or none is asked for.
    pub fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }
    pub fn set_proven(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }
    /// The name under which a passed probe is remembered: another next hop has to pass its own.
    pub fn proof_key(&self) -> String {
        let hops: Vec<String> = self.config.next_hops.iter().map(ToString::to_string).collect();
        format!("proven/{}/{}", self.config.name, hops.join(","))
    }
}

fn place(hop: &NextHop) -> (Protocol, String, u16) {
    (hop.protocol, hop.host.clone(), hop.port)
}

fn next_hops_in(value: &serde_json::Value, found: &mut HashSet<(Protocol, String, u16)>) {
    match value {
        serde_json::Value::String(text) => found.extend(text.parse::<NextHop>().ok().as_ref().map(place)),
        serde_json::Value::Array(items) => items.iter().for_each(|item| next_hops_in(item, found)),
        serde_json::Value::Object(map) => map.values().for_each(|item| next_hops_in(item, found)),
        _ => {}
    }
}

impl Domains {
    /// Loads every domain's chain; all errors at once.
    pub async fn load(config: &Config, source: &dyn ChainSource) -> Result<Self, Vec<ChainError>> {
        Ok(Self { table: RwLock::new(Arc::new(load_table(config, source).await?)) })
    }

    /// Check, then swap: on an error the old table stays.
    pub async fn reload(&self, config: &Config, source: &dyn ChainSource) -> Result<(), Vec<ChainError>> {
        let table = load_table(config, source).await?;
        let old = self.all();
        for (name, state) in &table {
            if old.get(name).is_some_and(|before| before.is_proven() && before.proof_key() == state.proof_key()) {
                state.set_proven();
            }
        }
        *self.table.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(table);
        Ok(())
    }

    pub fn get(&self, domain: &Domain) -> Option<Arc<DomainState>> {
        self.all().get(domain).cloned()
    }
    pub fn all(&self) -> Arc<BTreeMap<Domain, Arc<DomainState>>> {
        self.table.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

async fn load_table(
    config: &Config,
    source: &dyn ChainSource,
) -> Result<BTreeMap<Domain, Arc<DomainState>>, Vec<ChainError>> {
    let mut errors = Vec::new();
    let mut table = BTreeMap::new();
    for (name, domain) in &config.domains {
        // Gateway-wide plugins come before any domain's.
        let bindings: Vec<Binding> = config.chain.iter().chain(&domain.plugins).cloned().collect();
        match source.load(name, domain.own_plugins.as_deref(), &bindings).await {
            Ok(chain) => {
                table.insert(name.clone(), Arc::new(DomainState::new(domain.clone(), chain, &bindings)));
            }
            Err(found) => errors.extend(found.into_iter().map(|error| ChainError { file: domain.file.clone(), error })),
        }
    }
    if errors.is_empty() { Ok(table) } else { Err(errors) }
}
