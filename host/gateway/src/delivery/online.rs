//! What follows when next hops come back, go, or are named no more: who waits is woken, and plugins are asked and told.

use super::deliver::Deliverer;
use crate::stories;
use mail::{Failure, FailureKind, NextHop, TlsMode};
use queue::{Filter, State};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tracing::info;

/// Recipients that on-online is told of; beyond, it hears this many.
const COUNTED: usize = 100_000;

impl Deliverer {
    /// It is back after `away`: what waits for it goes out, unless the domain's plugins say no.
    pub(super) async fn came_back(&self, hop: &NextHop, away: Duration) -> usize {
        self.ask_online(hop).await;
        let woken = self.wake(hop);
        let more = stories::about_hop(hop, [("away-s", json!(away.as_secs())), ("woken", json!(woken))]);
        self.stories.next_hop("online", hop, &more);
        woken
    }

    pub(super) fn went_away(&self, hop: &NextHop, failure: &Failure) {
        let more = stories::about_hop(hop, [("reason", json!(failure.to_string()))]);
        self.stories.next_hop("offline", hop, &more);
    }

    /// A plugin that says no holds its domain's mail until a person releases it.
    async fn ask_online(&self, hop: &NextHop) {
        for (name, domain) in self.domains.all().iter() {
            if !domain.chain.hooks().on_online || !stories::serves(domain, hop) {
                continue;
            }
            // Mail waits for the first of a domain's next hops, whichever of them is back.
            let first = domain.config.next_hops.first().unwrap_or(hop);
            for awaited in if first == hop { vec![hop] } else { vec![hop, first] } {
                let waiting = Filter {
                    domain: Some(name.clone()),
                    waiting_for: Some(awaited.clone()),
                    state: Some(State::Held),
                    ..Filter::default()
                };
                let held: usize = self.queue.list(&waiting, COUNTED).await.iter().map(|l| l.recipients.len()).sum();
                if held == 0 {
                    continue;
                }
                let mut calls = Vec::new();
                if !domain.chain.on_online(held as u64, &mut calls).await {
                    let kept =
                        self.queue.hold(&waiting, "by policy: a plugin keeps it though the next hop is back").await;
                    info!(domain = %name, next_hop = %awaited, kept, outcome = "held", reason = "on-online");
                }
            }
        }
    }

    /// A next hop is back: all that waits for it becomes due, also where it is one of several.
    pub fn wake(&self, hop: &NextHop) -> usize {
        let now = self.clock.now();
        let mut woken = self.queue.wake(hop, now);
        for domain in self.domains.all().values() {
            let config = &domain.config;
            let serves = config.next_hops.contains(hop) || config.offline.redirect.contains(hop);
            if let Some(first) = config.next_hops.first().filter(|first| *first != hop && serves) {
                woken += self.queue.wake(first, now);
            }
        }
        woken
    }

    /// After a reload: what waits for a next hop that no domain names any more takes the new route.
    pub fn wake_orphans(&self) {
        let (domains, now) = (self.domains.all(), self.clock.now());
        let named = |hop: &NextHop| domains.values().any(|domain| domain.reachable(hop).is_some());
        for hop in self.queue.awaited().iter().filter(|hop| !named(hop) && !self.dsn_next_hops.contains(hop)) {
            let woken = self.queue.wake(hop, now);
            info!(next_hop = %hop, woken, "no domain names it any more: its mail takes the new route");
        }
    }

    /// What waited for a next hop when the gateway stopped waits for it again, behind a prober.
    pub fn resume(self: &Arc<Self>) {
        for hop in self.queue.awaited() {
            let tls = self
                .domains
                .all()
                .values()
                .find(|d| d.config.next_hops.contains(&hop))
                .map_or(TlsMode::default(), |d| d.config.tls);
            let failure = Failure::new(FailureKind::Other, Some(&hop), "was away when the gateway stopped");
            self.lane(&hop, tls).went_away(failure, self);
        }
    }
}
