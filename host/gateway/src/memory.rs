//! How many bytes of mail may be in memory at once. At the limit the answer is 4yz, never a crash.
//!
//! One half is for what clients send and what goes straight on from memory, the other for mail that is read back
//! from disk ([`ReadBack`]): neither can starve the other.

use crate::read_back::ReadBack;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: AtomicU64,
    pub read_back: Arc<ReadBack>,
}

/// Part of the budget; given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    None,
    /// Over 80 %: no new mail.
    High,
    /// Over 95 %: no new session either.
    Critical,
}

impl Pressure {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl Budget {
    /// `bytes` in all.
    pub fn new(bytes: u64) -> Arc<Self> {
        let limit = bytes / 2;
        Arc::new(Self { limit, used: AtomicU64::new(0), read_back: Arc::new(ReadBack::new(limit)) })
    }
    pub fn share(self: &Arc<Self>) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }
    /// In bytes; what is read back is counted by itself.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
    /// Of `used`, and of what is read back.
    pub fn limit(&self) -> u64 {
        self.limit
    }
    /// More than half is taken: what can wait on disk should.
    pub fn is_tight(&self) -> bool {
        self.used() > self.limit / 2
    }
    pub fn pressure(&self) -> Pressure {
        match self.used() {
            used if used > self.limit / 20 * 19 => Pressure::Critical,
            used if used > self.limit / 5 * 4 => Pressure::High,
            _ => Pressure::None,
        }
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

    /// The bytes are in memory no more.
    pub fn give_back(&mut self) {
        self.budget.used.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_ends_at_the_limit_and_is_given_back() {
        let budget = Budget::new(200);
        let mut share = budget.share();
        assert!(share.grow(60) && !share.grow(41) && share.grow(40));
        assert_eq!((budget.used(), budget.pressure()), (100, Pressure::Critical));
        drop(share);
        assert_eq!((budget.used(), budget.pressure()), (0, Pressure::None));
    }

    #[test]
    fn new_mail_is_refused_before_new_sessions_are() {
        let budget = Budget::new(2000);
        let mut share = budget.share();
        for (bytes, pressure) in
            [(800, Pressure::None), (1, Pressure::High), (149, Pressure::High), (1, Pressure::Critical)]
        {
            assert!(share.grow(bytes));
            assert_eq!(budget.pressure(), pressure, "{}", budget.used());
        }
    }
}
