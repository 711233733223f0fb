//! The host as others see it: makes chains from bindings, and tells what it has and how it fares.

use crate::{
    background::Background,
    bound::{Bound, Manner},
    breaker::BreakerState,
    budget::Budget,
    cache::Cache,
    chain::DomainChain,
    component::{Inspection, Loaded},
    config_table::ConfigTable,
    engine::{self, Ticker},
    failure::PluginFailure,
    files,
    guest::{Answer, Question},
    http::{HttpClient, NetworkClient},
    imports::printable,
    instance::Slot,
    loader::Loader,
    metrics::{Metric, Metrics},
    registry::Registry,
    settings::{HostConfig, HostError, Limits, PluginSettings, PoolLimits},
    state::Profile,
    subject::Subject,
};
use mail::{Binding, BoxFuture, Chain, ChainSource, Domain, KvSpace, LoadError, Mode};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Semaphore;
use wasmtime::Engine;

pub struct PluginHost {
    config: HostConfig,
    settings: Mutex<Arc<BTreeMap<String, PluginSettings>>>,
    /// What the engine's slots were made for.
    largest: Limits,
    loader: Loader,
    shared: Arc<Shared>,
}

/// How a plugin of a domain fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginStatus {
    pub plugin: Arc<str>,
    pub domain: Domain,
    pub breaker: BreakerState,
    pub calls: u64,
    pub failures: u64,
    /// Idle instances.
    pub warm: usize,
}

/// What every binding needs of the host.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) pool: PoolLimits,
    /// Stores that exist, idle or busy.
    pub(crate) live: Arc<AtomicUsize>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) meters_fuel: bool,
    pub(crate) background: Background,
    /// How many long calls of one domain compute at the same time.
    pub(crate) long_at_once: usize,
    /// The same for what is being loaded.
    setup_turns: Arc<Semaphore>,
    _ticker: Ticker,
}

impl Shared {
    /// So many stores exist that none should be kept idle.
    pub(crate) fn is_crowded(&self) -> bool {
        self.live.load(Ordering::Relaxed) > self.pool.instances as usize / 4 * 3
    }
    pub(crate) fn is_full(&self) -> bool {
        self.live.load(Ordering::Relaxed) >= self.pool.instances as usize
    }
}

/// What came of a question, unless its time was over before.
pub(crate) type InTime = Result<wasmtime::Result<Answer>, tokio::time::error::Elapsed>;

impl Shared {
    /// Asks an instance that has begun its call, within `time`. It comes back whatever happened.
    pub(crate) async fn ask(
        &self,
        mut slot: Slot,
        loaded: &Arc<Loaded>,
        question: Question,
        time: Duration,
        turns: &Arc<Semaphore>,
    ) -> (Slot, InTime) {
        let (course, loaded) = (slot.course().clone(), Arc::clone(loaded));
        let asking = Box::pin(async move {
            let course = slot.course().clone();
            let asked = tokio::time::timeout(time, course.of(slot.ask(&loaded, question))).await;
            (slot, asked)
        });
        self.background.run(asking, &course, turns).await
    }
}

impl PluginHost {
    /// Starts the engine and its thread; loads nothing yet.
    pub fn new(config: HostConfig) -> Result<Arc<Self>, HostError> {
        let cache = Cache::open(config.cache_dir.clone())?;
        let largest = largest(&config.settings);
        let engine = engine::new(&config.pool, &largest, config.meter_fuel)?;
        let loader =
            Loader::new(&engine, cache, &config.pool).map_err(|error| HostError::Engine(format!("{error:#}")))?;
        let registry = Arc::new(Registry::default());
        let (swept, idle) = (Arc::clone(&registry), config.pool.idle);
        let ticker = Ticker::start(&engine, move || swept.sweep(idle))?;
        let pool = config.pool.clone();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // Others wake up faster where a core is idle than where one computes, whatever its rank.
        let long_at_once = (cores / 4).max(1);
        let background = Background::new((cores / 2).max(1))?;
        let network = || Arc::new(NetworkClient::new(config.resolver.clone())) as Arc<dyn HttpClient>;
        let shared = Arc::new(Shared {
            budget: Budget::new(pool.memory, Arc::clone(&registry)),
            http: config.http.clone().unwrap_or_else(network),
            meters_fuel: config.meter_fuel,
            live: Arc::default(),
            engine,
            pool,
            registry,
            background,
            long_at_once,
            setup_turns: Arc::new(Semaphore::new(long_at_once)),
            _ticker: ticker,
        });
        let settings = Mutex::new(Arc::new(config.settings.clone()));
        Ok(Arc::new(Self { config, settings, largest, loader, shared }))
    }

    /// For chains that are loaded from now on.
    pub fn set_settings(&self, settings: BTreeMap<String, PluginSettings>) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// The names that every domain may use, sorted.
    pub fn available(&self) -> Vec<String> {
        let mut names = files::names(&self.config.plugin_dir);
        names.extend(self.config.files.keys().cloned());
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What a file is, as far as a chain would take it.
    pub async fn inspect(&self, path: &Path) -> Result<Inspection, LoadError> {
        let plugin = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let wrong = |reason| LoadError { plugin: plugin.clone(), reason };
        let loaded = self.loader.load(path).await.map_err(wrong)?;
        let domain: Domain = "inspect.invalid".parse().map_err(|error| wrong(format!("{error}")))?;
        let profile = self.profile(&plugin, &domain, &serde_json::Value::Null, PluginSettings::default(), Mode::Active);
        self.check_types(&loaded, &profile).await.map_err(wrong)?;
        Ok(loaded.inspection.clone())
    }

    /// What plugins counted, of those in use.
    pub fn metrics(&self) -> Vec<Metric> {
        self.shared.registry.bounds().iter().flat_map(|bound| bound.profile.metrics.read()).collect()
    }

    /// Bytes of linear memory of all live instances.
    pub fn memory_in_use(&self) -> u64 {
        self.shared.budget.used()
    }

    /// One entry for each binding in use.
    pub fn status(&self) -> Vec<PluginStatus> {
        let status = |bound: &Arc<Bound>| PluginStatus {
            plugin: Arc::clone(&bound.profile.plugin),
            domain: bound.profile.domain.clone(),
            breaker: bound.breaker_state(),
            calls: bound.calls.load(Ordering::Relaxed),
            failures: bound.failures.load(Ordering::Relaxed),
            warm: bound.warm_count(),
        };
        self.shared.registry.bounds().iter().map(status).collect()
    }

    async fn load_chain(
        &self,
        domain: &Domain,
        own_plugins: Option<&Path>,
        bindings: &[Binding],
    ) -> Result<Arc<dyn Chain>, Vec<LoadError>> {
        let (mut plugins, mut errors) = (Vec::new(), Vec::new());
        for binding in bindings {
            match self.bind(domain, own_plugins, binding).await {
                Ok(bound) => plugins.push(Arc::new(bound)),
                Err(reason) => errors.push(LoadError { plugin: binding.plugin.clone(), reason }),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        self.shared.registry.add(&plugins);
        Ok(Arc::new(DomainChain::new(domain.clone(), plugins, &self.shared)))
    }

    async fn bind(&self, domain: &Domain, own: Option<&Path>, binding: &Binding) -> Result<Bound, String> {
        let own = own.filter(|_| !binding.gateway_wide);
        let listed = self.config.files.get(&binding.plugin).cloned();
        let (name, own) = (binding.plugin.clone(), own.map(Path::to_owned));
        let common: PathBuf = self.config.plugin_dir.clone();
        let find = tokio::task::spawn_blocking(move || files::find(&name, own.as_deref(), listed, &common));
        let found = find.await.map_err(|error| format!("looking for it was interrupted: {error}"))??;
        let loaded = self.loader.load(&found.path).await?;
        let settings = if found.is_own { PluginSettings::default() } else { self.settings_of(&binding.plugin)? };
        let profile = self.profile(&binding.plugin, domain, &binding.config, settings, binding.mode);
        self.check_types(&loaded, &profile).await?;
        self.validate(&loaded, &profile).await?;
        let manner = Manner {
            isolation: binding.isolation,
            on_failure: binding.on_failure,
            mode: binding.mode,
            sample: binding.sample,
        };
        Ok(Bound::new(profile, loaded, manner, Arc::clone(&self.shared)))
    }

    fn settings_of(&self, plugin: &str) -> Result<PluginSettings, String> {
        let all = Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner));
        let settings = all.get(plugin).cloned().unwrap_or_default();
        if settings.limits.memory > self.largest.memory || settings.limits.table_elements > self.largest.table_elements
        {
            return Err(format!(
                "its limits are larger than those that the gateway was started with ({} bytes of memory, {} table \
                 entries); restart the gateway, or lower them",
                self.largest.memory, self.largest.table_elements
            ));
        }
        Ok(settings)
    }

    fn profile(
        &self,
        plugin: &str,
        domain: &Domain,
        config: &serde_json::Value,
        settings: PluginSettings,
        mode: Mode,
    ) -> Arc<Profile> {
        let plugin: Arc<str> = plugin.into();
        // No plugin is called so: what a shadow remembers is not what the same plugin decides by.
        let owner = if mode == Mode::Shadow { format!("{plugin}~shadow").into() } else { Arc::clone(&plugin) };
        Arc::new(Profile {
            metrics: Arc::new(Metrics::new(Arc::clone(&plugin), domain.clone())),
            space: KvSpace { plugin: owner, domain: domain.clone() },
            plugin,
            domain: domain.clone(),
            config: ConfigTable::new(config),
            grants: settings.grants,
            limits: settings.limits,
            kv: Arc::clone(&self.config.kv),
            resolver: self.config.resolver.clone(),
            clock: Arc::clone(&self.config.clock),
        })
    }

    async fn check_types(&self, loaded: &Arc<Loaded>, profile: &Arc<Profile>) -> Result<(), String> {
        let (mut slot, limit) = (self.slot(profile)?, profile.limits.time);
        let (course, loaded) = (slot.course().clone(), Arc::clone(loaded));
        let checking = Box::pin(async move {
            let course = slot.course().clone();
            let checked = tokio::time::timeout(limit, course.of(loaded.check_types(&mut slot.store))).await;
            (slot, checked)
        });
        let (slot, checked) = self.shared.background.run(checking, &course, &self.shared.setup_turns).await;
        let checked = checked.unwrap_or_else(|_| Err(format!("it did not start within {limit:?}")));
        let hit = slot.store.data().meter.hit;
        checked.map_err(|reason| {
            hit.map_or(reason, |hit| format!("it does not start: {}", PluginFailure::from_hit(hit, &profile.limits)))
        })
    }

    /// In an instance that is thrown away.
    async fn validate(&self, loaded: &Arc<Loaded>, profile: &Arc<Profile>) -> Result<(), String> {
        if !loaded.has("setup") {
            return Ok(());
        }
        let slot = self.slot(profile)?;
        let (slot, asked) =
            self.shared.ask(slot, loaded, Question::Validate, profile.limits.time, &self.shared.setup_turns).await;
        let failure = match asked {
            Ok(Ok(Answer::Validated(Ok(())))) => return Ok(()),
            Ok(Ok(Answer::Validated(Err(message)))) => {
                let message: String = message.chars().take(1000).collect();
                return Err(format!("it refuses its configuration: {}", printable(&message)));
            }
            Ok(Ok(_)) => PluginFailure::Nonsense("an answer to another question".to_owned()),
            Ok(Err(error)) => PluginFailure::from_engine(&error, slot.store.data().meter.hit, &profile.limits),
            Err(_) => PluginFailure::Deadline(profile.limits.time),
        };
        let frames = failure.frames().map_or_else(String::new, |frames| format!(", in {frames}"));
        Err(format!("its setup failed: {failure}{frames}"))
    }

    fn slot(&self, profile: &Arc<Profile>) -> Result<Slot, String> {
        if self.shared.is_full() || !self.shared.budget.has_room() {
            self.shared.registry.evict_idle();
        }
        let mut slot = Slot::new(&self.shared, profile);
        slot.course().begin(false);
        slot.begin(Subject::Nothing, profile.limits.time).map_err(|error| format!("it cannot be asked: {error:#}"))?;
        Ok(slot)
    }
}

/// The engine's slots must fit the most demanding plugin.
fn largest(settings: &BTreeMap<String, PluginSettings>) -> Limits {
    settings.values().fold(Limits::default(), |most, plugin| Limits {
        memory: most.memory.max(plugin.limits.memory),
        table_elements: most.table_elements.max(plugin.limits.table_elements),
        ..most
    })
}

impl ChainSource for PluginHost {
    fn load<'a>(
        &'a self,
        domain: &'a Domain,
        own_plugins: Option<&'a Path>,
        bindings: &'a [Binding],
    ) -> BoxFuture<'a, Result<Arc<dyn Chain>, Vec<LoadError>>> {
        Box::pin(self.load_chain(domain, own_plugins, bindings))
    }
}
