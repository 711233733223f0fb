//! What the tests stand on: a host over built guests, a mail, and state in memory.

use bytes::Bytes;
use mail::{
    Binding, Chain, ChainSource, Connection, Content, DeliveryFacts, Domain, Event, Isolation, KvError, KvSpace,
    KvStore, LoadError, MailId, Mailbox, OnFailure, Recipient, ReversePath, SessionFacts, Timestamp, Transaction,
};
use plugin_host::{Grant, HostConfig, HttpClient, Limits, PluginHost, PluginSettings, PoolLimits, Resolver};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

pub(crate) const NOW: u64 = 1_795_499_350;

pub(crate) struct Rig {
    pub(crate) host: Arc<PluginHost>,
    pub(crate) kv: Arc<MemoryKv>,
    pub(crate) plugins: tempfile::TempDir,
    pub(crate) cache: tempfile::TempDir,
}

/// What differs from test to test.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) grants: Vec<Grant>,
    pub(crate) pool: PoolLimits,
    pub(crate) http: Option<Arc<dyn HttpClient>>,
    pub(crate) resolver: Option<Arc<dyn Resolver>>,
    pub(crate) meter_fuel: bool,
}

impl Default for Setup {
    fn default() -> Self {
        // Debug builds on busy machines compile and call slowly; only tests of these limits lower them.
        let limits = Limits { time: Duration::from_secs(20), cpu: Duration::from_millis(200), ..Limits::default() };
        let pool = PoolLimits { instances: 32, ..PoolLimits::default() };
        Self { limits, grants: PluginSettings::default().grants, pool, http: None, resolver: None, meter_fuel: false }
    }
}

/// Where `cargo xtask guests` puts them.
pub(crate) fn guest(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir =
        std::env::var_os("WAYPOST_GUESTS").map_or_else(|| root.join("target/wasm32-wasip2/plugin"), PathBuf::from);
    let path = dir.join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} is missing: run `cargo xtask guests` first", path.display());
    path
}

impl Rig {
    pub(crate) fn new(setup: Setup) -> Self {
        let (plugins, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::copy(guest("hostile"), plugins.path().join("hostile.wasm")).unwrap();
        let kv = Arc::new(MemoryKv::default());
        let settings = PluginSettings { limits: setup.limits, grants: setup.grants };
        let host = PluginHost::new(HostConfig {
            settings: BTreeMap::from([("hostile".to_owned(), settings)]),
            pool: setup.pool,
            http: setup.http,
            resolver: setup.resolver,
            meter_fuel: setup.meter_fuel,
            clock: Arc::new(|| Timestamp::from_secs(NOW)),
            ..HostConfig::new(plugins.path().to_owned(), cache.path().to_owned(), kv.clone())
        });
        Self { host: host.unwrap(), kv, plugins, cache }
    }

    pub(crate) async fn load(&self, domain: &str, bindings: &[Binding]) -> Result<Arc<dyn Chain>, Vec<LoadError>> {
        self.host.load(&domain.parse().unwrap(), None, bindings).await
    }

    /// A chain of one hostile plugin that does as `config` says.
    pub(crate) async fn chain(&self, config: Value) -> Arc<dyn Chain> {
        self.load("example.org", &[binding(config)]).await.unwrap()
    }

    /// Why a plugin named `name` with these bytes is refused.
    pub(crate) async fn refusal(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.plugins.path().join(format!("{name}.wasm")), bytes).unwrap();
        let errors = self.load("example.org", &[named(name)]).await.err().expect("the plugin was taken");
        assert_eq!(errors.len(), 1);
        errors[0].reason.clone()
    }
}

pub(crate) fn binding(config: Value) -> Binding {
    Binding {
        plugin: "hostile".to_owned(),
        on_failure: None,
        config,
        isolation: Isolation::Domain,
        mode: mail::Mode::Active,
        sample: 100,
        gateway_wide: false,
    }
}

pub(crate) fn named(plugin: &str) -> Binding {
    Binding {
        plugin: plugin.to_owned(),
        on_failure: None,
        config: Value::Null,
        isolation: Isolation::Domain,
        mode: mail::Mode::Active,
        sample: 100,
        gateway_wide: false,
    }
}

pub(crate) fn failing(config: Value, policy: OnFailure) -> Binding {
    Binding { on_failure: Some(policy), ..binding(config) }
}

pub(crate) fn mailbox(address: &str) -> Mailbox {
    address.parse().unwrap()
}

pub(crate) fn transaction(domain: &str) -> Transaction {
    let recipient = |local: &str| Recipient::new(mailbox(&format!("{local}@{domain}")));
    Transaction {
        session: Arc::new(SessionFacts {
            listener: "[::]:25".into(),
            peer: "192.0.2.7:4711".parse().unwrap(),
            peer_name: None,
            helo: Some("client.example".to_owned()),
            tls_version: None,
            auth_user: None,
        }),
        id: MailId::from_u128(7),
        domain: domain.parse::<Domain>().unwrap(),
        sender: ReversePath::Mailbox(mailbox("alice@example.com")),
        mail_params: vec![("SIZE".to_owned(), Some("1000".to_owned()))],
        recipients: vec![recipient("bob"), recipient("carol")],
        authenticity: mail::Authenticity::default(),
        score: 0,
        symbols: Vec::new(),
        attributes: BTreeMap::new(),
        calls: Vec::new(),
    }
}

pub(crate) fn content() -> Content {
    let mail = "Received: one\r\nReceived: two\r\nSubject: =?utf-8?q?gr=C3=BCn?=\r\nX-Gone: x\r\n\r\nbody text\r\n";
    Content::new(Bytes::from_static(mail.as_bytes()))
}

pub(crate) fn delivery(content: impl mail::ContentSource + 'static) -> DeliveryFacts {
    DeliveryFacts {
        id: MailId::from_u128(7),
        domain: "example.org".parse().unwrap(),
        sender: ReversePath::Null,
        recipient: mailbox("bob@example.org"),
        queued_at: Timestamp::from_secs(NOW),
        expires_at: Timestamp::from_secs(NOW + 86_400),
        attempts: 1,
        offline_since: None,
        attributes: BTreeMap::new(),
        calls: Vec::new(),
        content: Arc::new(content),
    }
}

pub(crate) fn connection() -> Connection {
    Connection { session: transaction("example.org").session, attributes: BTreeMap::new(), calls: Vec::new() }
}

pub(crate) fn event(delivery: Option<DeliveryFacts>) -> Event {
    Event { kind: "delivered", at: Timestamp::from_secs(NOW), delivery, json: r#"{"reply":"250 ok"}"#.to_owned() }
}

/// What `on_message` makes of the usual mail.
pub(crate) async fn judge(chain: &dyn Chain) -> mail::Verdict {
    chain.on_message(&mut transaction("example.org"), &mut content()).await
}

/// Without expiry.
#[derive(Default)]
pub(crate) struct MemoryKv(Mutex<HashMap<(KvSpace, String), Vec<u8>>>);

impl MemoryKv {
    /// What a plugin of example.org has kept.
    pub(crate) fn text(&self, plugin: &str, key: &str) -> Option<String> {
        let space = KvSpace { plugin: plugin.into(), domain: "example.org".parse().unwrap() };
        let value = self.get(&space, key).unwrap()?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    }
}

impl KvStore for MemoryKv {
    fn get(&self, space: &KvSpace, key: &str) -> Result<Option<Bytes>, KvError> {
        Ok(self.0.lock().unwrap().get(&(space.clone(), key.to_owned())).cloned().map(Bytes::from))
    }
    fn set(&self, space: &KvSpace, key: &str, value: &[u8], _: Option<u32>) -> Result<(), KvError> {
        self.0.lock().unwrap().insert((space.clone(), key.to_owned()), value.to_owned());
        Ok(())
    }
    fn add(&self, space: &KvSpace, key: &str, value: &[u8], ttl: Option<u32>) -> Result<bool, KvError> {
        self.compare_and_set(space, key, None, value, ttl)
    }
    fn delete(&self, space: &KvSpace, key: &str) -> Result<(), KvError> {
        self.0.lock().unwrap().remove(&(space.clone(), key.to_owned()));
        Ok(())
    }
    fn increment(&self, space: &KvSpace, key: &str, delta: i64, _: Option<u32>) -> Result<i64, KvError> {
        let mut values = self.0.lock().unwrap();
        let value = values.entry((space.clone(), key.to_owned())).or_insert_with(|| b"0".to_vec());
        let before: i64 = std::str::from_utf8(value).ok().and_then(|t| t.parse().ok()).ok_or(KvError::NotANumber)?;
        *value = (before + delta).to_string().into_bytes();
        Ok(before + delta)
    }
    fn compare_and_set(
        &self,
        space: &KvSpace,
        key: &str,
        expect: Option<&[u8]>,
        value: &[u8],
        _: Option<u32>,
    ) -> Result<bool, KvError> {
        let mut values = self.0.lock().unwrap();
        let key = (space.clone(), key.to_owned());
        let same = values.get(&key).map(Vec::as_slice) == expect;
        if same {
            values.insert(key, value.to_owned());
        }
        Ok(same)
    }
}
