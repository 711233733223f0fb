//! Plugin state and the gateway's own facts: what each call means, and what it may cost.
//!
//! A change is seen by the next call at once and handed to the writer's next group. Calls never wait
//! for the writer; one that finds nothing in memory reads one row.

mod cache;
#[cfg(test)]
mod tests;

use crate::options::KvLimits;
use crate::shared::{self, Shared};
use crate::store::{Change, StoreError, Value};
use bytes::Bytes;
use cache::{Cache, Mark};
use mail::{KvError, KvSpace, KvStore, Timestamp};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// The gateway's own space: no plugin's name is empty.
const FACTS: &str = "\0";
/// Expired values removed at a time.
const PURGE: usize = 500;

pub(crate) struct Kv {
    shared: Arc<Shared>,
    cache: Mutex<Cache>,
    /// Batches that were taken; counted under the cache's lock.
    taken: AtomicU64,
    /// The last batch that became durable.
    written: watch::Sender<u64>,
}

/// Changes on their way to the disk.
pub(crate) struct Batch {
    pub(crate) changes: Vec<Change>,
    marks: Vec<Mark>,
    number: u64,
}

impl Kv {
    pub(crate) fn open(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let cache = Cache::new(shared.medium.spaces()?);
        Ok(Self { shared, cache: Mutex::new(cache), taken: AtomicU64::new(0), written: watch::Sender::new(0) })
    }

    pub(crate) fn has_changes(&self) -> bool {
        shared::lock(&self.cache).has_changes()
    }
    /// All changes so far, for one commit.
    pub(crate) fn take_changes(&self) -> Batch {
        let mut cache = shared::lock(&self.cache);
        let number = self.taken.fetch_add(1, Ordering::Relaxed) + 1;
        let (changes, marks) = cache.take_changes();
        Batch { changes, marks, number }
    }
    /// The batch is durable.
    pub(crate) fn written(&self, batch: Batch) {
        shared::lock(&self.cache).written(&batch.marks);
        self.written.send_replace(batch.number);
    }
    /// The batch must be written again.
    pub(crate) fn not_written(&self, batch: Batch) {
        if !batch.marks.is_empty() {
            shared::lock(&self.cache).not_written(batch.marks);
            self.shared.inbox.kv_changed();
        }
    }

    /// Waits until every change so far is durable. A batch that failed is part of a later one.
    pub(crate) async fn all_written(&self) {
        let mut written = self.written.subscribe();
        let last = {
            let cache = shared::lock(&self.cache);
            self.taken.load(Ordering::Relaxed) + u64::from(cache.has_changes())
        };
        // The sender is ours.
        let _ = written.wait_for(|written| *written >= last).await;
    }

    /// Removes some of what has expired.
    pub(crate) fn purge(&self) {
        let now = (self.shared.options.clock)();
        let expired = match self.shared.medium.expired(now, PURGE) {
            Ok(expired) => expired,
            Err(error) => return tracing::warn!(%error, "expired plugin state not removed"),
        };
        for (space, key) in expired {
            let removed = self.change(&space, &key, |value| match value {
                None => (Step::Put(None), ()),
                Some(_) => (Step::Keep, ()),
            });
            if removed.is_err() {
                return;
            }
        }
    }

    pub(crate) fn fact(&self, key: &str) -> Result<Option<Bytes>, KvError> {
        self.read(FACTS, key)
    }
    pub(crate) fn set_fact(&self, key: &str, value: Option<&[u8]>) -> Result<(), KvError> {
        self.change(FACTS, key, |_| (Step::Put(value.map(|value| self.value(value, None))), ()))
    }
    /// Under one lock, so that no batch has only some of them. Each is tried; the first error is told.
    pub(crate) fn set_facts(&self, facts: &[(String, Option<Vec<u8>>)]) -> Result<(), KvError> {
        let (mut changed, mut result) = (false, Ok(()));
        let mut cache = shared::lock(&self.cache);
        for (key, value) in facts {
            let step = |_: Option<&Value>| (Step::Put(value.as_deref().map(|value| self.value(value, None))), ());
            match self.change_in(&mut cache, FACTS, key, step) {
                Ok(((), put)) => changed |= put,
                Err(error) => result = result.and(Err(error)),
            }
        }
        drop(cache);
        if changed {
            self.shared.inbox.kv_changed();
        }
        result
    }
    /// Under one lock: memory knows of changes that the disk does not.
    pub(crate) fn facts(&self, prefix: &str) -> Result<Vec<(String, Bytes)>, KvError> {
        let cache = shared::lock(&self.cache);
        let on_disk = self.shared.medium.values(FACTS, prefix).map_err(unavailable)?;
        let mut found: BTreeMap<String, Value> = on_disk.into_iter().collect();
        for (key, value) in cache.of_space(FACTS).filter(|(key, _)| key.starts_with(prefix)) {
            match value {
                Some(value) => found.insert(key.to_owned(), value.clone()),
                None => found.remove(key),
            };
        }
        Ok(found.into_iter().map(|(key, value)| (key, value.bytes)).collect())
    }

    fn read(&self, space: &str, key: &str) -> Result<Option<Bytes>, KvError> {
        self.change(space, key, |value| (Step::Keep, value.map(|value| value.bytes.clone())))
    }

    /// Every operation: look at the value that is in force, then perhaps put another.
    fn change<T>(
        &self,
        space: &str,
        key: &str,
        decide: impl FnOnce(Option<&Value>) -> (Step, T),
    ) -> Result<T, KvError> {
        let mut cache = shared::lock(&self.cache);
        let (answer, changed) = self.change_in(&mut cache, space, key, decide)?;
        drop(cache);
        if changed {
            self.shared.inbox.kv_changed();
        }
        Ok(answer)
    }

    /// Whether the writer has something to write stands beside the answer.
    fn change_in<T>(
        &self,
        cache: &mut Cache,
        space: &str,
        key: &str,
        decide: impl FnOnce(Option<&Value>) -> (Step, T),
    ) -> Result<(T, bool), KvError> {
        let limits = &self.shared.options.kv;
        if key.len() > limits.key {
            return Err(KvError::Limit(format!("the key has {} bytes; the limit is {}", key.len(), limits.key)));
        }
        let now = (self.shared.options.clock)();
        cache.evict(limits.cache_bytes);
        let kept = cache.load(space, key, || self.shared.medium.value(space, key)).map_err(unavailable)?;
        let in_force = kept.as_ref().filter(|value| value.expires.is_none_or(|at| at > now));
        let (step, answer) = decide(in_force);
        let new = match step {
            Step::Keep => return Ok((answer, false)),
            Step::Fail(error) => return Err(error),
            Step::Put(new) if new == kept => return Ok((answer, false)),
            Step::Put(new) => new,
        };
        if self.shared.inbox.is_closed() {
            return Err(KvError::Unavailable("the queue is closed".to_owned()));
        }
        if let Some(new) = &new {
            check(limits, cache, space, key, kept.as_ref(), new)?;
        }
        cache.put(space, key, new);
        Ok((answer, true))
    }

    fn value(&self, value: &[u8], ttl: Option<u32>) -> Value {
        let expires = ttl.map(|secs| (self.shared.options.clock)().plus(Duration::from_secs(secs.into())));
        Value { bytes: Bytes::copy_from_slice(value), expires }
    }
}

enum Step {
    Keep,
    Put(Option<Value>),
    Fail(KvError),
}

fn check(
    limits: &KvLimits,
    cache: &Cache,
    space: &str,
    key: &str,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), KvError> {
    if new.bytes.len() > limits.value {
        return Err(KvError::Limit(format!("the value has {} bytes; the limit is {}", new.bytes.len(), limits.value)));
    }
    let usage = cache.usage(space);
    let old_bytes = old.map_or(0, |old| key.len() + old.bytes.len()) as u64;
    let bytes = usage.bytes.saturating_sub(old_bytes) + (key.len() + new.bytes.len()) as u64;
    if bytes > limits.space_bytes && bytes > usage.bytes {
        return Err(KvError::Limit(format!("the plugin's state would exceed {} bytes", limits.space_bytes)));
    }
    if old.is_none() && usage.keys >= limits.space_keys {
        return Err(KvError::Limit(format!("the plugin's state would exceed {} keys", limits.space_keys)));
    }
    if cache.bytes() > limits.cache_bytes.saturating_mul(2) {
        return Err(KvError::Unavailable("changes cannot be written as fast as they are made".to_owned()));
    }
    Ok(())
}

fn unavailable(error: StoreError) -> KvError {
    KvError::Unavailable(error.to_string())
}

/// NUL is in no domain, so two spaces never meet.
fn name(space: &KvSpace) -> String {
    format!("{}\0{}", space.plugin, space.domain)
}

fn as_number(value: &Value) -> Option<i64> {
    std::str::from_utf8(&value.bytes).ok()?.parse().ok()
}

impl KvStore for Kv {
    fn get(&self, space: &KvSpace, key: &str) -> Result<Option<Bytes>, KvError> {
        self.read(&name(space), key)
    }

    fn set(&self, space: &KvSpace, key: &str, value: &[u8], ttl: Option<u32>) -> Result<(), KvError> {
        self.change(&name(space), key, |_| (Step::Put(Some(self.value(value, ttl))), ()))
    }

    fn add(&self, space: &KvSpace, key: &str, value: &[u8], ttl: Option<u32>) -> Result<bool, KvError> {
        self.change(&name(space), key, |old| match old {
            Some(_) => (Step::Keep, false),
            None => (Step::Put(Some(self.value(value, ttl))), true),
        })
    }

    fn delete(&self, space: &KvSpace, key: &str) -> Result<(), KvError> {
        self.change(&name(space), key, |_| (Step::Put(None), ()))
    }

    fn increment(&self, space: &KvSpace, key: &str, delta: i64, ttl: Option<u32>) -> Result<i64, KvError> {
        self.change(&name(space), key, |old| {
            let Some(number) = old.map_or(Some(0), as_number) else { return (Step::Fail(KvError::NotANumber), 0) };
            let Some(sum) = number.checked_add(delta) else {
                return (Step::Fail(KvError::Limit("the counter would leave 64 bits".to_owned())), 0);
            };
            let new = self.value(sum.to_string().as_bytes(), ttl);
            let expires: Option<Timestamp> = old.map_or(new.expires, |old| old.expires);
            (Step::Put(Some(Value { expires, ..new })), sum)
        })
    }

    fn compare_and_set(
        &self,
        space: &KvSpace,
        key: &str,
        expect: Option<&[u8]>,
        value: &[u8],
        ttl: Option<u32>,
    ) -> Result<bool, KvError> {
        self.change(&name(space), key, |old| match old.map(|old| &old.bytes[..]) == expect {
            true => (Step::Put(Some(self.value(value, ttl))), true),
            false => (Step::Keep, false),
        })
    }
}
