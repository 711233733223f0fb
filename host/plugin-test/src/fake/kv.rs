//! State for plugins in memory: values end when the clock of the scenario says so.

use bytes::Bytes;
use mail::{KvError, KvSpace, KvStore, Timestamp};
use plugin_host::Clock;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// One name space for each plugin and domain, as in the gateway.
pub struct MemoryKv {
    clock: Clock,
    entries: Mutex<BTreeMap<(KvKey, String), Entry>>,
}

/// A [`KvSpace`] that can be ordered.
type KvKey = (Arc<str>, mail::Domain);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub value: Bytes,
    /// None: until it is deleted.
    pub ends_at: Option<Timestamp>,
}

impl Default for MemoryKv {
    /// With the system's clock.
    fn default() -> Self {
        Self::new(Arc::new(|| Timestamp::from_system(SystemTime::now())))
    }
}

impl MemoryKv {
    pub fn new(clock: Clock) -> Self {
        Self { clock, entries: Mutex::default() }
    }

    /// What is under `key` and has not ended.
    pub fn entry(&self, space: &KvSpace, key: &str) -> Option<Entry> {
        self.live(&mut self.lock(), space, key)
    }

    /// The keys of `space` whose values have not ended, in order.
    pub fn keys(&self, space: &KvSpace) -> Vec<String> {
        let (now, space) = ((self.clock)(), key_of(space));
        let entries = self.lock();
        let live = entries.iter().filter(|((of, _), entry)| *of == space && entry.ends_at.is_none_or(|at| at > now));
        live.map(|((_, key), _)| key.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(KvKey, String), Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self, entries: &mut BTreeMap<(KvKey, String), Entry>, space: &KvSpace, key: &str) -> Option<Entry> {
        let key = (key_of(space), key.to_owned());
        let now = (self.clock)();
        let ended = entries.get(&key).is_some_and(|entry| entry.ends_at.is_some_and(|at| at <= now));
        if ended {
            entries.remove(&key);
        }
        entries.get(&key).cloned()
    }

    fn made(&self, value: &[u8], ttl: Option<u32>) -> Entry {
        let ends_at = ttl.map(|secs| (self.clock)().plus(Duration::from_secs(secs.into())));
        Entry { value: Bytes::copy_from_slice(value), ends_at }
    }
}

fn key_of(space: &KvSpace) -> KvKey {
    (Arc::clone(&space.plugin), space.domain.clone())
}

impl KvStore for MemoryKv {
    fn get(&self, space: &KvSpace, key: &str) -> Result<Option<Bytes>, KvError> {
        Ok(self.entry(space, key).map(|entry| entry.value))
    }
    fn set(&self, space: &KvSpace, key: &str, value: &[u8], ttl: Option<u32>) -> Result<(), KvError> {
        self.lock().insert((key_of(space), key.to_owned()), self.made(value, ttl));
        Ok(())
    }
    fn add(&self, space: &KvSpace, key: &str, value: &[u8], ttl: Option<u32>) -> Result<bool, KvError> {
        self.compare_and_set(space, key, None, value, ttl)
    }
    fn delete(&self, space: &KvSpace, key: &str) -> Result<(), KvError> {
        self.lock().remove(&(key_of(space), key.to_owned()));
        Ok(())
    }
    fn increment(&self, space: &KvSpace, key: &str, delta: i64, ttl: Option<u32>) -> Result<i64, KvError> {
        let mut entries = self.lock();
        let known = self.live(&mut entries, space, key);
        let mut entry = known.unwrap_or_else(|| self.made(b"0", ttl));
        let number = std::str::from_utf8(&entry.value).ok().and_then(|text| text.parse::<i64>().ok());
        let sum = number.ok_or(KvError::NotANumber)?.saturating_add(delta);
        entry.value = sum.to_string().into();
        entries.insert((key_of(space), key.to_owned()), entry);
        Ok(sum)
    }
    fn compare_and_set(
        &self,
        space: &KvSpace,
        key: &str,
        expect: Option<&[u8]>,
        value: &[u8],
        ttl: Option<u32>,
    ) -> Result<bool, KvError> {
        let mut entries = self.lock();
        let same = self.live(&mut entries, space, key).as_ref().map(|entry| &entry.value[..]) == expect;
        if same {
            entries.insert((key_of(space), key.to_owned()), self.made(value, ttl));
        }
        Ok(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn a_value_ends_when_the_scenario_says_that_its_time_has_come() {
        let now = Arc::new(AtomicU64::new(100));
        let clock = Arc::clone(&now);
        let kv = MemoryKv::new(Arc::new(move || Timestamp::from_secs(clock.load(Ordering::Relaxed))));
        let space = KvSpace { plugin: "p".into(), domain: "example.org".parse().unwrap() };
        assert!(kv.add(&space, "k", b"1", Some(60)).unwrap());
        assert!(!kv.add(&space, "k", b"2", None).unwrap());
        assert_eq!(kv.increment(&space, "n", 2, Some(30)).unwrap(), 2);
        now.store(131, Ordering::Relaxed);
        assert_eq!(kv.increment(&space, "n", 2, None).unwrap(), 2, "the counter had ended");
        assert_eq!(kv.get(&space, "k").unwrap().unwrap(), "1");
        now.store(160, Ordering::Relaxed);
        assert_eq!(kv.get(&space, "k").unwrap(), None);
        assert_eq!(kv.keys(&space), ["n"]);
        assert!(matches!(
            kv.set(&space, "n", b"x", None).and_then(|()| kv.increment(&space, "n", 1, None)),
            Err(KvError::NotANumber)
        ));
    }
}
