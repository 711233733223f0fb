//! Where the hosts of domains with a `lease` in `[check-in]` are, as their owners have said, and until when that is good.
//!
//! A lease is for one host: that of the domain's first next hop. It is never looked up in the DNS, where a stranger's
//! address may stand by now; the others of a list are.

use crate::{clock::Clock, config::DomainConfig};
use mail::{Domain, Failure, FailureKind, NextHop, Timestamp};
use queue::Queue;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;
use tracing::warn;

/// How long a check-in waits until it is on disk.
const WRITE: Duration = Duration::from_secs(5);
/// What a clock may be corrected by. One that is set back further must not revive a lease of a time to come.
const SKEW: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lease {
    /// IPv6 first, as a lookup would have them; one of each kind at most.
    pub addresses: Vec<Address>,
    /// When the last of them is over.
    pub until: Timestamp,
    /// Said last.
    pub at: Timestamp,
    /// Said to be away.
    pub offline: bool,
}

/// Said alone, it leaves the one of the other kind as it is; that ends by its own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub ip: IpAddr,
    pub until: Timestamp,
}

/// Where a next hop is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where the DNS says.
    LookedUp,
    Leased(Vec<IpAddr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Prolonged,
    /// Somewhere else, or back.
    New,
}

#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error(transparent)]
    Store(#[from] mail::KvError),
    #[error("it was not on disk in time")]
    Slow,
}

pub struct Leases {
    queue: Queue,
    clock: Clock,
    known: Mutex<HashMap<Domain, Option<Lease>>>,
    changed: watch::Sender<u64>,
}

fn key(domain: &Domain) -> String {
    format!("lease/{domain}")
}

/// Whether where `hop` is depends on a lease.
pub fn is_leased(config: &DomainConfig, hop: &NextHop) -> bool {
    config.lease().is_some() && config.next_hops.first().is_some_and(|first| first.host == hop.host)
}

impl Lease {
    fn good_at(&self, now: Timestamp) -> Vec<Address> {
        let is_said = now.plus(SKEW) >= self.at;
        self.addresses.iter().filter(|address| !self.offline && is_said && now < address.until).copied().collect()
    }
}

impl Leases {
    pub fn new(queue: Queue, clock: Clock) -> Self {
        Self { queue, clock, known: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// Changes with every lease.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The last that was said, over or not.
    pub fn of(&self, domain: &Domain) -> Option<Lease> {
        if let Some(known) = self.known().get(domain) {
            return known.clone();
        }
        let stored = match self.queue.fact(&key(domain)) {
            Ok(stored) => stored,
            Err(error) => {
                warn!(%domain, %error, "its lease cannot be read: its mail waits");
                return None;
            }
        };
        let lease = stored.and_then(|stored| {
            let read = serde_json::from_slice(&stored);
            read.inspect_err(|error| warn!(%domain, %error, "its lease is not readable: it has to check in again")).ok()
        });
        self.known().entry(domain.clone()).or_insert(lease).clone()
    }

    /// Where mail for `hop` may go now. A failure where its owner has not said so lately.
    pub fn place(&self, config: &DomainConfig, hop: &NextHop) -> Result<Place, Failure> {
        if !is_leased(config, hop) {
            return Ok(Place::LookedUp);
        }
        let absent = |detail: String| Err(Failure::new(FailureKind::Connect, Some(hop), detail));
        match self.of(&config.name) {
            Some(lease) if lease.offline => {
                absent(format!("{} is offline, as it has said at {}", hop.host, lease.at.to_rfc3339()))
            }
            Some(lease) => match lease.good_at(self.clock.now()) {
                good if good.is_empty() => {
                    absent(format!("{} has not checked in since {}", hop.host, lease.at.to_rfc3339()))
                }
                good => Ok(Place::Leased(good.iter().map(|address| address.ip).collect())),
            },
            None => absent(format!("{} has not checked in yet", hop.host)),
        }
    }

    /// In force when it returns, also with an error; without one it is durable too.
    pub async fn check_in(&self, domain: &Domain, said: &[IpAddr], length: Duration) -> Result<Change, LeaseError> {
        let now = self.clock.now();
        self.change(domain, |before| {
            let good = before.map(|lease| lease.good_at(now)).unwrap_or_default();
            let same = said.iter().all(|ip| good.iter().any(|address| address.ip == *ip));
            let others = good.into_iter().filter(|address| said.iter().all(|ip| ip.is_ipv4() != address.ip.is_ipv4()));
            let until = now.plus(length);
            let mut addresses: Vec<Address> = said.iter().map(|&ip| Address { ip, until }).chain(others).collect();
            addresses.sort_by_key(|address| address.ip.is_ipv4());
            let until = addresses.iter().map(|address| address.until).max().unwrap_or(now);
            (Lease { addresses, until, at: now, offline: false }, if same { Change::Prolonged } else { Change::New })
        })
        .await
    }

    /// The lease ends. In force when it returns, as `check_in`.
    pub async fn go_offline(&self, domain: &Domain) -> Result<Change, LeaseError> {
        let now = self.clock.now();
        self.change(domain, |before| {
            let same = before.is_some_and(|lease| lease.offline);
            let lease = Lease { addresses: Vec::new(), until: now, at: now, offline: true };
            (lease, if same { Change::Prolonged } else { Change::New })
        })
        .await
    }

    async fn change(
        &self,
        domain: &Domain,
        next: impl FnOnce(Option<&Lease>) -> (Lease, Change),
    ) -> Result<Change, LeaseError> {
        // From the disk first, where it is not known.
        self.of(domain);
        let change = {
            // What two say at once, one of each kind, is written in the order in which it comes into force.
            let mut known = self.known();
            let (lease, change) = next(known.get(domain).and_then(Option::as_ref));
            let text = serde_json::to_vec(&lease).map_err(|error| mail::KvError::Unavailable(error.to_string()))?;
            known.insert(domain.clone(), Some(lease));
            self.queue.set_fact(&key(domain), Some(&text)).map(|()| change)
        };
        self.changed.send_modify(|count| *count += 1);
        let change = change?;
        // Whoever was told that they have moved must not be at the old address after a restart.
        tokio::time::timeout(WRITE, self.queue.facts_written()).await.map_err(|_| LeaseError::Slow)?;
        Ok(change)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Domain, Option<Lease>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use queue::Options;
    use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed};

    const LENGTH: Duration = Duration::from_secs(600);

    struct Scene {
        leases: Leases,
        queue: Queue,
        domain: Domain,
        now: Arc<AtomicU64>,
    }

    impl Scene {
        fn new() -> Self {
            let now = Arc::new(AtomicU64::new(1));
            let (queue, domain) =
                (Queue::open_in_memory(Options::default(), Timestamp::from_secs(1)).unwrap(), "example.org");
            Self { leases: leases(&queue, &now), queue, domain: domain.parse().unwrap(), now }
        }

        async fn says(&self, addresses: &[&str]) -> Change {
            let said: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
            self.leases.check_in(&self.domain, &said, LENGTH).await.unwrap()
        }

        /// Where mail may go, by `leases`.
        fn good(&self, leases: &Leases) -> Vec<String> {
            let good = leases.of(&self.domain).unwrap().good_at(leases.clock.now());
            good.iter().map(|address| address.ip.to_string()).collect()
        }
    }

    fn leases(queue: &Queue, now: &Arc<AtomicU64>) -> Leases {
        let now = now.clone();
        Leases::new(queue.clone(), Clock::new(move || Timestamp::from_secs(now.load(Relaxed))))
    }

    #[tokio::test]
    async fn one_kind_of_address_said_after_the_other_leaves_it_and_is_no_move() {
        let scene = Scene::new();
        assert_eq!(scene.says(&["192.0.2.1"]).await, Change::New);
        assert_eq!(scene.says(&["2001:db8::1"]).await, Change::New);
        for _ in 0..3 {
            assert_eq!(scene.says(&["192.0.2.1"]).await, Change::Prolonged);
            assert_eq!(scene.says(&["2001:db8::1"]).await, Change::Prolonged);
        }
        assert_eq!(scene.good(&scene.leases), ["2001:db8::1", "192.0.2.1"]);
        assert_eq!(scene.good(&leases(&scene.queue, &scene.now)), ["2001:db8::1", "192.0.2.1"], "as it is on disk");
        assert_eq!(scene.says(&["192.0.2.2"]).await, Change::New);
        assert_eq!(scene.good(&scene.leases), ["2001:db8::1", "192.0.2.2"]);
    }

    #[tokio::test]
    async fn an_address_that_is_not_said_again_ends_by_its_own_time_while_the_other_goes_on() {
        let scene = Scene::new();
        scene.says(&["192.0.2.1", "2001:db8::1"]).await;
        scene.now.store(500, Relaxed);
        scene.says(&["192.0.2.1"]).await;
        assert_eq!(scene.good(&scene.leases).len(), 2);
        scene.now.store(601, Relaxed);
        assert_eq!(scene.good(&scene.leases), ["192.0.2.1"]);
        scene.now.store(1100, Relaxed);
        assert!(scene.good(&scene.leases).is_empty());
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_revives_no_lease() {
        let scene = Scene::new();
        scene.now.store(10_000, Relaxed);
        scene.says(&["192.0.2.1"]).await;
        scene.now.store(9_950, Relaxed);
        assert_eq!(scene.good(&scene.leases), ["192.0.2.1"], "a small correction");
        scene.now.store(5_000, Relaxed);
        assert!(scene.good(&scene.leases).is_empty());
        assert_eq!(scene.says(&["192.0.2.2"]).await, Change::New);
        assert_eq!(scene.good(&scene.leases), ["192.0.2.2"]);
    }

    #[tokio::test]
    async fn whoever_was_away_is_only_where_they_come_back() {
        let scene = Scene::new();
        scene.says(&["192.0.2.1", "2001:db8::1"]).await;
        assert_eq!(scene.leases.go_offline(&scene.domain).await.unwrap(), Change::New);
        assert!(scene.good(&scene.leases).is_empty());
        assert_eq!(scene.says(&["192.0.2.1"]).await, Change::New);
        assert_eq!(scene.good(&scene.leases), ["192.0.2.1"]);
    }
}
