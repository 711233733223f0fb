//! What follows when next hops come back, go, or are named no more: who waits is woken, and plugins are asked and told.

use super::{
    deliver::Deliverer,
    lane::{Away, Lane, LaneKey},
};
use crate::{alerts::Alert, config::DomainConfig, domains::DomainState, stories};
use mail::{Domain, Failure, FailureKind, NextHop, TlsMode};
use queue::{Filter, State};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tracing::info;

/// Recipients that on-online is told of; beyond, it hears this many.
const COUNTED: usize = 100_000;

/// What a domain's file says of where its mail goes.
pub type Routes = BTreeMap<Domain, (Vec<NextHop>, TlsMode)>;

pub fn route_of(domain: &DomainState) -> (Domain, (Vec<NextHop>, TlsMode)) {
    (domain.config.name.clone(), (domain.config.next_hops.clone(), domain.config.tls))
}

/// Mail waits for the first of a domain's next hops, whichever of them is back.
fn woken_with<'a>(config: &'a DomainConfig, hop: &NextHop) -> Option<&'a NextHop> {
    let serves = config.next_hops.contains(hop) || config.offline.redirect.contains(hop);
    config.next_hops.first().filter(|first| *first != hop && serves)
}

fn uses(domain: &DomainState, key: &LaneKey) -> bool {
    let owner = domain.has_lanes_of_its_own().then_some(&domain.config.name);
    let tls = |hop: &NextHop| hop.tls.unwrap_or(domain.config.tls);
    owner == key.domain.as_ref() && domain.reachable(&key.hop).is_some_and(|hop| tls(&hop) == key.tls)
}

impl Deliverer {
    /// It is back: what waits for it goes out, unless the domain's plugins say no. They are asked while it still counts
    /// as away: an outcome that is written meanwhile waits like the others, and wakes nobody.
    pub(super) async fn came_back(&self, lane: &Lane) {
        let hop = &lane.key.hop;
        self.ask_online(hop).await;
        let away = lane.came_back().map_or(Duration::ZERO, |away| self.clock.now().since(away.since)).as_secs();
        let woken = self.wake(hop);
        info!(next_hop = %hop, state = "online", away_s = away, woken);
        let more = stories::about_hop(hop, [("away-s", json!(away)), ("woken", json!(woken))]);
        self.stories.next_hop("online", hop, &more);
        let away = Duration::from_secs(away);
        self.alert(&lane.key, || Alert::Online { next_hop: hop.clone(), away });
    }

    /// No mail goes there, and none will: only whoever tries to reach it knows it still.
    pub(super) fn is_forgotten(&self, LaneKey { hop, tls, domain: owner }: &LaneKey) -> bool {
        let reaches = |domain: &DomainState| {
            let is_of =
                owner.as_ref().is_none_or(|owner| domain.has_lanes_of_its_own() && *owner == domain.config.name);
            is_of && domain.reachable(hop).is_some_and(|hop| hop.tls.unwrap_or(domain.config.tls) == *tls)
        };
        let named = self.dsn_next_hops.contains(hop) || self.domains.all().values().any(|domain| reaches(domain));
        !named && !self.queue.awaited().contains(hop)
    }

    pub(super) fn went_away(&self, key: &LaneKey, away: &Away) {
        let hop = &key.hop;
        let more = stories::about_hop(hop, [("reason", json!(away.failure.to_string()))]);
        self.stories.next_hop("offline", hop, &more);
        let (failure, since) = (&away.failure, away.since);
        self.alert(key, || Alert::Offline { next_hop: hop.clone(), failure: failure.clone(), since });
    }

    /// For each domain whose mail may go through the lane.
    fn alert(&self, key: &LaneKey, alert: impl Fn() -> Alert) {
        for domain in self.domains.all().values().filter(|domain| uses(domain, key)) {
            self.alerts.raise(&domain.config, alert());
        }
    }

    /// A plugin that says no holds its domain's mail until a person releases it.
    async fn ask_online(&self, hop: &NextHop) {
        for (name, domain) in self.domains.all().iter() {
            if !domain.chain.hooks().on_online || domain.reachable(hop).is_none() {
                continue;
            }
            for awaited in std::iter::once(hop).chain(woken_with(&domain.config, hop)) {
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
            if let Some(first) = woken_with(&domain.config, hop) {
                woken += self.queue.wake(first, now);
            }
        }
        woken
    }

    /// After a reload: what waits takes the new route, where the old one has gone or its domain has another.
    pub fn take_new_routes(self: &Arc<Self>) {
        self.wake_orphans();
        let (domains, mut changed) = (self.domains.all(), Vec::new());
        {
            let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, route) in domains.values().map(|domain| route_of(domain)) {
                let before = routes.insert(name.clone(), route.clone());
                if before.is_some_and(|before| before != route) {
                    changed.push(name);
                }
            }
        }
        if changed.is_empty() {
            return;
        }
        let this = self.clone();
        self.tasks.spawn(async move {
            for domain in changed {
                // What a person or a plugin keeps until it is released is due never, and stays.
                let held = Filter { domain: Some(domain.clone()), state: Some(State::Held), ..Filter::default() };
                let woken = this.queue.retry(&held).await;
                info!(%domain, woken, "its next hops or their tls are others: its mail takes the new route");
            }
        });
    }

    fn wake_orphans(&self) {
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
            let failure = || Failure::new(FailureKind::Other, Some(&hop), "was away when the gateway stopped");
            let domains = self.domains.all();
            let named = domains.iter().filter_map(|(name, domain)| Some((name, domain, domain.reachable(&hop)?)));
            let mut lanes: Vec<Arc<Lane>> =
                named.map(|(name, domain, hop)| self.lane(&hop, domain.config.tls, name)).collect();
            if lanes.is_empty() {
                lanes.push(self.lane(&hop, TlsMode::default(), &self.hostname));
            }
            for lane in lanes {
                lane.went_away(failure(), self);
            }
        }
        self.resume_outages();
    }

    /// Who was told of an outage hears of its end, also where no mail waits for it.
    fn resume_outages(self: &Arc<Self>) {
        for (name, hop) in self.alerts.away() {
            let Some(domain) = self.domains.get(&name) else { continue };
            let Some(hop) = domain.reachable(&hop) else { continue };
            let failure = Failure::new(FailureKind::Other, Some(&hop), "was away when the gateway stopped");
            self.lane(&hop, domain.config.tls, &name).went_away(failure, self);
        }
    }
}
