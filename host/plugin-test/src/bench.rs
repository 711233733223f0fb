//! Loads a component as the gateway would, and asks it one question after the other.

use crate::{
    fake::{clock::FakeClock, http::Asked, http::FakeWeb, kv::MemoryKv},
    log::{Heard, LogLine},
    question::{After, Answer, Question},
    setting::{Names, Setting, Web},
};
use mail::{Binding, CallRecord, Chain, ChainSource, Hook, KvSpace, KvStore, Mode, Timestamp};
use plugin_host::{HostConfig, HttpClient, Inspection, Metric, PluginHost, PoolLimits, Resolver};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};
use tracing::instrument::WithSubscriber;

/// A component, and where its compiled code is kept.
#[derive(Clone, Debug)]
pub struct Bench {
    component: PathBuf,
    plugin: String,
    cache: PathBuf,
}

/// A component that is loaded, in a setting.
pub struct Plugin {
    host: Arc<PluginHost>,
    chain: Arc<dyn Chain>,
    clock: FakeClock,
    kv: Arc<MemoryKv>,
    web: Option<Arc<FakeWeb>>,
    space: KvSpace,
    heard: Heard,
}

/// What came of one call.
pub struct Answered {
    pub answer: Answer,
    /// What the plugin was asked about, as it left it.
    pub after: After,
    pub record: CallRecord,
    pub log: Vec<LogLine>,
    /// Requests to made-up web servers.
    pub asked: Vec<Asked>,
}

/// Why a component does not serve in a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl Bench {
    pub fn new(component: &Path, cache: &Path) -> Self {
        let plugin = component.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Self { component: component.to_owned(), plugin, cache: cache.to_owned() }
    }

    /// The name that a domain would bind.
    pub fn plugin(&self) -> &str {
        &self.plugin
    }

    pub fn component(&self) -> &Path {
        &self.component
    }

    /// What the component is, before any setting; what is wrong with it, told once.
    pub async fn inspect(&self) -> Result<Inspection, Refused> {
        let kv = Arc::new(MemoryKv::default());
        let config = HostConfig { meter_fuel: true, ..HostConfig::new(self.cache.clone(), self.cache.clone(), kv) };
        let host = PluginHost::new(config).map_err(|error| Refused(error.to_string()))?;
        host.inspect(&self.component).await.map_err(|error| Refused(error.reason))
    }

    /// In a host of its own: nothing is left of an earlier setting but compiled code.
    pub async fn load(&self, setting: &Setting) -> Result<Plugin, Refused> {
        let clock = FakeClock::new(setting.start);
        let reader = clock.clone();
        let now: plugin_host::Clock = Arc::new(move || reader.now());
        let kv = Arc::new(MemoryKv::new(Arc::clone(&now)));
        let space = KvSpace { plugin: self.plugin.as_str().into(), domain: setting.domain.clone() };
        for (key, value) in &setting.kv {
            kv.set(&space, key, value.as_bytes(), None).map_err(|error| Refused(error.to_string()))?;
        }
        let web = match &setting.web {
            Web::Fake(exchanges) => Some(Arc::new(FakeWeb::new(exchanges.clone()))),
            Web::Real => None,
        };
        let resolver: Arc<dyn Resolver> = match &setting.dns {
            Names::Fake(names) => Arc::new(names.clone()),
            Names::Real(resolver) => Arc::clone(resolver),
        };
        let host = PluginHost::new(HostConfig {
            files: BTreeMap::from([(self.plugin.clone(), self.component.clone())]),
            settings: BTreeMap::from([(self.plugin.clone(), setting.plugin.clone())]),
            pool: PoolLimits { instances: 8, ..PoolLimits::default() },
            resolver: Some(resolver),
            http: web.clone().map(|web| web as Arc<dyn HttpClient>),
            clock: now,
            meter_fuel: true,
            // Nothing lies there: the component is named above.
            ..HostConfig::new(self.cache.clone(), self.cache.clone(), Arc::clone(&kv) as Arc<dyn KvStore>)
        });
        let host = host.map_err(|error| Refused(error.to_string()))?;
        let heard = Heard::default();
        let bindings = [self.binding(setting)];
        let loading = host.load(&setting.domain, None, &bindings).with_subscriber(heard.dispatch());
        let chain = loading.await.map_err(|errors| {
            Refused(errors.iter().map(|error| error.reason.clone()).collect::<Vec<_>>().join("\n"))
        })?;
        Ok(Plugin { host, chain, clock, kv, web, space, heard })
    }

    fn binding(&self, setting: &Setting) -> Binding {
        Binding {
            plugin: self.plugin.clone(),
            on_failure: setting.on_failure,
            config: setting.config.clone(),
            isolation: setting.isolation,
            mode: Mode::Active,
            sample: 100,
            gateway_wide: false,
        }
    }
}

impl Plugin {
    /// Those that it exports.
    pub fn hooks(&self) -> Vec<Hook> {
        let set = self.chain.hooks();
        let exported = |hook: &Hook| match hook {
            Hook::OnConnect => set.on_connect,
            Hook::OnRecipient => set.on_recipient,
            Hook::OnMessage => set.on_message,
            Hook::OnRoute => set.on_route,
            Hook::OnOffline => set.on_offline,
            Hook::OnOnline => set.on_online,
            Hook::OnEvent => set.on_event,
        };
        Hook::ALL.into_iter().filter(exported).collect()
    }

    /// None where it does not export the question's hook.
    pub async fn ask(&self, question: Question, at: Timestamp) -> Option<Answered> {
        self.clock.set(at);
        let asking = question.ask(&*self.chain).with_subscriber(self.heard.dispatch());
        let (answer, after, record) = asking.await?;
        let asked = self.web.as_ref().map(|web| web.take_asked()).unwrap_or_default();
        Some(Answered { answer, after, record, log: self.heard.take(), asked })
    }

    pub fn kv(&self) -> &MemoryKv {
        &self.kv
    }

    /// Whose state [`Self::kv`] holds.
    pub fn space(&self) -> &KvSpace {
        &self.space
    }

    /// What it has counted since it was loaded.
    pub fn metrics(&self) -> Vec<Metric> {
        self.host.metrics()
    }
}
