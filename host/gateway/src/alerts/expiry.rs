//! Looks for waiting mail that is near its end. Never reads much: the queue's order says where to look.

use super::{
    conditions::{Begun, Key},
    notice::What,
    teller::Teller,
};
use mail::{Domain, NextHop};
use std::collections::HashSet;
use tokio::time::Instant;

impl Teller {
    /// Raises what is near its end, once for each next hop and outage.
    pub(super) async fn look(&self) {
        let until = self.clock.now().plus(self.alerting().expiry_warning);
        let mut without_hop = HashSet::new();
        for name in self.queue.due_domains(until) {
            let Some(domain) = self.domains.get(&name).filter(|domain| !self.targets(&domain.config).is_empty()) else {
                continue;
            };
            let known = self.known_to_expire(&name);
            for queue::Expiring { next_hop, recipients, first } in self.queue.expiring(&name, known, until).await {
                match &next_hop {
                    // Its mail takes another route.
                    Some(hop) if domain.reachable(hop).is_none() => continue,
                    Some(_) => {}
                    None => {
                        without_hop.insert(name.clone());
                    }
                }
                let key = Key { domain: name.clone(), what: What::Expiring, next_hop };
                let begun = Begun { since: self.clock.now(), reason: None, expiring: Some((recipients, first)) };
                self.conditions().begins(key, begun, Instant::now());
            }
        }
        self.forget_expiring(&without_hop);
        self.changed.notify_one();
    }

    /// Next hops about whose mail people have been told.
    fn known_to_expire(&self, domain: &Domain) -> Vec<Option<NextHop>> {
        let conditions = self.conditions();
        let told = conditions.all_told().map(|(key, _)| key);
        let known = told.filter(|key| key.what == What::Expiring && key.domain == *domain && key.next_hop.is_some());
        known.map(|key| key.next_hop.clone()).collect()
    }

    /// Where nothing waits any more, people are told again the next time. Not while the next hop is known to be in
    /// trouble: what an attempt has in hand waits for nothing until it is put back.
    fn forget_expiring(&self, without_hop: &HashSet<Domain>) {
        let awaited: HashSet<NextHop> = self.queue.awaited().into_iter().collect();
        let mut conditions = self.conditions();
        let trouble = conditions.in_trouble();
        let forgotten = conditions.retain(|key| {
            let waits = || match &key.next_hop {
                Some(hop) => awaited.contains(hop) || trouble.contains(&(key.domain.clone(), hop.clone())),
                None => without_hop.contains(&key.domain),
            };
            key.what != What::Expiring || waits()
        });
        drop(conditions);
        forgotten.iter().for_each(|key| self.forget(key));
    }
}
