//! How much memory all guests of the host have together. Idle instances make room for busy ones.

use crate::registry::Registry;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
    freed: Notify,
    registry: Arc<Registry>,
}

/// What one store has of it; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

/// A guest that starts needs about this much.
const TO_START: u64 = 2 << 20;

impl Budget {
    pub(crate) fn new(limit: u64, registry: Arc<Registry>) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0), freed: Notify::new(), registry })
    }

    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), bytes: 0 }
    }

    /// Waits until a guest can start.
    pub(crate) async fn room(&self) {
        loop {
            let freed = self.freed.notified();
            if self.has_room() {
                return;
            }
            self.registry.evict_idle();
            if self.has_room() {
                return;
            }
            freed.await;
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.used.load(Ordering::Relaxed).saturating_add(TO_START.min(self.limit)) <= self.limit
    }

    /// An instance has become idle: who waits for room may take its memory.
    pub(crate) fn idle(&self) {
        self.freed.notify_waiters();
    }

    fn take(&self, bytes: u64) -> bool {
        let taken = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

impl Share {
    /// False where there is no room, even without the idle instances.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let taken = self.budget.take(bytes) || {
            self.budget.registry.evict_idle();
            self.budget.take(bytes)
        };
        if taken {
            self.bytes += bytes;
        }
        taken
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_store_had_is_there_for_the_next() {
        let budget = Budget::new(8 << 20, Arc::default());
        let (mut one, mut two) = (budget.share(), budget.share());
        assert!(one.grow(7 << 20) && !two.grow(2 << 20) && two.grow(1 << 20));
        let waits = budget.room();
        tokio::pin!(waits);
        assert!(futures_now(waits.as_mut()).await.is_none());
        drop(one);
        waits.await;
        assert!(two.grow(7 << 20));
    }

    async fn futures_now<F: Future>(future: F) -> Option<F::Output> {
        tokio::select! { biased; out = future => Some(out), () = std::future::ready(()) => None }
    }
}
