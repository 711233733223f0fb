//! Whether a refusal by a next hop is believed. Soon after a domain's route has changed, or its next hop was away, a 5yz
//! may come from the wrong server or a half-restored one: mail is held then, not bounced.
//!
//! Keeps, durably, since when each domain's route is what it is.

use crate::domains::DomainState;
use mail::{Domain, Timestamp};
use queue::Queue;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use tracing::warn;

/// A next hop that has taken so many mails since is trusted again.
pub const TRUSTED_AFTER: u32 = 10;

pub struct Doubts {
    queue: Queue,
    routes: Mutex<HashMap<Domain, Known>>,
}

/// What a look at a domain's file has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    /// Its mail may go elsewhere, by redirection or by a plugin's word.
    Other,
    /// Its next hops, or their tls, are others.
    Route,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    route: String,
    /// Of what else decides where mail goes.
    rest: String,
    /// Milliseconds since 1970; 0 for the first route that it had.
    since: u64,
    /// Mails of the domain that were taken since then, as far as this process knows.
    #[serde(skip)]
    taken: u32,
}

impl Doubts {
    pub fn new(queue: Queue) -> Self {
        Self { queue, routes: Mutex::default() }
    }

    /// Compared with the last look, also before the last start.
    pub fn look_at(&self, domain: &DomainState, now: Timestamp) -> Change {
        let (name, route, rest) = (&domain.config.name, route(domain), rest(domain));
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("route/{name}");
        let known = routes.get(name).cloned().or_else(|| {
            let stored = self.queue.fact(&key).ok().flatten()?;
            serde_json::from_slice(&stored).ok()
        });
        let taken = known.as_ref().map_or(0, |known| known.taken);
        let (change, since) = match &known {
            Some(known) if known.route == route && known.rest == rest => (Change::None, known.since),
            Some(known) if known.route == route => (Change::Other, known.since),
            Some(_) => (Change::Route, now.as_millis()),
            // The probe that it has to pass shows more than doubt would.
            None => (Change::None, 0),
        };
        let is_new = known.is_none();
        let taken = if change == Change::Route { 0 } else { taken };
        let known = Known { route, rest, since, taken };
        if (is_new || change != Change::None)
            && let Err(error) = self.queue.set_fact(&key, serde_json::to_vec(&known).ok().as_deref())
        {
            warn!(domain = %name, %error, "the change of its route could not be written");
        }
        routes.insert(name.clone(), known);
        change
    }

    /// One of its mails was taken by its next hop.
    pub fn taken(&self, domain: &Domain) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.get_mut(domain) {
            known.taken = known.taken.saturating_add(1);
        }
    }

    /// When its route was last changed; none where it never was, or where it has proven good since.
    pub fn changed_at(&self, domain: &Domain) -> Option<Timestamp> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes
            .get(domain)
            .filter(|known| known.since > 0 && known.taken < TRUSTED_AFTER)
            .map(|known| Timestamp::from_millis(known.since))
    }
}

/// Where its mail goes and what is asked of whoever takes it.
fn route(domain: &DomainState) -> String {
    let hops: Vec<String> = domain.config.next_hops.iter().map(ToString::to_string).collect();
    format!("{} {}", hops.join(" "), domain.config.tls.as_str())
}

fn rest(domain: &DomainState) -> String {
    let redirect: Vec<String> = domain.config.offline.redirect.iter().map(ToString::to_string).collect();
    let mut hash = Sha256::new();
    hash.update(format!("{:?} {}", domain.config.offline.action, redirect.join(" ")));
    for binding in &domain.config.plugins {
        hash.update(format!("\n{} {}", binding.plugin, binding.config));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
