//! What of the plugin state is in memory: changes that are not yet durable, and what was used lately.
//!
//! Coherent because every change passes through it. Pure but for the one row that `load` is handed.

use crate::store::{Change, SpaceUse, StoreError, Value};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Cache {
    spaces: HashMap<Arc<str>, Space>,
    /// Changed since the last batch, in order.
    changed: Vec<Mark>,
    /// Each entry once, for eviction: those not used since they were last looked at go first.
    ring: VecDeque<Mark>,
    bytes: usize,
}

#[derive(Default)]
struct Space {
    usage: Usage,
    entries: HashMap<Arc<str>, Entry>,
}

/// What a space takes, as if all changes were durable.
#[derive(Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) keys: u64,
    pub(super) bytes: u64,
}

struct Entry {
    /// None: there is no such value.
    value: Option<Value>,
    stage: Stage,
    used: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Durable,
    Changed,
    /// In a batch; a further change makes it `Changed` again.
    OnItsWay,
}

/// Space and key.
pub(super) type Mark = (Arc<str>, Arc<str>);

/// What an entry costs beside its value: two maps, the ring, allocations.
const OVERHEAD: usize = 160;
/// Entries looked at for each call.
const EVICTION_STEPS: usize = 16;

impl Cache {
    pub(super) fn new(uses: Vec<SpaceUse>) -> Self {
        let space =
            |u: SpaceUse| (u.space, Space { usage: Usage { keys: u.keys, bytes: u.bytes }, entries: HashMap::new() });
        Self { spaces: uses.into_iter().map(space).collect(), ..Self::default() }
    }

    /// The value, expired or not, from memory or from `read`.
    pub(super) fn load(
        &mut self,
        space: &str,
        key: &str,
        read: impl FnOnce() -> Result<Option<Value>, StoreError>,
    ) -> Result<Option<Value>, StoreError> {
        if let Some(entry) = self.entry(space, key) {
            entry.used = true;
            return Ok(entry.value.clone());
        }
        let value = read()?;
        self.insert(space, key, Entry { value: value.clone(), stage: Stage::Durable, used: false });
        Ok(value)
    }

    /// The value must have been loaded before.
    pub(super) fn put(&mut self, space: &str, key: &str, value: Option<Value>) {
        let Some(name) = self.spaces.get_key_value(space).map(|(name, _)| name.clone()) else { return };
        let Some(kept) = self.spaces.get_mut(space) else { return };
        let Some(shared_key) = kept.entries.get_key_value(key).map(|(key, _)| key.clone()) else { return };
        let Some(entry) = kept.entries.get_mut(key) else { return };
        let (old, new) = (size(entry.value.as_ref()), size(value.as_ref()));
        self.bytes = self.bytes + new - old;
        let counted = |value: Option<&Value>| value.map_or((0, 0), |v| (1, (key.len() + v.bytes.len()) as u64));
        let ((old_keys, old_bytes), (keys, bytes)) = (counted(entry.value.as_ref()), counted(value.as_ref()));
        kept.usage.keys = (kept.usage.keys + keys).saturating_sub(old_keys);
        kept.usage.bytes = (kept.usage.bytes + bytes).saturating_sub(old_bytes);
        entry.value = value;
        if entry.stage != Stage::Changed {
            entry.stage = Stage::Changed;
            self.changed.push((name, shared_key));
        }
    }

    /// What is in memory of a space, in no order; None is known not to exist.
    pub(super) fn of_space(&self, space: &str) -> impl Iterator<Item = (&str, Option<&Value>)> {
        let entries = self.spaces.get(space).into_iter().flat_map(|space| &space.entries);
        entries.map(|(key, entry)| (&**key, entry.value.as_ref()))
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    pub(super) fn take_changes(&mut self) -> (Vec<Change>, Vec<Mark>) {
        let marks = std::mem::take(&mut self.changed);
        let mut changes = Vec::with_capacity(marks.len());
        for (space, key) in &marks {
            let Some(entry) = self.entry(space, key) else { continue };
            entry.stage = Stage::OnItsWay;
            let (space, key) = (space.clone(), key.to_string());
            changes.push(match entry.value.clone() {
                Some(value) => Change::PutValue { space, key, value },
                None => Change::DeleteValue { space, key },
            });
        }
        (changes, marks)
    }

    pub(super) fn written(&mut self, marks: &[Mark]) {
        for (space, key) in marks {
            if let Some(entry) = self.entry(space, key).filter(|entry| entry.stage == Stage::OnItsWay) {
                entry.stage = Stage::Durable;
            }
        }
    }

    pub(super) fn not_written(&mut self, marks: Vec<Mark>) {
        for (space, key) in marks {
            if let Some(entry) = self.entry(&space, &key).filter(|entry| entry.stage == Stage::OnItsWay) {
                entry.stage = Stage::Changed;
                self.changed.push((space, key));
            }
        }
    }

    pub(super) fn usage(&self, space: &str) -> Usage {
        self.spaces.get(space).map(|space| space.usage).unwrap_or_default()
    }
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets some durable entries while more than `limit` bytes are kept.
    pub(super) fn evict(&mut self, limit: usize) {
        for _ in 0..EVICTION_STEPS {
            if self.bytes <= limit {
                return;
            }
            let Some((space, key)) = self.ring.pop_front() else { return };
            let Some(kept) = self.spaces.get_mut(&space) else { continue };
            let Some(entry) = kept.entries.get_mut(&key) else { continue };
            if entry.used || entry.stage != Stage::Durable {
                entry.used = false;
                self.ring.push_back((space, key));
                continue;
            }
            self.bytes -= size(entry.value.as_ref()) + key.len() + OVERHEAD;
            kept.entries.remove(&key);
            if kept.entries.is_empty() && kept.usage.keys == 0 {
                self.spaces.remove(&space);
            }
        }
    }

    fn entry(&mut self, space: &str, key: &str) -> Option<&mut Entry> {
        self.spaces.get_mut(space)?.entries.get_mut(key)
    }

    fn insert(&mut self, space: &str, key: &str, entry: Entry) {
        let name = match self.spaces.get_key_value(space) {
            Some((name, _)) => name.clone(),
            None => space.into(),
        };
        let key: Arc<str> = key.into();
        self.bytes += size(entry.value.as_ref()) + key.len() + OVERHEAD;
        self.ring.push_back((name.clone(), key.clone()));
        self.spaces.entry(name).or_default().entries.insert(key, entry);
    }
}

fn size(value: Option<&Value>) -> usize {
    value.map_or(0, |value| value.bytes.len())
}
