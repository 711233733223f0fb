//! What the operator grants to plugins, and where they and their compiled code lie. Values only.

use crate::{grant::Grant, http::HttpClient};
use mail::{BoxFuture, KvStore, Timestamp};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Everything that a host is made from.
#[derive(Clone)]
pub struct HostConfig {
    /// The plugins that every domain may use.
    pub plugin_dir: PathBuf,
    /// Compiled code; made with mode 0700, refused where others could write to it.
    pub cache_dir: PathBuf,
    /// Plugins that every domain may use and that lie elsewhere, by name; they come before those of `plugin_dir`.
    pub files: BTreeMap<String, PathBuf>,
    /// By plugin name; plugins that are not named here get the defaults. Plugins of a domain's own
    /// directory always get the defaults: a domain must not reach a grant by choosing a name.
    pub settings: BTreeMap<String, PluginSettings>,
    pub pool: PoolLimits,
    pub kv: Arc<dyn KvStore>,
    /// None answers `unavailable` to plugins that are granted DNS.
    pub resolver: Option<Arc<dyn Resolver>>,
    /// None sends plugins' requests over the network.
    pub http: Option<Arc<dyn HttpClient>>,
    /// What plugins see as the time of day.
    pub clock: Clock,
    /// Counts instructions for [`mail::Spent`]; guests run slower.
    pub meter_fuel: bool,
}

impl HostConfig {
    /// Defaults for all the rest: no resolver, the system's clock.
    pub fn new(plugin_dir: PathBuf, cache_dir: PathBuf, kv: Arc<dyn KvStore>) -> Self {
        Self {
            plugin_dir,
            cache_dir,
            files: BTreeMap::new(),
            settings: BTreeMap::new(),
            pool: PoolLimits::default(),
            kv,
            resolver: None,
            http: None,
            clock: Arc::new(|| Timestamp::from_system(SystemTime::now())),
            meter_fuel: false,
        }
    }
}

pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSettings {
    pub limits: Limits,
    pub grants: Vec<Grant>,
}

impl Default for PluginSettings {
    fn default() -> Self {
        Self { limits: Limits::default(), grants: vec![Grant::Config, Grant::Log, Grant::Metrics, Grant::Kv] }
    }
}

/// What one call of one plugin may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory.
    pub memory: u64,
    /// Wall clock, of the whole call: waiting, instantiation and host calls included.
    pub time: Duration,
    /// Time on a processor; looked at in steps of [`TICK`].
    pub cpu: Duration,
    /// Entries of all tables.
    pub table_elements: usize,
    /// Live component-model handles.
    pub handles: usize,
    /// Bytes that a single host call moves, in either direction.
    pub host_call_bytes: usize,
    /// Entries of the table of WASI resources (streams, pollables).
    pub resources: usize,
    /// Bytes of one answer of the random generator.
    pub random_bytes: u64,
    /// Log lines of one call, stdout and stderr included; further ones are counted and dropped.
    pub log_lines: u32,
    /// Bytes that the host hashes, searches, decodes and rewrites for one call.
    pub work: u64,
    /// Requests that one call may make by wasi:http.
    pub http_requests: u32,
    /// Those of them that are under way at the same time.
    pub http_at_once: u32,
    /// Bytes of the body of a request, and of a response.
    pub http_body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            time: Duration::from_secs(2),
            cpu: Duration::from_millis(500),
            table_elements: 100_000,
            handles: 1000,
            host_call_bytes: 16 << 20,
            resources: 1000,
            random_bytes: 64 << 10,
            log_lines: 100,
            work: 1 << 30,
            http_requests: 20,
            http_at_once: 4,
            http_body: 8 << 20,
        }
    }
}

/// How far apart the epochs are: the step in which guest code is preempted and its CPU time counted.
pub const TICK: Duration = Duration::from_millis(5);

/// What all plugins share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Live instances in the whole host, warm and busy.
    pub instances: u32,
    /// Bytes of linear memory of all live instances together.
    pub memory: u64,
    /// Idle instances kept for each plugin of a domain.
    pub warm: usize,
    /// Calls that an instance serves before it is replaced.
    pub uses: u32,
    /// How long an idle instance is kept.
    pub idle: Duration,
    /// Calls of one domain that run at the same time; further ones wait.
    pub calls_per_domain: usize,
    /// Bytes of a guest's stack.
    pub stack: usize,
    /// Bytes of a component file.
    pub component: u64,
    /// How long compiling one may take before it is refused.
    pub compile: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            instances: 1000,
            memory: 2 << 30,
            warm: 8,
            uses: 1000,
            idle: Duration::from_secs(60),
            calls_per_domain: 16,
            stack: 512 << 10,
            component: 64 << 20,
            compile: Duration::from_secs(120),
        }
    }
}

/// DNS for plugins that are granted it. No such record is an empty list.
pub trait Resolver: Send + Sync {
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>>;
    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ResolveError>>;
    /// Preference and host, the lowest preference first.
    fn mx<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<(u16, String)>, ResolveError>>;
    fn ptr(&self, ip: IpAddr) -> BoxFuture<'_, Result<Vec<String>, ResolveError>>;
}

/// A look-up that failed or timed out; trying again later may help.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ResolveError(pub String);

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("the engine for plugins cannot start: {0}")]
    Engine(String),
    #[error("the cache of compiled plugins, {path}: {reason}")]
    Cache { path: PathBuf, reason: String },
    #[error("DNS for plugins: {0}")]
    Resolver(String),
    #[error("the threads for plugins that run long cannot start: {0}")]
    Background(#[source] std::io::Error),
    #[error("the thread that interrupts plugins cannot start: {0}")]
    Ticker(#[source] std::io::Error),
}
