//! Keeps compiled code on disk, so that a plugin is compiled once and not at every start.
//!
//! A file is named by the component's hash and the engine's compatibility hash, begins with the
//! hash of what follows, and is written whole under another name first. What does not match is
//! ignored: the component is compiled again.

use crate::settings::HostError;
use sha2::{Digest, Sha256};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use wasmtime::{Engine, component::Component};

pub(crate) type Key = [u8; 32];

#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Makes the directory where it is missing; refuses one that others may write to.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, HostError> {
        let wrong = |reason: String| HostError::Cache { path: dir.clone(), reason };
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|error| wrong(format!("cannot be made: {error}")))?;
        let found = fs::metadata(&dir).map_err(|error| wrong(error.to_string()))?;
        let ours = fs::metadata("/proc/self").map_or(found.uid(), |process| process.uid());
        if found.uid() != ours {
            return Err(wrong(format!("belongs to user {}, not to {ours}: its code would run here", found.uid())));
        }
        if found.mode() & 0o022 != 0 {
            let mode = found.mode() & 0o777;
            return Err(wrong(format!(
                "others may write to it (mode {mode:03o}), and its code would run here: remove it"
            )));
        }
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).map_err(|error| wrong(error.to_string()))?;
        }
        Ok(Self { dir })
    }

    pub(crate) fn load(&self, engine: &Engine, key: &Key) -> Option<Component> {
        let file = fs::read(self.path(engine, key)).ok()?;
        let (hash, code) = file.split_at_checked(32)?;
        if Sha256::digest(code)[..] != *hash {
            return None;
        }
        // SAFETY: the bytes were produced by `Component::serialize` of this program: the directory
        // is writable by our user alone, and the hash shows that the file is whole. wasmtime itself
        // refuses code of another version or configuration.
        #[allow(unsafe_code)]
        let component = unsafe { Component::deserialize(engine, code) };
        component.ok()
    }

    pub(crate) fn store(&self, engine: &Engine, key: &Key, component: &Component) -> io::Result<()> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let code = component.serialize().map_err(|error| io::Error::other(format!("{error:#}")))?;
        let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = self.dir.join(format!("{}.{unique}.tmp", std::process::id()));
        let written = write_new(&temporary, &[&Sha256::digest(&code)[..], &code]);
        let kept = written.and_then(|()| fs::rename(&temporary, self.path(engine, key)));
        if kept.is_err() {
            // The error that matters is the one that is returned.
            let _ = fs::remove_file(&temporary);
        }
        kept
    }

    fn path(&self, engine: &Engine, key: &Key) -> PathBuf {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.dir.join(format!("{}-{:016x}.cwasm", hex(key), hasher.finish()))
    }
}

fn write_new(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    use io::Write;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
