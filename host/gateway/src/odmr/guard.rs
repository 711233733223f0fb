//! Who has failed to log in too often lately, by address. Pure: the time is an argument.

use crate::limits::customer;
use mail::Timestamp;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Failed logins of one address before it has to wait.
const FAILURES: u32 = 10;
/// How long the first of them counts.
const WINDOW: Duration = Duration::from_secs(600);
/// Addresses that are kept count of.
const MANY: usize = 10_000;

#[derive(Default)]
pub struct Guard(Mutex<HashMap<IpAddr, Failures>>);

struct Failures {
    since: Timestamp,
    count: u32,
}

impl Guard {
    /// Whether a login may be looked at. It counts as failed until it is forgiven, else many at once would all be looked
    /// at before the first has failed.
    pub fn enter(&self, address: IpAddr, now: Timestamp) -> bool {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = failures.get(&customer(address));
        if known.is_some_and(|f| f.count >= FAILURES && now.since(f.since) < WINDOW) {
            return false;
        }
        if failures.len() >= MANY {
            failures.retain(|_, f| now.since(f.since) < WINDOW);
        }
        if failures.len() >= MANY {
            // Somebody has as many addresses: the one that has failed least is let go.
            let least = failures.iter().min_by_key(|(_, f)| (f.count, f.since)).map(|(address, _)| *address);
            least.map(|address| failures.remove(&address));
        }
        let entry = failures.entry(customer(address)).or_insert(Failures { since: now, count: 0 });
        if now.since(entry.since) >= WINDOW {
            *entry = Failures { since: now, count: 0 };
        }
        entry.count = entry.count.saturating_add(1);
        true
    }

    /// What was let in has not failed.
    pub fn forgive(&self, address: IpAddr) {
        let (mut failures, address) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), customer(address));
        if let Some(entry) = failures.get_mut(&address) {
            entry.count = entry.count.saturating_sub(1);
            if entry.count == 0 {
                failures.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
    fn t(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn ten_failures_block_an_address_for_ten_minutes_and_its_neighbours_not() {
        let guard = Guard::default();
        for n in 0..10 {
            assert!(guard.enter(ip("192.0.2.1"), t(n)));
        }
        assert!(!guard.enter(ip("::ffff:192.0.2.1"), t(20)));
        assert!(guard.enter(ip("192.0.2.2"), t(20)));
        assert!((0..10).all(|_| guard.enter(ip("192.0.2.1"), t(600))), "it begins anew");
        assert!(!guard.enter(ip("192.0.2.1"), t(600)));
    }

    #[test]
    fn no_more_than_ten_are_looked_at_at_once_and_whoever_has_not_failed_is_not_counted() {
        let guard = Guard::default();
        assert_eq!((0..100).filter(|_| guard.enter(ip("192.0.2.1"), t(1))).count(), 10);
        (0..10).for_each(|_| guard.forgive(ip("192.0.2.1")));
        assert!(guard.0.lock().unwrap().is_empty());
        assert!(guard.enter(ip("192.0.2.1"), t(1)));
    }

    #[test]
    fn a_whole_network_of_one_owner_is_one() {
        let guard = Guard::default();
        assert!((0..10).all(|n| guard.enter(ip(&format!("2001:db8::{n}")), t(1))));
        assert!(!guard.enter(ip("2001:db8::ffff"), t(2)) && guard.enter(ip("2001:db8:0:1::1"), t(2)));
    }

    #[test]
    fn however_many_addresses_fail_no_more_than_ten_thousand_are_kept() {
        let guard = Guard::default();
        assert!((0..10).all(|_| guard.enter(ip("192.0.2.1"), t(1))));
        assert!((0..12_000u32).all(|n| guard.enter(IpAddr::from(n.to_be_bytes()), t(2))));
        assert_eq!(guard.0.lock().unwrap().len(), MANY);
        assert!(!guard.enter(ip("192.0.2.1"), t(3)));
    }
}
