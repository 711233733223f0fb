//! Tells people out of band what they must know: a next hop that is away, back, or not who it should be; mail
//! that is near its end.
//!
//! ```text
//! raise ─► conditions: is it news? long enough? ─► teller ─► outbox: durable, one line for each target ─► send
//! ```
//! Delivery never waits for any of it.

mod command;
mod conditions;
mod expiry;
mod notice;
mod outbox;
mod parts;
mod secret;
mod send;
mod teller;
#[cfg(test)]
mod tests;
mod trial;
mod webhook;

pub use notice::What;
pub use outbox::{Outstanding, Totals};
pub use parts::AlertParts;
pub use secret::SecretError;

use crate::config::{Alerting, DomainConfig};
use conditions::{Begun, Key};
use mail::{Domain, Failure, FailureKind, NextHop, Timestamp};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use teller::Teller;
use tokio::time::Instant;

/// What people are told, about one domain. Each is told once, until its opposite has been.
#[derive(Clone, Debug)]
pub enum Alert {
    /// The next hop cannot be reached.
    Offline { next_hop: NextHop, failure: Failure, since: Timestamp },
    /// It answers again, as who it should be.
    Online { next_hop: NextHop, away: Duration },
    /// Whoever answers there has not shown the proof that the domain asks for.
    Identity { next_hop: NextHop, failure: Failure },
    /// The proof is there, or is asked for no more.
    Trusted { next_hop: NextHop },
    /// It refuses (5yz) what it should take: mail is held instead of bounced.
    Refusing { next_hop: NextHop, failure: Failure },
    /// It takes mail again.
    Accepting { next_hop: NextHop },
    /// Mail that waits will be given up, the first of it at this time.
    Expiring {
        /// None waits for a time alone.
        next_hop: Option<NextHop>,
        recipients: usize,
        first: Timestamp,
    },
}

/// Cheap to clone. The default tells nobody, for tests.
#[derive(Clone, Default)]
pub struct Alerts(Option<Arc<Teller>>);

/// What a target said to a test alert.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tested {
    pub target: String,
    pub accepted: bool,
    pub said: String,
}

impl Alerts {
    /// Takes up what was outstanding when the gateway stopped. Blocks on the disk.
    pub fn start(parts: AlertParts) -> Result<Self, SecretError> {
        Teller::start(parts).map(|teller| Self(Some(teller)))
    }

    /// Never waits.
    pub fn raise(&self, domain: &DomainConfig, alert: Alert) {
        let Some(teller) = &self.0 else { return };
        let key =
            |what, next_hop: &NextHop| Key { domain: domain.name.clone(), what, next_hop: Some(next_hop.clone()) };
        let now = teller.clock.now();
        let begun = |failure: &Failure, since| Begun { since, reason: Some(failure.to_string()), expiring: None };
        match &alert {
            Alert::Offline { next_hop, failure, since } if failure.kind == FailureKind::Identity => {
                teller.begins(key(What::Identity, next_hop), begun(failure, *since), Duration::ZERO);
            }
            Alert::Offline { next_hop, failure, since } => {
                // Who could not prove who they are is not told of as away too.
                let known = teller.is_told(&key(What::Identity, next_hop));
                if !known {
                    let after = domain.offline.alert_after;
                    teller.begins(key(What::Offline, next_hop), begun(failure, *since), after);
                }
            }
            Alert::Online { next_hop, .. } => {
                for what in [What::Offline, What::Identity, What::Expiring] {
                    teller.ends(&key(what, next_hop));
                }
            }
            Alert::Identity { next_hop, failure } => {
                teller.begins(key(What::Identity, next_hop), begun(failure, now), Duration::ZERO);
            }
            Alert::Trusted { next_hop } => teller.ends(&key(What::Identity, next_hop)),
            Alert::Refusing { next_hop, failure } => {
                teller.begins(key(What::Refusing, next_hop), begun(failure, now), Duration::ZERO);
            }
            Alert::Accepting { next_hop } => teller.ends(&key(What::Refusing, next_hop)),
            Alert::Expiring { next_hop, recipients, first } => {
                let key = Key { domain: domain.name.clone(), what: What::Expiring, next_hop: next_hop.clone() };
                let begun = Begun { since: now, reason: None, expiring: Some((*recipients, *first)) };
                teller.begins(key, begun, Duration::ZERO);
            }
        }
    }

    /// Whether people hear, or will, that it refuses mail. Cheap: asked for each mail that is taken.
    pub fn is_refusing(&self, next_hop: &NextHop) -> bool {
        self.0.as_ref().is_some_and(|teller| teller.conditions().is_refusing(next_hop))
    }

    /// After a reload: what nobody is configured for any more is dropped, the rest is tried at once.
    pub fn configure(&self, alerting: &Alerting) {
        if let Some(teller) = &self.0 {
            teller.configure(alerting);
        }
    }

    /// Next hops that people were told are away, and of whose return they have not been told.
    pub fn away(&self) -> Vec<(Domain, NextHop)> {
        self.0.as_ref().map(|teller| teller.away()).unwrap_or_default()
    }

    /// Sends a test alert to each target of the domain, past the outbox.
    pub async fn test(&self, domain: &DomainConfig) -> Vec<Tested> {
        match &self.0 {
            Some(teller) => teller.test(domain).await,
            None => Vec::new(),
        }
    }

    /// Oldest first for each target, at most `limit`.
    pub fn outstanding(&self, limit: usize) -> Vec<Outstanding> {
        self.0.as_ref().map(|teller| teller.outbox.outstanding(limit)).unwrap_or_default()
    }

    pub fn totals(&self) -> Totals {
        self.0.as_ref().map(|teller| teller.outbox.totals()).unwrap_or_default()
    }

    /// Tries that are under way get a moment; what is outstanding stays for the next start.
    pub async fn stop(&self) {
        if let Some(teller) = &self.0 {
            teller.stop().await;
        }
    }
}

impl Teller {
    fn begins(&self, key: Key, begun: Begun, after: Duration) {
        if self.conditions().begins(key, begun, Instant::now() + after) {
            self.changed.notify_one();
        }
    }
    fn ends(&self, key: &Key) {
        if self.conditions().ends(key) {
            self.changed.notify_one();
        }
    }
    fn is_told(&self, key: &Key) -> bool {
        self.conditions().is_told(key)
    }
}
