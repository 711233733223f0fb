//! The domains that are served, each with its chain, and the chain that is asked before there is a domain.
//!
//! The whole table is swapped at once; who works with a domain's state keeps it until done.

use crate::{
    config::{Accept, Config, ConfigError, DomainConfig, Identity, Place},
    events::Listeners,
    reload::{Files, Inputs},
};
use mail::{Binding, Chain, ChainSource, Domain, LoadError, NextHop, Protocol, TlsMode};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// Next hops by their place; the strictest where one is named twice.
type Reachable = HashMap<(Protocol, String, u16), NextHop>;

pub type Table = BTreeMap<Domain, Arc<DomainState>>;

pub struct DomainState {
    pub config: Arc<DomainConfig>,
    pub chain: Arc<dyn Chain>,
    /// What `chain` was made from.
    pub inputs: Inputs,
    /// Plugins that are told what has happened.
    pub listeners: Listeners,
    reachable: Reachable,
    /// Those that are for redirection only: `[identity]` is not about them.
    backups: HashSet<(Protocol, String, u16)>,
    proven: AtomicBool,
}

/// The gateway-wide plugins, for connections.
#[derive(Clone)]
pub struct ConnectChain {
    pub chain: Arc<dyn Chain>,
    pub inputs: Inputs,
}

pub struct Domains {
    table: RwLock<Arc<Table>>,
    connect: RwLock<Option<ConnectChain>>,
}

impl DomainState {
    pub fn new(config: Arc<DomainConfig>, chain: Arc<dyn Chain>, inputs: Inputs) -> Self {
        let listeners = Listeners::of(&config.name, &chain);
        Self::of_parts(config, chain, inputs, listeners)
    }

    fn of_parts(config: Arc<DomainConfig>, chain: Arc<dyn Chain>, inputs: Inputs, listeners: Listeners) -> Self {
        let mut reachable = Reachable::new();
        for hop in &config.next_hops {
            add(&mut reachable, hop.clone(), config.tls);
        }
        for binding in &config.plugins {
            next_hops_in(&binding.config, &mut |hop| add(&mut reachable, hop, config.tls));
        }
        let backups =
            config.offline.redirect.iter().map(place).filter(|place| !reachable.contains_key(place)).collect();
        for hop in &config.offline.redirect {
            add(&mut reachable, hop.clone(), config.tls);
        }
        let proven = AtomicBool::new(config.accept == Accept::Always || config.on_demand);
        Self { config, chain, inputs, listeners, reachable, backups, proven }
    }

    /// The same plugins under other settings.
    pub fn with_config(&self, config: Arc<DomainConfig>) -> Self {
        Self::of_parts(config, self.chain.clone(), self.inputs.clone(), self.listeners.clone())
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

    /// What this next hop must prove before it gets the domain's mail; nothing where it is only a backup.
    pub fn identity_of(&self, hop: &NextHop) -> Option<&Identity> {
        self.config.identity.as_ref().filter(|_| !self.backups.contains(&place(hop)))
    }
    /// The next hops that must prove who they are, in order of their names.
    pub fn asked_for_identity(&self) -> Vec<&NextHop> {
        let mut hops: Vec<_> = self.reachable.values().filter(|hop| self.identity_of(hop).is_some()).collect();
        hops.sort();
        hops
    }
    /// What is true of a next hop for this domain need not be true for others.
    pub fn has_lanes_of_its_own(&self) -> bool {
        self.config.identity.is_some() || self.config.lease().is_some()
    }

    /// A probe of the next hop has passed, or none is asked for.
    pub fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }
    pub fn set_proven(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }
    /// The name under which a passed probe is remembered: another next hop, TLS or identity has to pass its own.
    pub fn proof_key(&self) -> String {
        let DomainConfig { name, next_hops, tls, identity, .. } = &*self.config;
        let hops: Vec<String> = next_hops.iter().map(ToString::to_string).collect();
        let hops = hops.join(",");
        match identity {
            None => format!("proven/{name}/{hops}/{}", tls.as_str()),
            Some(identity) => format!("proven/{name}/{hops}/{}/{}", tls.as_str(), fingerprint(identity)),
        }
    }
}

fn fingerprint(Identity { pins, trust_on_first_probe, name, dane }: &Identity) -> String {
    let mut hash = Sha256::new();
    pins.iter().for_each(|pin| hash.update(pin));
    let name = name.as_ref().map_or("", Domain::as_str);
    hash.update(format!("{trust_on_first_probe} {dane} {name}"));
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
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
    /// Loads every domain's chain; all errors at once. Reads files.
    pub async fn load(config: &Config, source: &dyn ChainSource) -> Result<Self, Vec<ConfigError>> {
        let mut files = Files::default();
        let (mut errors, mut table) = (Vec::new(), Table::new());
        let connect = load_connect(config, source, files.of_gateway(config)).await.unwrap_or_else(|found| {
            errors.extend(found);
            None
        });
        for (name, domain) in &config.domains {
            let inputs = files.of_domain(config, domain);
            match load_chain(config, domain, source).await {
                Ok(chain) => {
                    table.insert(name.clone(), Arc::new(DomainState::new(domain.clone(), chain, inputs)));
                }
                Err(found) => errors.extend(found),
            }
        }
        dedup(&mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { table: RwLock::new(Arc::new(table)), connect: RwLock::new(connect) })
    }

    pub fn get(&self, domain: &Domain) -> Option<Arc<DomainState>> {
        self.all().get(domain).cloned()
    }
    pub fn all(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// None where nobody is asked about connections.
    pub fn connect(&self) -> Option<ConnectChain> {
        self.connect.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was proven of a next hop before stays proven.
    pub fn swap(&self, table: Table) {
        let old = self.all();
        for (name, state) in &table {
            if old.get(name).is_some_and(|before| before.is_proven() && before.proof_key() == state.proof_key()) {
                state.set_proven();
            }
        }
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
    pub fn swap_connect(&self, connect: Option<ConnectChain>) {
        *self.connect.write().unwrap_or_else(PoisonError::into_inner) = connect;
    }
}

/// A domain's chain, the gateway-wide plugins first.
pub async fn load_chain(
    config: &Config,
    domain: &DomainConfig,
    source: &dyn ChainSource,
) -> Result<Arc<dyn Chain>, Vec<ConfigError>> {
    let bindings: Vec<Binding> = config.chain.iter().chain(&domain.plugins).cloned().collect();
    let places = config.chain_places.iter().chain(&domain.plugin_places).collect();
    let loaded = source.load(&domain.name, domain.own_plugins.as_deref(), &bindings).await;
    loaded.map_err(|errors| located(&errors, &bindings, places, &Place::of_file(&domain.file)))
}

/// The gateway-wide plugins under the gateway's own name; none where the file names none.
pub async fn load_connect(
    config: &Config,
    source: &dyn ChainSource,
    inputs: Inputs,
) -> Result<Option<ConnectChain>, Vec<ConfigError>> {
    if config.chain.is_empty() {
        return Ok(None);
    }
    let file = Place::of_file(&config.file);
    let wrong = |error: mail::AddressError| vec![file.error(format!("hostname: {error}"), None)];
    let hostname: Domain = config.hostname.parse().map_err(wrong)?;
    match source.load(&hostname, None, &config.chain).await {
        Ok(chain) => Ok(Some(ConnectChain { chain, inputs })),
        Err(errors) => Err(located(&errors, &config.chain, config.chain_places.iter().collect(), &file)),
    }
}

/// Each error at the entry that it is about. They come in the entries' order.
fn located(errors: &[LoadError], bindings: &[Binding], places: Vec<&Place>, file: &Place) -> Vec<ConfigError> {
    let mut entries = bindings.iter().zip(places);
    let one = |error: &LoadError| {
        let place = entries.find(|(binding, _)| binding.plugin == error.plugin).map_or(file, |(_, place)| place);
        place.error(error.to_string(), None)
    };
    errors.iter().map(one).collect()
}

/// A gateway-wide plugin fails for every domain in the same way.
pub fn dedup(errors: &mut Vec<ConfigError>) {
    let mut seen = std::collections::HashSet::new();
    errors.retain(|error| seen.insert(error.to_string()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Offline;
    use mail::{Isolation, NoPlugins};

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
            file: std::path::PathBuf::new(),
            name: "example.org".parse().unwrap(),
            next_hops: vec![hop("mx.example:25"), hop("smtp://safe.example:25?tls=verified")],
            on_demand: false,
            tls: TlsMode::Required,
            retention: std::time::Duration::from_secs(1),
            delay_notice: crate::dsn::DELAY_NOTICE,
            accept: Accept::Always,
            plugins: vec![binding],
            plugin_places: Vec::new(),
            own_plugins: None,
            offline: Offline::default(),
            identity: None,
            check_in: None,
            authentication_results: None,
            record: None,
        };
        DomainState::new(Arc::new(config), Arc::new(NoPlugins), Inputs::default())
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
    fn another_next_hop_tls_or_identity_has_to_pass_a_probe_of_its_own() {
        let domain = domain();
        let with = |change: fn(&mut DomainConfig)| {
            let mut config = (*domain.config).clone();
            change(&mut config);
            domain.with_config(Arc::new(config)).proof_key()
        };
        let mut keys = vec![
            with(|_| ()),
            with(|config| config.tls = TlsMode::None),
            with(|config| config.next_hops.truncate(1)),
            with(|config| config.identity = Some(Identity::default())),
            with(|config| config.identity = Some(Identity { pins: vec![[1; 32]], ..Identity::default() })),
        ];
        assert_eq!(keys[0], with(|config| config.accept = Accept::AfterProbe));
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 5, "{keys:?}");
    }

    #[test]
    fn every_next_hop_must_prove_who_it_is_but_one_that_is_a_backup_only() {
        let plain = domain();
        assert_eq!(plain.identity_of(&hop("mx.example:25")), None);
        let config = DomainConfig {
            identity: Some(Identity { dane: true, ..Identity::default() }),
            offline: Offline { redirect: vec![hop("backup.example:25"), hop("mx.example:25")], ..Offline::default() },
            ..DomainConfig::clone(&plain.config)
        };
        let domain = plain.with_config(Arc::new(config));
        for asked in ["mx.example:25", "smtp://mx.example:25?tls=verified", "lmtp://127.0.0.1:24"] {
            assert!(domain.identity_of(&hop(asked)).is_some(), "{asked}");
        }
        assert_eq!(domain.identity_of(&hop("backup.example:25")), None);
    }

    #[test]
    fn a_next_hop_has_lanes_of_its_own_where_it_is_leased_and_not_where_mail_can_be_collected_too() {
        let domain = domain();
        let with = |lease| {
            let check_in = crate::config::CheckIn {
                user: "example-org".into(),
                password_hash: String::new(),
                lease,
                scram_sha_256: None,
                cram_md5_secret: None,
            };
            let config = DomainConfig { check_in: Some(check_in), ..DomainConfig::clone(&domain.config) };
            domain.with_config(Arc::new(config)).has_lanes_of_its_own()
        };
        assert!(!domain.has_lanes_of_its_own() && !with(None));
        assert!(with(Some(std::time::Duration::from_secs(600))));
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
