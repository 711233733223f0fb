//! Who has failed to log in too often lately, by address. Pure: the time is an argument.

use crate::limits::network;
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
    pub fn is_blocked(&self, address: IpAddr, now: Timestamp) -> bool {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&network(address)).is_some_and(|f| f.count >= FAILURES && now.since(f.since) < WINDOW)
    }

    pub fn failed(&self, address: IpAddr, now: Timestamp) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MANY {
            failures.retain(|_, f| now.since(f.since) < WINDOW);
        }
        if failures.len() >= MANY {
            // Somebody has as many addresses: the one that has failed least is let go.
            let least = failures.iter().min_by_key(|(_, f)| (f.count, f.since)).map(|(address, _)| *address);
            least.map(|address| failures.remove(&address));
        }
        let entry = failures.entry(network(address)).or_insert(Failures { since: now, count: 0 });
        if now.since(entry.since) >= WINDOW {
            *entry = Failures { since: now, count: 0 };
        }
        entry.count = entry.count.saturating_add(1);
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
            assert!(!guard.is_blocked(ip("192.0.2.1"), t(n)));
            guard.failed(ip("192.0.2.1"), t(n));
        }
        assert!(guard.is_blocked(ip("::ffff:192.0.2.1"), t(20)));
        assert!(!guard.is_blocked(ip("192.0.2.2"), t(20)));
        assert!(!guard.is_blocked(ip("192.0.2.1"), t(600)));
        guard.failed(ip("192.0.2.1"), t(700));
        assert!(!guard.is_blocked(ip("192.0.2.1"), t(700)), "it begins anew");
    }

    #[test]
    fn a_whole_network_of_one_owner_is_one() {
        let guard = Guard::default();
        (0..10).for_each(|n| guard.failed(ip(&format!("2001:db8::{n}")), t(1)));
        assert!(guard.is_blocked(ip("2001:db8::ffff"), t(2)) && !guard.is_blocked(ip("2001:db8:0:1::1"), t(2)));
    }

    #[test]
    fn however_many_addresses_fail_no_more_than_ten_thousand_are_kept() {
        let guard = Guard::default();
        (0..10).for_each(|_| guard.failed(ip("192.0.2.1"), t(1)));
        (0..12_000u32).for_each(|n| guard.failed(IpAddr::from(n.to_be_bytes()), t(2)));
        assert_eq!(guard.0.lock().unwrap().len(), MANY);
        assert!(guard.is_blocked(ip("192.0.2.1"), t(3)));
    }
}
