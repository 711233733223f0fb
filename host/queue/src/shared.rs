//! What callers and the writer share: the index, the way to the writer, health.

use crate::inbox::{Inbox, Op};
use crate::index::Index;
use crate::model::Health;
use crate::options::Options;
use crate::settle;
use crate::store::{Medium, Seq};
use mail::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) medium: Arc<dyn Medium>,
    pub(crate) inbox: Inbox,
    index: Mutex<Index>,
    health: Mutex<Health>,
    changed: watch::Sender<u64>,
    /// Claims that have not ended.
    outstanding: AtomicI64,
}

impl Shared {
    pub(crate) fn new(options: Options, medium: Arc<dyn Medium>, index: Index) -> Self {
        Self {
            inbox: Inbox::new(&options),
            options,
            medium,
            index: Mutex::new(index),
            health: Mutex::new(Health::Healthy),
            changed: watch::Sender::new(0),
            outstanding: AtomicI64::new(0),
        }
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    pub(crate) fn health(&self) -> Health {
        lock(&self.health).clone()
    }
    pub(crate) fn set_health(&self, health: Health) {
        let before = std::mem::replace(&mut *lock(&self.health), health.clone());
        if before != health {
            match health {
                Health::Healthy => tracing::info!("queue healthy again"),
                Health::Full => tracing::error!("no space left for the queue: new mail is refused"),
                Health::Unhealthy { reason, .. } => tracing::error!(%reason, "queue failed: new mail is refused"),
            }
        }
    }

    pub(crate) fn outstanding(&self, change: i64) -> i64 {
        self.outstanding.fetch_add(change, Ordering::Relaxed) + change
    }

    /// Something may be due earlier than was said before.
    pub(crate) fn notify(&self) {
        self.changed.send_modify(|generation| *generation = generation.wrapping_add(1));
    }
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Recipients of an ended claim wait again; those of a damaged mail wait for a person.
    pub(crate) fn give_back(self: &Arc<Self>, seq: Seq, indexes: &[u32], due: Timestamp) {
        let mut index = self.index();
        if index.is_damaged(seq) {
            let rows = indexes.iter().map(|i| (*i, settle::damaged(None))).collect();
            // Claimed until the writer has held them durably; under the lock, so that the order is kept.
            self.inbox.push(Op::Hold { seq, rows });
            return;
        }
        for i in indexes {
            index.give_back(seq, *i, due);
        }
        drop(index);
        self.notify();
    }
}

/// A lock that outlives a panic of another thread: each holder leaves its data whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
