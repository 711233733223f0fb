//! What a call costs: warm and fresh instances, with a mail of 4 KiB.
//!
//! Run `cargo xtask guests` first.

#![allow(clippy::unwrap_used)]

use divan::Bencher;
use mail::{
    Binding, Chain, ChainSource, Content, Domain, Isolation, KvError, KvSpace, KvStore, MailId, Mailbox, Recipient,
    ReversePath, SessionFacts, Transaction,
};
use plugin_host::{HostConfig, PluginHost, PoolLimits};
use serde_json::json;
use std::{collections::BTreeMap, path::Path, sync::Arc};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

/// What is called: the plugin, its configuration, and whether each call gets a fresh instance.
const CASES: [(&str, &str, Isolation); 8] = [
    ("hostile", "", Isolation::Domain),
    ("hostile", "", Isolation::Transaction),
    ("hostile", "read", Isolation::Domain),
    ("hostile", "edit", Isolation::Domain),
    ("tag", "", Isolation::Domain),
    ("tag", "", Isolation::Transaction),
    ("recipients", "", Isolation::Domain),
    ("recipients", "", Isolation::Transaction),
];

struct Bench {
    runtime: Runtime,
    chain: Arc<dyn Chain>,
    _host: Arc<PluginHost>,
    _cache: tempfile::TempDir,
}

/// None where the guest is not built.
fn bench((plugin, deed, isolation): (&str, &str, Isolation)) -> Option<Bench> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = std::env::var_os("WAYPOST_GUESTS")
        .map_or_else(|| root.join("target/wasm32-wasip2/plugin"), std::path::PathBuf::from);
    if !dir.join(format!("{plugin}.wasm")).is_file() {
        return None;
    }
    let cache = tempfile::tempdir().unwrap();
    let host = PluginHost::new(HostConfig {
        pool: PoolLimits { instances: 32, ..PoolLimits::default() },
        ..HostConfig::new(dir, cache.path().to_owned(), Arc::new(NoKv))
    })
    .unwrap();
    let config = match plugin {
        "hostile" => json!({ "message": deed, "recipient": deed }),
        "tag" => json!({ "headers": { "X-Gateway": "{domain} {id}" } }),
        _ => json!({ "addresses": ["bob", "carol", "dan"] }),
    };
    let bindings = [Binding {
        plugin: plugin.to_owned(),
        on_failure: None,
        config,
        isolation,
        mode: mail::Mode::Active,
        sample: 100,
        gateway_wide: false,
    }];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let domain: Domain = "example.org".parse().unwrap();
    let chain = match runtime.block_on(host.load(&domain, None, &bindings)) {
        Ok(chain) => chain,
        Err(errors) => {
            eprintln!("{plugin} is left out: {errors:?}");
            return None;
        }
    };
    Some(Bench { runtime, chain, _host: host, _cache: cache })
}

fn transaction() -> Transaction {
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
        domain: "example.org".parse().unwrap(),
        sender: ReversePath::Mailbox("alice@example.com".parse().unwrap()),
        mail_params: Vec::new(),
        recipients: vec![Recipient::new("bob@example.org".parse().unwrap())],
        authenticity: mail::Authenticity::default(),
        score: 0,
        symbols: Vec::new(),
        attributes: BTreeMap::new(),
        calls: Vec::new(),
    }
}

#[divan::bench(args = CASES)]
fn on_message(bencher: Bencher<'_, '_>, case: (&str, &str, Isolation)) {
    let Some(bench) = bench(case).filter(|bench| bench.chain.hooks().on_message) else { return };
    let header = "Received: from a by b\r\nFrom: alice@example.com\r\nTo: bob@example.org\r\nSubject: hello\r\n\r\n";
    let mail = Content::new(format!("{header}{}", "body text of a mail\r\n".repeat(190)).into());
    let (runtime, chain) = (&bench.runtime, &bench.chain);
    bencher
        .with_inputs(|| (transaction(), mail.clone()))
        .bench_local_refs(|(transaction, content)| runtime.block_on(chain.on_message(transaction, content)));
}

#[divan::bench(args = CASES)]
fn on_recipient(bencher: Bencher<'_, '_>, case: (&str, &str, Isolation)) {
    let Some(bench) = bench(case).filter(|bench| bench.chain.hooks().on_recipient) else { return };
    let address: Mailbox = "carol@example.org".parse().unwrap();
    let (runtime, chain) = (&bench.runtime, &bench.chain);
    bencher
        .with_inputs(transaction)
        .bench_local_refs(|transaction| runtime.block_on(chain.on_recipient(transaction, &address)));
}

/// None of the plugins measured here keeps state.
struct NoKv;

impl KvStore for NoKv {
    fn get(&self, _: &KvSpace, _: &str) -> Result<Option<bytes::Bytes>, KvError> {
        Ok(None)
    }
    fn set(&self, _: &KvSpace, _: &str, _: &[u8], _: Option<u32>) -> Result<(), KvError> {
        Ok(())
    }
    fn add(&self, _: &KvSpace, _: &str, _: &[u8], _: Option<u32>) -> Result<bool, KvError> {
        Ok(true)
    }
    fn delete(&self, _: &KvSpace, _: &str) -> Result<(), KvError> {
        Ok(())
    }
    fn increment(&self, _: &KvSpace, _: &str, delta: i64, _: Option<u32>) -> Result<i64, KvError> {
        Ok(delta)
    }
    fn compare_and_set(
        &self,
        _: &KvSpace,
        _: &str,
        _: Option<&[u8]>,
        _: &[u8],
        _: Option<u32>,
    ) -> Result<bool, KvError> {
        Ok(true)
    }
}
