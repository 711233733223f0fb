//! The domains that are served, each with its chain. The whole table is swapped at once.

use crate::config::{Accept, Config, DomainConfig};
use mail::{Binding, Chain, ChainSource, Domain, LoadError, NextHop, Protocol, TlsMode};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// Next hops by their place; the strictest where one is named twice.
type Reachable = HashMap<(Protocol, String, u16), NextHop>;

pub struct DomainState {
    pub config: Arc<DomainConfig>,
    pub chain: Arc<dyn Chain>,
    reachable: Reachable,
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
    fn new(config: Arc<DomainConfig>, chain: Arc<dyn Chain>) -> Self {
        let mut reachable = Reachable::new();
        for hop in config.next_hops.iter().chain(&config.offline.redirect) {
            add(&mut reachable, hop.clone(), config.tls);
        }
        for binding in &config.plugins {
            next_hops_in(&binding.config, &mut |hop| add(&mut reachable, hop, config.tls));
        }
        let proven = AtomicBool::new(config.accept == Accept::Always);
        Self { config, chain, reachable, proven }
    }

    /// The next hop that a plugin names, as the domain's file has it: as next hop, for redirection,
    /// or in a plugin's table. None for any other: it would make the gateway a way into the
    /// operator's network. A plugin may ask for stricter TLS than the file, never for less.
    pub fn reachable(&self, hop: &NextHop) -> Option<NextHop> {
        let configured = self.reachable.get(&place(hop))?;
        let least = configured.tls.unwrap_or(self.config.tls);
        match hop.tls.filter(|asked| *asked > least) {
            Some(stricter) => Some(NextHop { tls: Some(stricter), ..configured.clone() }),
            None => Some(configured.clone()),
        }
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

fn add(reachable: &mut Reachable, hop: NextHop, tls: TlsMode) {
    let mode = |hop: &NextHop| hop.tls.unwrap_or(tls);
    match reachable.get(&place(&hop)) {
        Some(known) if mode(known) >= mode(&hop) => {}
        _ => {
            reachable.insert(place(&hop), hop);
        }
    }
}

fn next_hops_in(value: &serde_json::Value, found: &mut impl FnMut(NextHop)) {
    match value {
        serde_json::Value::String(text) => {
            if let Ok(hop) = text.parse() {
                found(hop);
            }
        }
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
                table.insert(name.clone(), Arc::new(DomainState::new(domain.clone(), chain)));
            }
            Err(found) => errors.extend(found.into_iter().map(|error| ChainError { file: domain.file.clone(), error })),
        }
    }
    if errors.is_empty() { Ok(table) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Offline;
    use mail::{
        BoxFuture, Content, DeliveryFacts, Failure, HookSet, Isolation, Mailbox, OfflineAction, Routing, Transaction,
        Verdict,
    };

    struct NoPlugins;

    impl Chain for NoPlugins {
        fn hooks(&self) -> HookSet {
            HookSet::default()
        }
        fn on_recipient<'a>(&'a self, _: &'a mut Transaction, _: &'a Mailbox) -> BoxFuture<'a, Verdict> {
            Box::pin(async { Verdict::Pass })
        }
        fn on_message<'a>(&'a self, _: &'a mut Transaction, _: &'a mut Content) -> BoxFuture<'a, Verdict> {
            Box::pin(async { Verdict::Pass })
        }
        fn on_route<'a>(&'a self, _: &'a mut DeliveryFacts) -> BoxFuture<'a, Routing> {
            Box::pin(async { Routing::Default })
        }
        fn on_offline<'a>(&'a self, _: &'a mut DeliveryFacts, _: &'a Failure) -> BoxFuture<'a, OfflineAction> {
            Box::pin(async { OfflineAction::Default })
        }
    }

    fn hop(text: &str) -> NextHop {
        text.parse().unwrap()
    }

    fn domain() -> DomainState {
        let binding = Binding {
            plugin: "split-route".into(),
            on_failure: None,
            config: serde_json::json!({ "routes": [{ "next-hop": "lmtp://127.0.0.1:24" }] }),
            isolation: Isolation::Domain,
            mode: mail::Mode::Active,
            sample: 100,
            gateway_wide: false,
        };
        let config = DomainConfig {
            file: PathBuf::new(),
            name: "example.org".parse().unwrap(),
            next_hops: vec![hop("mx.example:25"), hop("smtp://safe.example:25?tls=verified")],
            tls: TlsMode::Required,
            retention: std::time::Duration::from_secs(1),
            accept: Accept::Always,
            plugins: vec![binding],
            own_plugins: None,
            offline: Offline::default(),
        };
        DomainState::new(Arc::new(config), Arc::new(NoPlugins))
    }

    #[test]
    fn a_plugin_reaches_what_the_domains_file_names_and_nothing_else() {
        let domain = domain();
        assert_eq!(domain.reachable(&hop("mx.example:25")), Some(hop("mx.example:25")));
        assert_eq!(domain.reachable(&hop("lmtp://127.0.0.1:24")), Some(hop("lmtp://127.0.0.1:24")));
        for other in ["127.0.0.1:24", "169.254.169.254:80", "mx.example:26", "lmtp://mx.example:25"] {
            assert_eq!(domain.reachable(&hop(other)), None, "{other}");
        }
    }

    #[test]
    fn a_plugin_may_ask_for_stricter_tls_but_never_for_less() {
        let domain = domain();
        assert_eq!(domain.reachable(&hop("smtp://mx.example:25?tls=none")), Some(hop("mx.example:25")));
        assert_eq!(domain.reachable(&hop("safe.example:25")), Some(hop("smtp://safe.example:25?tls=verified")));
        let strict = hop("smtp://mx.example:25?tls=verified");
        assert_eq!(domain.reachable(&strict), Some(strict.clone()));
    }
}
