//! Where the hosts of domains with `[check-in]` are, as their owners have said, and until when that is good.
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lease {
    pub addresses: Vec<IpAddr>,
    pub until: Timestamp,
    /// Said last.
    pub at: Timestamp,
    /// Said to be away.
    pub offline: bool,
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
    config.check_in.is_some() && config.next_hops.first().is_some_and(|first| first.host == hop.host)
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
            Some(lease) if self.clock.now() < lease.until => Ok(Place::Leased(lease.addresses)),
            Some(lease) => absent(format!("{} has not checked in since {}", hop.host, lease.at.to_rfc3339())),
            None => absent(format!("{} has not checked in yet", hop.host)),
        }
    }

    /// In force when it returns, also with an error; without one it is durable too.
    pub async fn check_in(
        &self,
        domain: &Domain,
        addresses: Vec<IpAddr>,
        length: Duration,
    ) -> Result<Change, LeaseError> {
        let now = self.clock.now();
        let before = self.of(domain).filter(|lease| !lease.offline && now < lease.until);
        let same = before.is_some_and(|before| before.addresses == addresses);
        self.set(domain, Lease { addresses, until: now.plus(length), at: now, offline: false }).await?;
        Ok(if same { Change::Prolonged } else { Change::New })
    }

    /// The lease ends. In force when it returns, as `check_in`.
    pub async fn go_offline(&self, domain: &Domain) -> Result<Change, LeaseError> {
        let now = self.clock.now();
        let before = self.of(domain);
        let same = before.as_ref().is_some_and(|lease| lease.offline);
        let addresses = before.map(|lease| lease.addresses).unwrap_or_default();
        self.set(domain, Lease { addresses, until: now, at: now, offline: true }).await?;
        Ok(if same { Change::Prolonged } else { Change::New })
    }

    async fn set(&self, domain: &Domain, lease: Lease) -> Result<(), LeaseError> {
        let text = serde_json::to_vec(&lease).map_err(|error| mail::KvError::Unavailable(error.to_string()))?;
        self.known().insert(domain.clone(), Some(lease));
        self.changed.send_modify(|count| *count += 1);
        self.queue.set_fact(&key(domain), Some(&text))?;
        // Whoever was told that they have moved must not be at the old address after a restart.
        tokio::time::timeout(WRITE, self.queue.facts_written()).await.map_err(|_| LeaseError::Slow)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Domain, Option<Lease>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
