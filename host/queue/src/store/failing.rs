//! A medium that fails at operation n: once, or from then on, as a crash looks from outside.

use super::{Change, Location, Medium, Opened, Record, Scanned, Seq, SpaceUse, Store, StoreError, Value};
use crate::model::OpenError;
use mail::{Content, MailId, Timestamp};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone)]
pub(crate) struct Failing<M> {
    inner: M,
    fault: Arc<Fault>,
}

pub(crate) struct Fault {
    /// The operation that fails, counted from 0.
    at: u64,
    kind: Kind,
    count: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It fails without having happened.
    Once,
    /// It has happened, and is said to have failed.
    OnceAfter,
    /// No room, and nothing has happened.
    FullOnce,
    /// Neither it nor anything later happens.
    Crash,
    /// It has happened, nothing later does, and nobody hears of it.
    CrashAfter,
}

struct FailingStore {
    inner: Box<dyn Store>,
    fault: Arc<Fault>,
}

impl<M> Failing<M> {
    pub(crate) fn new(inner: M, at: u64, kind: Kind) -> Self {
        Self { inner, fault: Arc::new(Fault { at, kind, count: AtomicU64::new(0) }) }
    }
    /// The fault has been met.
    pub(crate) fn was_hit(&self) -> bool {
        self.fault.count.load(Ordering::SeqCst) > self.fault.at
    }
}

impl Fault {
    fn around<T>(&self, operation: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let count = self.count.fetch_add(1, Ordering::SeqCst);
        let failed = || StoreError::Failed(format!("injected at operation {count}"));
        match self.kind {
            Kind::Crash if count >= self.at => Err(failed()),
            Kind::CrashAfter if count > self.at => Err(failed()),
            Kind::Once if count == self.at => Err(failed()),
            Kind::FullOnce if count == self.at => Err(StoreError::Full),
            Kind::OnceAfter | Kind::CrashAfter if count == self.at => operation().and(Err(failed())),
            _ => operation(),
        }
    }
}

impl<M: Medium> Medium for Failing<M> {
    fn prepare(&self) -> Result<Opened, OpenError> {
        self.inner.prepare()
    }
    fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        let inner = self.fault.around(|| self.inner.open())?;
        Ok(Box::new(FailingStore { inner, fault: self.fault.clone() }))
    }
    fn scan(&self, visit: &mut dyn FnMut(Scanned)) -> Result<(), StoreError> {
        self.fault.around(|| self.inner.scan(visit))
    }
    fn records(&self, seqs: &[Seq]) -> Result<Vec<Record>, StoreError> {
        self.fault.around(|| self.inner.records(seqs))
    }
    fn body(&self, at: Location, id: MailId) -> io::Result<Content> {
        self.inner.body(at, id)
    }
    fn segments(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        self.inner.segments()
    }
    fn value(&self, space: &str, key: &str) -> Result<Option<Value>, StoreError> {
        self.inner.value(space, key)
    }
    fn values(&self, space: &str, prefix: &str) -> Result<Vec<(String, Value)>, StoreError> {
        self.inner.values(space, prefix)
    }
    fn spaces(&self) -> Result<Vec<SpaceUse>, StoreError> {
        self.inner.spaces()
    }
    fn expired(&self, now: Timestamp, limit: usize) -> Result<Vec<(Arc<str>, String)>, StoreError> {
        self.inner.expired(now, limit)
    }
}

impl Store for FailingStore {
    fn append(&mut self, id: MailId, content: &Content) -> Result<Location, StoreError> {
        self.fault.around(|| self.inner.append(id, content))
    }
    fn start_sync(&mut self) -> Result<(), StoreError> {
        self.fault.around(|| self.inner.start_sync())
    }
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.fault.around(|| self.inner.commit(changes))
    }
    fn finish_sync(&mut self) -> Result<(), StoreError> {
        self.fault.around(|| self.inner.finish_sync())
    }
    fn undo_appends(&mut self) -> Result<(), StoreError> {
        self.fault.around(|| self.inner.undo_appends())
    }
    fn current_segment(&self) -> Option<u32> {
        self.inner.current_segment()
    }
    fn remove_segment(&mut self, number: u32) -> Result<(), StoreError> {
        self.fault.around(|| self.inner.remove_segment(number))
    }
    fn make_room(&mut self) -> bool {
        self.inner.make_room()
    }
    fn has_room(&mut self) -> bool {
        self.fault.around(|| Ok(self.inner.has_room())).unwrap_or(false)
    }
    fn tidy(&mut self) -> Result<(), StoreError> {
        self.fault.around(|| self.inner.tidy())
    }
    fn close(self: Box<Self>) {
        self.inner.close();
    }
}
