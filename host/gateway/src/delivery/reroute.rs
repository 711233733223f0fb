//! A person sends queued mail elsewhere than its domain's file says: rules that hold until they are undone.
//!
//! A rule is about mail that was there when it was made. It is looked at with each attempt, as the route is, so undoing it
//! leaves no trace in the mail.

use super::route::Decision;
use mail::{Domain, Mailbox, NextHop, ReversePath, Timestamp};
use queue::{Claim, Queue};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tracing::error;

/// All that is given must fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reroute {
    pub id: String,
    /// Mail received before.
    pub made_at: u64,
    pub domain: Option<Domain>,
    /// That it would go to.
    pub from: Option<NextHop>,
    /// An address or `@domain`.
    pub sender: Option<String>,
    pub recipient: Option<String>,
    pub to: NextHop,
}

pub struct Reroutes {
    queue: Queue,
    rules: RwLock<Arc<Vec<Reroute>>>,
    /// Held while a change is made: one after the other.
    changing: Mutex<()>,
}

const FACT: &str = "reroutes";
/// Rules at once.
const MOST: usize = 100;

#[derive(Debug, thiserror::Error)]
pub enum RerouteError {
    #[error("there are {MOST} rules already: undo some (waypost queue reroute --list)")]
    TooMany,
    #[error("there is no rule {0}: waypost queue reroute --list shows them")]
    Unknown(String),
    #[error("cannot be written: {0}")]
    Store(#[from] mail::KvError),
}

impl Reroutes {
    pub fn load(queue: Queue) -> Self {
        let rules = match queue.fact(FACT) {
            Ok(stored) => stored.map(|bytes| serde_json::from_slice(&bytes)).transpose().unwrap_or_else(|error| {
                error!(%error, "the rules of queue reroute cannot be read: mail goes where its domain's file says");
                None
            }),
            Err(error) => {
                error!(%error, "the rules of queue reroute cannot be read: mail goes where its domain's file says");
                None
            }
        };
        Self { queue, rules: RwLock::new(Arc::new(rules.unwrap_or_default())), changing: Mutex::default() }
    }

    pub fn all(&self) -> Arc<Vec<Reroute>> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    pub fn are_there(&self) -> bool {
        !self.all().is_empty()
    }
    pub fn lead_to(&self, hop: &NextHop) -> bool {
        self.all().iter().any(|rule| rule.to == *hop)
    }

    /// The latest rule comes first.
    pub fn add(&self, rule: Reroute) -> Result<(), RerouteError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rules = self.all().as_ref().clone();
        if rules.len() >= MOST {
            return Err(RerouteError::TooMany);
        }
        rules.insert(0, rule);
        self.store(rules)
    }

    pub fn undo(&self, id: &str) -> Result<Reroute, RerouteError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rules = self.all().as_ref().clone();
        let at = rules.iter().position(|rule| rule.id == id).ok_or_else(|| RerouteError::Unknown(id.to_owned()))?;
        let rule = rules.remove(at);
        self.store(rules)?;
        Ok(rule)
    }

    fn store(&self, rules: Vec<Reroute>) -> Result<(), RerouteError> {
        // Our own type: it always serialises.
        let text = serde_json::to_vec(&rules).unwrap_or_default();
        self.queue.set_fact(FACT, (!rules.is_empty()).then_some(&text[..]))?;
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Ok(())
    }

    /// What was decided, but for recipients whom a rule sends elsewhere.
    pub fn apply(&self, claim: &Claim, decided: Vec<(u32, Decision)>) -> Vec<(u32, Decision)> {
        let rules = self.all();
        if rules.is_empty() {
            return decided;
        }
        let rerouted = |(index, decision): (u32, Decision)| {
            let Some(recipient) = claim.recipients.iter().find(|r| r.index == index) else { return (index, decision) };
            let hops = match &decision {
                Decision::Relay(hops) | Decision::RelayAs(_, hops) => hops,
                Decision::Settle(_) => return (index, decision),
            };
            let mail = &claim.mail;
            let address = &recipient.recipient.address;
            let fits =
                |rule: &&Reroute| rule.fits(&mail.domain, &mail.envelope.sender, address, mail.received_at, hops);
            match (rules.iter().find(fits), decision) {
                (None, decision) => (index, decision),
                (Some(rule), Decision::RelayAs(address, _)) => {
                    (index, Decision::RelayAs(address, vec![rule.to.clone()]))
                }
                (Some(rule), _) => (index, Decision::Relay(vec![rule.to.clone()])),
            }
        };
        decided.into_iter().map(rerouted).collect()
    }
}

impl Reroute {
    /// Whether mail that would go to `hops` goes elsewhere by this rule.
    pub fn fits(
        &self,
        domain: &Domain,
        sender: &ReversePath,
        recipient: &Mailbox,
        received_at: Timestamp,
        hops: &[NextHop],
    ) -> bool {
        received_at.as_millis() < self.made_at
            && self.domain.as_ref().is_none_or(|only| only == domain)
            && self.from.as_ref().is_none_or(|from| hops.first() == Some(from))
            && self.sender.as_ref().is_none_or(|pattern| sender.fits(pattern))
            && self.recipient.as_ref().is_none_or(|pattern| recipient.fits(pattern))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use queue::Options;

    fn rule(domain: Option<&str>, from: Option<&str>) -> Reroute {
        Reroute {
            id: "r1".into(),
            made_at: 1000,
            domain: domain.map(|name| name.parse().unwrap()),
            from: from.map(|hop| hop.parse().unwrap()),
            sender: None,
            recipient: Some("@example.org".into()),
            to: "new.example:25".parse().unwrap(),
        }
    }

    #[test]
    fn a_rule_is_about_mail_that_was_there_and_fits_all_that_is_given() {
        let fits = |rule: Reroute, at| {
            let (domain, hop) = ("example.org".parse().unwrap(), "old.example:25".parse().unwrap());
            let (sender, to) = (ReversePath::Null, "ann@example.org".parse().unwrap());
            rule.fits(&domain, &sender, &to, Timestamp::from_millis(at), &[hop])
        };
        assert!(fits(rule(None, None), 999) && fits(rule(Some("example.org"), Some("old.example:25")), 999));
        assert!(!fits(rule(None, None), 1000), "it came later");
        assert!(!fits(rule(Some("other.example"), None), 1) && !fits(rule(None, Some("else.example:25")), 1));
        assert!(fits(Reroute { sender: Some("<>".into()), ..rule(None, None) }, 1));
        assert!(!fits(Reroute { sender: Some("@a.example".into()), ..rule(None, None) }, 1));
    }

    #[test]
    fn rules_outlive_a_restart_and_are_undone_by_their_name() {
        let queue = Queue::open_in_memory(Options::default(), Timestamp::from_secs(1)).unwrap();
        let reroutes = Reroutes::load(queue.clone());
        reroutes.add(rule(None, None)).unwrap();
        let again = Reroutes::load(queue.clone());
        assert!(again.lead_to(&"new.example:25".parse().unwrap()));
        assert!(matches!(again.undo("r2"), Err(RerouteError::Unknown(_))));
        again.undo("r1").unwrap();
        assert!(!again.are_there() && queue.fact(FACT).unwrap().is_none());
    }
}
