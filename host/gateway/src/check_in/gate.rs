//! How often somebody may try: a burst, and then one in a while. Pure but for its memory, which is bounded.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
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
        self.is_open_in(&self.used(), key, now)
    }

    fn is_open_in(&self, used: &HashMap<K, Instant>, key: &K, now: Instant) -> bool {
        used.get(key).is_none_or(|free| free.saturating_duration_since(now) + self.every <= self.every * self.burst)
    }

    /// One was tried.
    pub fn count(&self, key: K, now: Instant) {
        self.count_in(&mut self.used(), key, now);
    }

    fn count_in(&self, used: &mut HashMap<K, Instant>, key: K, now: Instant) {
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
        let mut used = self.used();
        let open = self.is_open_in(&used, &key, now);
        if open {
            self.count_in(&mut used, key, now);
        }
        open
    }

    /// Counts it, if nothing else counts against it now.
    pub fn enter_first(&self, key: K, now: Instant) -> bool {
        let mut used = self.used();
        let first = used.get(&key).is_none_or(|free| *free <= now);
        if first {
            self.count_in(&mut used, key, now);
        }
        first
    }

    /// One that was counted need not have been.
    pub fn take_back(&self, key: &K) {
        if let Some(free) = self.used().get_mut(key) {
            *free = free.checked_sub(self.every).unwrap_or(*free);
        }
    }

    fn used(&self) -> MutexGuard<'_, HashMap<K, Instant>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn the_first_in_a_while_goes_alone_until_it_is_taken_back() {
        let (gate, now) = (Gate::new(3, Duration::from_secs(10)), Instant::now());
        assert!(gate.enter_first("a", now) && !gate.enter_first("a", now) && gate.enter_first("b", now));
        gate.take_back(&"a");
        assert!(gate.enter_first("a", now) && !gate.enter_first("a", now));
        assert!(gate.enter_first("a", now + Duration::from_secs(10)));
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
