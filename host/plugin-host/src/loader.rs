//! Reads, compiles and judges component files; the same bytes are compiled and kept only once.

use crate::{
    cache::{Cache, Key},
    component::{self, Loaded},
    imports,
    settings::PoolLimits,
    state::State,
};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::sync::Mutex;
use wasmtime::{Engine, component::Component, component::Linker};

/// Components that are remembered as too slow to compile.
const MAX_GIVEN_UP: usize = 1000;

pub(crate) struct Loader(Arc<Inner>);

struct Inner {
    engine: Engine,
    linker: Linker<State>,
    cache: Cache,
    /// Bytes of a component file.
    max_size: u64,
    max_time: Duration,
    compilers: rayon::ThreadPool,
    /// Locked while one component is compiled: one at a time is enough for two cores.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    components: HashMap<Key, Weak<Loaded>>,
    /// So that a file that has not changed is not read again for each domain.
    files: HashMap<PathBuf, (Stamp, Key)>,
    /// Those that took too long to compile. Nothing stops a compiler half way, so they are not tried again.
    given_up: HashSet<Key>,
}

/// Changes when the file does.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Loader {
    pub(crate) fn new(engine: &Engine, cache: Cache, pool: &PoolLimits) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        imports::add_to_linker(&mut linker)?;
        let (max_size, max_time) = (pool.component, pool.compile);
        let (engine, compilers, known) = (engine.clone(), compilers()?, Mutex::default());
        Ok(Self(Arc::new(Inner { engine, linker, cache, max_size, max_time, compilers, known })))
    }

    /// The error tells what to do.
    pub(crate) async fn load(&self, path: &Path) -> Result<Arc<Loaded>, String> {
        let inner = Arc::clone(&self.0);
        let mut known = inner.known.lock().await;
        known.components.retain(|_, component| component.strong_count() > 0);
        let before = known.files.get(path).copied();
        let (inner, path) = (Arc::clone(&self.0), path.to_owned());
        let alive = |known: &Known, key: &Key| known.components.get(key).and_then(Weak::upgrade);
        if let Some((stamp, key)) = before
            && Stamp::of(&path).ok() == Some(stamp)
            && let Some(loaded) = alive(&known, &key)
        {
            return Ok(loaded);
        }
        let file = path.clone();
        let read = blocking(move || inner.read(&file)).await?;
        known.files.insert(path, (read.stamp, read.key));
        if let Some(loaded) = alive(&known, &read.key) {
            return Ok(loaded);
        }
        let too_long = || format!("it takes longer than {:?} to compile; build a smaller one", self.0.max_time);
        if known.given_up.contains(&read.key) {
            return Err(too_long());
        }
        let (inner, key) = (Arc::clone(&self.0), read.key);
        let compiled = tokio::time::timeout(self.0.max_time, blocking(move || inner.compile(&read))).await;
        let Ok(compiled) = compiled else {
            if known.given_up.len() >= MAX_GIVEN_UP {
                known.given_up.clear();
            }
            known.given_up.insert(key);
            return Err(too_long());
        };
        let loaded = Arc::new(compiled?);
        known.components.insert(key, Arc::downgrade(&loaded));
        Ok(loaded)
    }
}

/// All cores, but only while nothing else wants them: a component that compiles for long takes no time from mail.
fn compilers() -> wasmtime::Result<rayon::ThreadPool> {
    let step_back = |_| {
        // On Linux, of this thread alone. Compiling as fast as ever is no reason not to start.
        let _ = rustix::process::nice(19);
    };
    let pool = rayon::ThreadPoolBuilder::new().thread_name(|n| format!("plugin-compile-{n}"));
    pool.start_handler(step_back).build().map_err(|error| wasmtime::format_err!("no threads to compile with: {error}"))
}

struct Read {
    stamp: Stamp,
    key: Key,
    bytes: Vec<u8>,
}

impl Inner {
    fn read(&self, path: &Path) -> Result<Read, String> {
        let stamp = Stamp::of(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        if stamp.size > self.max_size {
            return Err(format!("{} bytes are too large for a component; the limit is {}", stamp.size, self.max_size));
        }
        let bytes = fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        Ok(Read { stamp, key: Sha256::digest(&bytes).into(), bytes })
    }

    fn compile(&self, read: &Read) -> Result<Loaded, String> {
        component::check_format(&read.bytes)?;
        let started = Instant::now();
        let (component, compile_time) = match self.cache.load(&self.engine, &read.key) {
            Some(component) => (component, Duration::ZERO),
            None => {
                let component = self.compilers.install(|| Component::from_binary(&self.engine, &read.bytes));
                let component = component.map_err(|error| format!("it cannot be compiled: {error:#}"))?;
                let took = started.elapsed();
                if let Err(error) = self.cache.store(&self.engine, &read.key, &component) {
                    tracing::warn!(%error, "the compiled plugin is not cached");
                }
                (component, took)
            }
        };
        Loaded::new(&self.engine, &self.linker, &component, &read.bytes, compile_time)
    }
}

impl Stamp {
    fn of(path: &Path) -> std::io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("loading was interrupted: {error}"))?
}
