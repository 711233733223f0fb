//! How often somebody may try: a burst, and then one in a while. Pure but for its memory, which is bounded.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Who is remembered at once.
const REMEMBERED: usize = 20_000;

pub struct Gate<K> {
    burst: u32,
    every: Duration,
    /// When all that was used is free again.
    used: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Gate<K> {
    /// `burst` at once, then one `every` so long.
    pub fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every, used: Mutex::default() }
    }

    /// Whether one more may be tried.
    pub fn is_open(&self, key: &K, now: Instant) -> bool {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.get(key).is_none_or(|free| free.saturating_duration_since(now) + self.every <= self.every * self.burst)
    }

    /// One was tried.
    pub fn count(&self, key: K, now: Instant) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= REMEMBERED && !used.contains_key(&key) {
            used.retain(|_, free| *free > now);
            if used.len() >= REMEMBERED {
                // From so many addresses no count protects; what each costs is bounded elsewhere.
                used.clear();
            }
        }
        let free = used.entry(key).or_insert(now);
        *free = (*free).max(now) + self.every;
    }

    /// Counts it, if it may be.
    pub fn enter(&self, key: K, now: Instant) -> bool {
        let open = self.is_open(&key, now);
        if open {
            self.count(key, now);
        }
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_through_and_then_one_in_a_while() {
        let (gate, start, every) = (Gate::new(3, Duration::from_secs(10)), Instant::now(), Duration::from_secs(10));
        let entered = |key, at| (0..10).filter(|_| gate.enter(key, at)).count();
        assert_eq!((entered("a", start), entered("b", start)), (3, 3));
        assert_eq!(entered("a", start + every / 2), 0);
        assert_eq!(entered("a", start + every), 1);
        assert_eq!(entered("a", start + every * 100), 3);
    }

    #[test]
    fn who_came_long_ago_is_forgotten_and_a_crowd_does_not_fill_the_memory() {
        let (gate, now) = (Gate::new(1, Duration::from_secs(1)), Instant::now());
        for i in 0..REMEMBERED as u32 * 3 {
            gate.count(i, now);
        }
        assert!(gate.used.lock().unwrap().len() <= REMEMBERED);
    }
}
