//! Where steps wait for the writer: a push never waits, and what does not fit is counted and gone.

use crate::step::Step;
use mail::{MailId, Timestamp};
use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// In bytes, roughly.
const ROOM: usize = 32 << 20;
/// Company that the first step of a batch waits for.
const GATHER: Duration = Duration::from_millis(100);

pub struct Entry {
    pub id: MailId,
    pub at: Timestamp,
    pub step: Step,
}

#[derive(Default)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    pushed: Condvar,
    pub dropped: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    entries: Vec<Entry>,
    weight: usize,
    closed: bool,
}

impl Inbox {
    pub fn push(&self, entry: Entry) {
        let weight = entry.step.weight();
        let mut waiting = self.lock();
        if waiting.closed || waiting.weight + weight > ROOM {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.weight += weight;
        waiting.entries.push(entry);
        if waiting.entries.len() == 1 || waiting.weight > ROOM / 4 {
            self.pushed.notify_one();
        }
    }

    pub fn close(&self) {
        self.lock().closed = true;
        self.pushed.notify_one();
    }

    /// Everything that waits, after a moment for more to come, or nothing after `idle`. None once closed and empty.
    pub fn take(&self, idle: Duration) -> Option<Vec<Entry>> {
        let mut waiting = self.lock();
        if waiting.entries.is_empty() && !waiting.closed {
            let empty = |waiting: &mut Waiting| waiting.entries.is_empty() && !waiting.closed;
            waiting = self.pushed.wait_timeout_while(waiting, idle, empty).unwrap_or_else(PoisonError::into_inner).0;
        }
        if !waiting.entries.is_empty() {
            let more = |waiting: &mut Waiting| !waiting.closed && waiting.weight <= ROOM / 4;
            waiting = self.pushed.wait_timeout_while(waiting, GATHER, more).unwrap_or_else(PoisonError::into_inner).0;
        }
        if waiting.closed && waiting.entries.is_empty() {
            return None;
        }
        waiting.weight = 0;
        Some(std::mem::take(&mut waiting.entries))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
