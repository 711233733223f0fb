//! Keys that next hops have shown: the one that is trusted, and another one that has been seen since.
//!
//! Durable facts of the queue. The first is learned from a probe; after that only a person changes which is trusted.

use super::certificate::{Certificate, KeyHash};
use crate::clock::Clock;
use mail::{Domain, NextHop};
use queue::Queue;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use tracing::{error, info, warn};

pub struct Identities {
    queue: Queue,
    clock: Clock,
    /// Held while a fact is looked at and changed.
    changing: Mutex<()>,
}

/// A key as it was shown, or that none was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Seen {
    /// `sha256:…`; none where nobody showed one.
    pub key: Option<String>,
    pub subject: String,
    pub issuer: String,
    pub not_after: String,
    pub first_seen: String,
    /// Why it did not do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is known of one next hop of one domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub trusted: Option<Seen>,
    pub seen: Option<Seen>,
}

#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("{0} has shown no other key than the one that is trusted")]
    NothingSeen(NextHop),
    #[error("{hop} has meanwhile shown another key, {now}: look at that one first")]
    Changed { hop: NextHop, now: String },
    #[error("the keys cannot be read or written now: {0}")]
    Store(String),
}

impl Known {
    pub fn trusted_key(&self) -> Option<KeyHash> {
        let text = self.trusted.as_ref()?.key.as_deref()?;
        KeyHash::parse(text)
    }
}

impl Identities {
    pub fn new(queue: Queue, clock: Clock) -> Self {
        Self { queue, clock, changing: Mutex::default() }
    }

    pub fn known(&self, domain: &Domain, hop: &NextHop) -> Result<Known, TrustError> {
        Ok(Known { trusted: self.read(&trusted(domain, hop))?, seen: self.read(&seen(domain, hop))? })
    }

    /// The first probe has passed: from now on it must be this key. What is trusted already stays.
    pub fn learn(&self, domain: &Domain, hop: &NextHop, certificate: &Certificate) -> Result<(), TrustError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let place = trusted(domain, hop);
        if self.read(&place)?.is_some() {
            return Ok(());
        }
        info!(%domain, next_hop = %hop, key = %certificate.key, subject = certificate.subject, issuer = certificate.issuer, identity = "trusted", "the key that the first probe saw");
        self.write(&place, Some(&self.seen_now(Some(certificate), None)))
    }

    /// Somebody else is there, or nobody who shows a key. True where that is news.
    pub fn refused(&self, domain: &Domain, hop: &NextHop, certificate: Option<&Certificate>, reason: &str) -> bool {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let place = seen(domain, hop);
        let now = self.seen_now(certificate, Some(reason.to_owned()));
        let before = self.read(&place).unwrap_or_default();
        if before.is_some_and(|before| (before.key, before.reason) == (now.key.clone(), now.reason.clone())) {
            return false;
        }
        if let Err(error) = self.write(&place, Some(&now)) {
            warn!(%domain, next_hop = %hop, %error, "the key that was seen could not be noted");
        }
        true
    }

    /// It is who it should be: what was seen in between is over. True where something was.
    pub fn held(&self, domain: &Domain, hop: &NextHop) -> bool {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let place = seen(domain, hop);
        if !matches!(self.read(&place), Ok(Some(_))) {
            return false;
        }
        info!(%domain, next_hop = %hop, identity = "holds");
        if let Err(error) = self.write(&place, None) {
            warn!(%domain, next_hop = %hop, %error, "the key that was seen before could not be forgotten");
        }
        true
    }

    /// A person says that the key that was seen is the right one. With `key`, only if it is that one.
    pub fn trust(&self, domain: &Domain, hop: &NextHop, key: Option<&str>) -> Result<Seen, TrustError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = || TrustError::NothingSeen(hop.clone());
        let found = self.read(&seen(domain, hop))?.ok_or_else(nothing)?;
        let now = found.key.clone().ok_or_else(nothing)?;
        if key.is_some_and(|key| key != now) {
            return Err(TrustError::Changed { hop: hop.clone(), now });
        }
        let found = Seen { reason: None, ..found };
        self.write(&trusted(domain, hop), Some(&found))?;
        self.write(&seen(domain, hop), None)?;
        info!(%domain, next_hop = %hop, key = now, identity = "trusted", "by a person");
        Ok(found)
    }

    fn seen_now(&self, certificate: Option<&Certificate>, reason: Option<String>) -> Seen {
        let text = |of: fn(&Certificate) -> String| certificate.map(of).unwrap_or_default();
        Seen {
            key: certificate.map(|certificate| certificate.key.to_string()),
            subject: text(|certificate| certificate.subject.clone()),
            issuer: text(|certificate| certificate.issuer.clone()),
            not_after: text(|certificate| certificate.not_after.to_rfc3339()),
            first_seen: self.clock.now().to_rfc3339(),
            reason,
        }
    }

    fn read(&self, place: &str) -> Result<Option<Seen>, TrustError> {
        let Some(bytes) = self.queue.fact(place).map_err(|error| TrustError::Store(error.to_string()))? else {
            return Ok(None);
        };
        // What cannot be read is no reason to trust the next one that comes.
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            error!(fact = place, %error, "a key that was noted cannot be read");
            TrustError::Store(error.to_string())
        })
    }

    fn write(&self, place: &str, value: Option<&Seen>) -> Result<(), TrustError> {
        let bytes = value.map(serde_json::to_vec).transpose().map_err(|error| TrustError::Store(error.to_string()))?;
        self.queue.set_fact(place, bytes.as_deref()).map_err(|error| TrustError::Store(error.to_string()))
    }
}

/// Whatever TLS is asked for: it is the same server.
fn place(hop: &NextHop) -> NextHop {
    NextHop { tls: None, ..hop.clone() }
}

fn trusted(domain: &Domain, hop: &NextHop) -> String {
    format!("trusted/{domain}/{}", place(hop))
}

fn seen(domain: &Domain, hop: &NextHop) -> String {
    format!("seen/{domain}/{}", place(hop))
}
