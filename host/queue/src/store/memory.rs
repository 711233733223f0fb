//! A medium without a disk, for tests here and in other crates.
//!
//! It keeps durable and volatile state apart: `power_loss` drops what was not synced, names included.

use super::{Change, Location, Medium, Opened, Record, Row, Scanned, Seq, SpaceUse, Store, StoreError, Value};
use crate::model::{OpenError, QueuedMail};
use crate::shared;
use mail::{Content, MailId, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::{io, mem};

#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

/// Records are durable as soon as they are committed; only segments have a volatile part.
#[derive(Default)]
struct State {
    segment_size: u64,
    mails: BTreeMap<Seq, (Location, Arc<QueuedMail>)>,
    rows: BTreeMap<(Seq, u32), Row>,
    values: BTreeMap<(Arc<str>, String), Value>,
    segments: BTreeMap<u32, Segment>,
    commits: u64,
}

#[derive(Default)]
struct Segment {
    bodies: BTreeMap<u32, (MailId, Content)>,
    end: u64,
    synced: u64,
    name_is_durable: bool,
}

struct MemoryStore {
    state: Arc<Mutex<State>>,
    current: Option<u32>,
    group_start: Option<(u32, u64)>,
    unsynced: Vec<u32>,
}

impl Memory {
    pub(crate) fn new(segment_size: u32) -> Self {
        Self(Arc::new(Mutex::new(State { segment_size: segment_size.into(), ..State::default() })))
    }
}

#[cfg(test)]
impl Memory {
    pub(crate) fn power_loss(&self) {
        let mut state = shared::lock(&self.0);
        state.segments.retain(|_, segment| segment.name_is_durable);
        for segment in state.segments.values_mut() {
            segment.truncate(segment.synced);
        }
    }
    pub(crate) fn commits(&self) -> u64 {
        shared::lock(&self.0).commits
    }
    pub(crate) fn mail_ids(&self) -> Vec<MailId> {
        shared::lock(&self.0).mails.values().map(|(_, mail)| mail.id).collect()
    }
    pub(crate) fn has_segment(&self, number: u32) -> bool {
        shared::lock(&self.0).segments.contains_key(&number)
    }
    pub(crate) fn forget_body(&self, id: MailId) {
        for segment in shared::lock(&self.0).segments.values_mut() {
            segment.bodies.retain(|_, (of, _)| *of != id);
        }
    }
}

impl Segment {
    fn truncate(&mut self, end: u64) {
        self.bodies.retain(|offset, (_, content)| u64::from(*offset) + (content.len() as u64) < end);
        self.end = self.end.min(end);
    }
}

impl State {
    fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::Insert { seq, at, mail, .. } => {
                self.mails.insert(seq, (at, mail));
            }
            Change::PutRow { seq, index, row } => {
                self.rows.insert((seq, index), row);
            }
            Change::SetAttributes { seq, attributes } => {
                if let Some((_, mail)) = self.mails.get_mut(&seq) {
                    Arc::make_mut(mail).attributes = attributes;
                }
            }
            Change::MoveBody { seq, at } => {
                if let Some((old, _)) = self.mails.get_mut(&seq) {
                    *old = at;
                }
            }
            Change::Remove { seq } => {
                self.mails.remove(&seq);
                self.rows.retain(|(of, _), _| *of != seq);
            }
            Change::PutValue { space, key, value } => {
                self.values.insert((space, key), value);
            }
            Change::DeleteValue { space, key } => {
                self.values.remove(&(space, key));
            }
        }
    }

    fn rows_of(&self, seq: Seq) -> impl Iterator<Item = (u32, &Row)> {
        self.rows.range((seq, 0)..=(seq, u32::MAX)).map(|((_, index), row)| (*index, row))
    }
}

impl Medium for Memory {
    fn prepare(&self) -> Result<Opened, OpenError> {
        Ok(Opened::default())
    }

    fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(MemoryStore { state: self.0.clone(), current: None, group_start: None, unsynced: Vec::new() }))
    }

    fn scan(&self, visit: &mut dyn FnMut(Scanned)) -> Result<(), StoreError> {
        let state = shared::lock(&self.0);
        for (seq, (at, mail)) in &state.mails {
            let (seq, at, recipients) = (*seq, *at, mail.envelope.recipients.len() as u32);
            let (id, domain) = (mail.id, mail.domain.clone());
            visit(Scanned::Mail { seq, id, domain, recipients, at });
            for (index, row) in state.rows_of(seq) {
                let waiting_for = row.waiting_for.clone();
                visit(Scanned::Row { seq, index, state: row.state, due: row.due, waiting_for });
            }
        }
        Ok(())
    }

    fn records(&self, seqs: &[Seq]) -> Result<Vec<Record>, StoreError> {
        let state = shared::lock(&self.0);
        let record = |seq: &Seq| {
            let (_, mail) = state.mails.get(seq)?;
            let rows = state.rows_of(*seq).map(|(index, row)| (index, row.clone())).collect();
            Some(Record { seq: *seq, mail: mail.clone(), rows })
        };
        Ok(seqs.iter().filter_map(record).collect())
    }

    fn body(&self, at: Location, id: MailId) -> io::Result<Content> {
        let state = shared::lock(&self.0);
        let body = state.segments.get(&at.segment).and_then(|segment| segment.bodies.get(&at.offset));
        let whole = body.filter(|(of, content)| *of == id && content.len() as u64 == u64::from(at.length));
        whole.map(|(_, content)| content.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn segments(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        Ok(shared::lock(&self.0).segments.iter().map(|(number, segment)| (*number, segment.end)).collect())
    }

    fn value(&self, space: &str, key: &str) -> Result<Option<Value>, StoreError> {
        Ok(shared::lock(&self.0).values.get(&(space.into(), key.to_owned())).cloned())
    }

    fn values(&self, space: &str, prefix: &str) -> Result<Vec<(String, Value)>, StoreError> {
        let state = shared::lock(&self.0);
        let from = state.values.range((Arc::from(space), prefix.to_owned())..);
        let these = from.take_while(|((of, key), _)| &**of == space && key.starts_with(prefix));
        Ok(these.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn spaces(&self) -> Result<Vec<SpaceUse>, StoreError> {
        let mut uses: Vec<SpaceUse> = Vec::new();
        for ((space, key), value) in &shared::lock(&self.0).values {
            let bytes = (key.len() + value.bytes.len()) as u64;
            match uses.last_mut().filter(|last| last.space == *space) {
                Some(last) => (last.keys, last.bytes) = (last.keys + 1, last.bytes + bytes),
                None => uses.push(SpaceUse { space: space.clone(), keys: 1, bytes }),
            }
        }
        Ok(uses)
    }

    fn expired(&self, now: Timestamp, limit: usize) -> Result<Vec<(Arc<str>, String)>, StoreError> {
        let state = shared::lock(&self.0);
        let expired = state.values.iter().filter(|(_, value)| value.expires.is_some_and(|at| at <= now));
        Ok(expired.take(limit).map(|(key, _)| key.clone()).collect())
    }
}

impl Store for MemoryStore {
    fn append(&mut self, id: MailId, content: &Content) -> Result<Location, StoreError> {
        let mut state = shared::lock(&self.state);
        let full = |number: &u32| state.segments.get(number).is_none_or(|s| s.end >= state.segment_size);
        let number = match self.current.filter(|number| !full(number)) {
            Some(number) => number,
            None => state.segments.last_key_value().map_or(1, |(last, _)| last + 1),
        };
        self.current = Some(number);
        let segment = state.segments.entry(number).or_default();
        self.group_start.get_or_insert((number, segment.end));
        let at = Location { segment: number, offset: segment.end as u32, length: content.len() as u32 };
        segment.bodies.insert(at.offset, (id, content.clone()));
        // One more, so that an empty body has a place of its own.
        segment.end += content.len() as u64 + 1;
        if !self.unsynced.contains(&number) {
            self.unsynced.push(number);
        }
        Ok(at)
    }

    fn start_sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut state = shared::lock(&self.state);
        state.commits += u64::from(!changes.is_empty());
        changes.iter().for_each(|change| state.apply(change));
        self.group_start = None;
        Ok(())
    }

    fn finish_sync(&mut self) -> Result<(), StoreError> {
        let mut state = shared::lock(&self.state);
        for number in mem::take(&mut self.unsynced) {
            if let Some(segment) = state.segments.get_mut(&number) {
                (segment.synced, segment.name_is_durable) = (segment.end, true);
            }
        }
        Ok(())
    }

    fn undo_appends(&mut self) -> Result<(), StoreError> {
        if let Some((number, end)) = self.group_start.take()
            && let Some(segment) = shared::lock(&self.state).segments.get_mut(&number)
        {
            segment.truncate(end);
        }
        Ok(())
    }

    fn current_segment(&self) -> Option<u32> {
        self.current
    }
    fn remove_segment(&mut self, number: u32) -> Result<(), StoreError> {
        shared::lock(&self.state).segments.remove(&number);
        Ok(())
    }
    fn make_room(&mut self) -> bool {
        false
    }
    fn has_room(&mut self) -> bool {
        true
    }
    fn tidy(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    fn close(self: Box<Self>) {}
}
