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
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::sync::Mutex;
use wasmtime::{Engine, component::Component, component::Linker};

pub(crate) struct Loader(Arc<Inner>);

struct Inner {
    engine: Engine,
    linker: Linker<State>,
    cache: Cache,
    /// Bytes of a component file.
    max_size: u64,
    max_time: Duration,
    /// Locked while one component is compiled: one at a time is enough for two cores.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    components: HashMap<Key, Weak<Loaded>>,
    /// So that a file that has not changed is not read again for each domain.
    files: HashMap<PathBuf, (Stamp, Key)>,
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
        let inner = Inner { engine: engine.clone(), linker, cache, max_size, max_time, known: Mutex::default() };
        Ok(Self(Arc::new(inner)))
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
        let (inner, key) = (Arc::clone(&self.0), read.key);
        let compiled = tokio::time::timeout(self.0.max_time, blocking(move || inner.compile(&read))).await;
        let too_long = |_| format!("it takes longer than {:?} to compile; build a smaller one", self.0.max_time);
        let loaded = Arc::new(compiled.map_err(too_long)??);
        known.components.insert(key, Arc::downgrade(&loaded));
        Ok(loaded)
    }
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
                let component = Component::from_binary(&self.engine, &read.bytes)
                    .map_err(|error| format!("it cannot be compiled: {error:#}"))?;
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
