//! How many bytes of mail may be in memory at once. At the limit the answer is 452, never a crash.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: AtomicU64,
}

/// Part of the budget; given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0) })
    }
    pub fn share(self: &Arc<Self>) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }
    /// In bytes.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
    /// More than half is taken: what can wait on disk should.
    pub fn is_tight(&self) -> bool {
        self.used() > self.limit / 2
    }
}

impl Share {
    /// False, and nothing taken, when the budget does not allow it.
    #[must_use]
    pub fn grow(&mut self, bytes: u64) -> bool {
        let before = self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.budget.limit {
            self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_ends_at_the_limit_and_is_given_back() {
        let budget = Budget::new(100);
        let mut share = budget.share();
        assert!(share.grow(60) && !share.grow(41) && share.grow(40));
        assert_eq!(budget.used(), 100);
        drop(share);
        assert_eq!(budget.used(), 0);
    }
}
