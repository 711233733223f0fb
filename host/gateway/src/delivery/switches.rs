//! What a person has said about a domain as a whole: keep all its mail, or take its next hop for away.
//!
//! Durable; each is true until the opposite is said.

use super::deliver::Deliverer;
use mail::{Domain, KvError};
use queue::Queue;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use tracing::info;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Switch {
    /// All mail of the domain waits until it is released, for this reason.
    pub held: Option<String>,
    /// The next hop counts as away.
    pub offline: bool,
}

pub struct Switches {
    queue: Queue,
    known: Mutex<HashMap<Domain, Switch>>,
    /// Held while a change is made: one after the other.
    changing: Mutex<()>,
}

/// Domains that are remembered without reading: notifications go to domains that strangers choose.
const MANY: usize = 10_000;

impl Switches {
    pub fn new(queue: Queue) -> Self {
        Self { queue, known: Mutex::default(), changing: Mutex::default() }
    }

    /// As far as it can be read.
    pub fn get(&self, domain: &Domain) -> Switch {
        self.read(domain).unwrap_or_default()
    }

    pub fn read(&self, domain: &Domain) -> Result<Switch, KvError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(switch) = known.get(domain) {
            return Ok(switch.clone());
        }
        let stored = self.queue.fact(&key(domain))?;
        let switch: Switch = stored.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        if known.len() > MANY {
            known.clear();
        }
        known.insert(domain.clone(), switch.clone());
        Ok(switch)
    }

    pub fn set(&self, domain: &Domain, change: impl FnOnce(&mut Switch)) -> Result<(), KvError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut switch = self.read(domain)?;
        change(&mut switch);
        // Our own type: it always serialises.
        let text = serde_json::to_vec(&switch).unwrap_or_default();
        self.queue.set_fact(&key(domain), (switch != Switch::default()).then_some(&text[..]))?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(domain.clone(), switch);
        Ok(())
    }
}

impl Deliverer {
    /// All mail of the domain waits, for this reason, until it is released. What is being sent goes on.
    pub fn hold_domain(&self, domain: &Domain, reason: &str) -> Result<(), KvError> {
        self.switches.set(domain, |switch| switch.held = Some(reason.to_owned()))?;
        info!(%domain, reason, "all its mail is held");
        Ok(())
    }

    /// Returns how many recipients are tried now.
    pub async fn release_domain(&self, domain: &Domain) -> Result<usize, KvError> {
        self.switches.set(domain, |switch| switch.held = None)?;
        let flushed = self.flush(domain).await;
        info!(%domain, flushed, "its mail is no longer held");
        Ok(flushed)
    }

    /// The domain's next hop counts as away until `take_online`, whatever it answers.
    pub fn take_offline(&self, domain: &Domain) -> Result<(), KvError> {
        self.switches.set(domain, |switch| switch.offline = true)?;
        info!(%domain, state = "offline", reason = "a person says so");
        Ok(())
    }

    /// Returns how many recipients are tried now.
    pub async fn take_online(&self, domain: &Domain) -> Result<usize, KvError> {
        self.switches.set(domain, |switch| switch.offline = false)?;
        let flushed = self.flush(domain).await;
        info!(%domain, state = "online", flushed, reason = "a person says so");
        Ok(flushed)
    }
}

fn key(domain: &Domain) -> String {
    format!("switch/{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use queue::Options;

    #[test]
    fn what_was_said_of_a_domain_is_known_to_the_next_who_asks() {
        let queue = Queue::open_in_memory(Options::default(), mail::Timestamp::from_secs(1)).unwrap();
        let domain: Domain = "example.org".parse().unwrap();
        let switches = Switches::new(queue.clone());
        assert_eq!(switches.get(&domain), Switch::default());
        switches.set(&domain, |switch| switch.held = Some("moving house".into())).unwrap();
        switches.set(&domain, |switch| switch.offline = true).unwrap();
        let both = Switch { held: Some("moving house".into()), offline: true };
        assert_eq!((switches.get(&domain), Switches::new(queue.clone()).get(&domain)), (both.clone(), both));
        switches.set(&domain, |switch| *switch = Switch::default()).unwrap();
        assert_eq!(queue.fact("switch/example.org").unwrap(), None);
    }
}
