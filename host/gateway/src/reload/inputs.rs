//! What a chain is made from: with the same inputs there is nothing to load again.
//!
//! Reads plugins' files to tell their content apart; never judges it.

use crate::config::{Config, DomainConfig, PluginSettings};
use mail::Binding;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

type Hash = [u8; 32];

/// Equal inputs make equal chains.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs(Vec<Input>);

#[derive(Clone, Debug, PartialEq)]
struct Input {
    binding: Binding,
    settings: Option<PluginSettings>,
    /// None while there is no such file.
    file: Option<(PathBuf, Hash)>,
}

/// What files hold, remembered as long as they look the same.
#[derive(Default)]
pub struct Files {
    known: HashMap<PathBuf, (Stamp, Hash)>,
    /// Of this pass: no file is looked at twice.
    seen: HashMap<PathBuf, Option<Hash>>,
}

/// Changes when the file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Two writes within this time may leave the same stamp.
const RACY: Duration = Duration::from_millis(100);

impl Files {
    /// Forgets what was seen, not what is known.
    pub fn begin(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        self.known.retain(|path, _| seen.contains_key(path));
    }

    pub fn of_domain(&mut self, config: &Config, domain: &DomainConfig) -> Inputs {
        let bindings = config.chain.iter().chain(&domain.plugins);
        self.inputs(config, domain.own_plugins.as_deref(), bindings)
    }

    /// Of the chain that is asked before there is a domain.
    pub fn of_gateway(&mut self, config: &Config) -> Inputs {
        self.inputs(config, None, config.chain.iter())
    }

    /// None where it cannot be read.
    pub fn hash(&mut self, path: &Path) -> Option<Hash> {
        if let Some(seen) = self.seen.get(path) {
            return *seen;
        }
        let hash = self.read(path).ok();
        self.seen.insert(path.to_owned(), hash);
        hash
    }

    fn inputs<'a>(
        &mut self,
        config: &Config,
        own: Option<&Path>,
        bindings: impl Iterator<Item = &'a Binding>,
    ) -> Inputs {
        let mut input = |binding: &Binding| {
            let own = own.filter(|_| !binding.gateway_wide);
            let name = format!("{}.wasm", binding.plugin);
            let path = own.into_iter().chain([config.plugin_dir.as_path()]).map(|dir| dir.join(&name));
            let file = path.into_iter().find_map(|path| self.hash(&path).map(|hash| (path, hash)));
            Input { binding: binding.clone(), settings: config.plugins.get(&binding.plugin).cloned(), file }
        };
        Inputs(bindings.map(&mut input).collect())
    }

    fn read(&mut self, path: &Path) -> io::Result<Hash> {
        let stamp = Stamp::of(path)?;
        if let Some((known, hash)) = self.known.get(path)
            && *known == stamp
        {
            return Ok(*hash);
        }
        let hash = Sha256::digest(fs::read(path)?).into();
        if !stamp.is_racy(SystemTime::now()) {
            self.known.insert(path.to_owned(), (stamp, hash));
        }
        Ok(hash)
    }
}

impl Stamp {
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    fn is_racy(&self, now: SystemTime) -> bool {
        let (secs, nanos) = self.changed;
        let changed = SystemTime::UNIX_EPOCH + Duration::new(secs.max(0) as u64, nanos.max(0) as u32);
        now.duration_since(changed).map_or(true, |age| age < RACY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_written_twice_in_one_instant_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        let mut files = Files::default();
        fs::write(&path, "one").unwrap();
        let one = files.hash(&path);
        fs::write(&path, "two").unwrap();
        files.begin();
        let two = files.hash(&path);
        assert!(one.is_some() && one != two);
        fs::remove_file(&path).unwrap();
        files.begin();
        assert_eq!(files.hash(&path), None);
    }
}
