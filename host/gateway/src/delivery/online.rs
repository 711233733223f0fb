//! What follows when next hops come back, go, or are named no more: who waits is woken, and plugins are asked and told.

use super::{
    deliver::Deliverer,
    doubt::Change,
    lane::{Away, Lane, LaneKey},
    probing,
    settle::Trust,
};
use crate::{alerts::Alert, config::DomainConfig, domains::DomainState, stories};
use mail::{Domain, Failure, FailureKind, NextHop, Timestamp, TlsMode};
use queue::{Filter, State};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tracing::{info, warn};

/// Recipients that on-online is told of; beyond, it hears this many.
const COUNTED: usize = 100_000;

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
        let (hop, now) = (&lane.key.hop, self.clock.now());
        self.ask_online(&lane.key).await;
        let away = lane.came_back(now).map_or(Duration::ZERO, |away| now.since(away.since));
        let woken = self.wake(&lane.key);
        info!(next_hop = %hop, state = "online", away_s = away.as_secs(), woken);
        let more = stories::about_hop(hop, [("away-s", json!(away.as_secs())), ("woken", json!(woken))]);
        self.stories.next_hop("online", hop, &more);
        self.alert(&lane.key, || Alert::Online { next_hop: hop.clone(), away });
    }

    /// Whether mail of this domain takes this lane, where it goes to its next hop.
    pub(super) fn is_served_by(&self, key: &LaneKey, domain: &Domain) -> bool {
        match &key.domain {
            Some(owner) => owner == domain,
            None => self.domains.get(domain).is_none_or(|domain| !domain.has_lanes_of_its_own()),
        }
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

    pub(super) fn tell_away(&self, key: &LaneKey, away: &Away) {
        let hop = &key.hop;
        let more = stories::about_hop(hop, [("reason", json!(away.failure.to_string()))]);
        self.stories.next_hop("offline", hop, &more);
        let (next_hop, failure, since) = (hop.clone(), away.failure.clone(), away.since);
        self.alert(key, || match failure.kind {
            FailureKind::Identity => Alert::Identity { next_hop: next_hop.clone(), failure: failure.clone() },
            _ => Alert::Offline { next_hop: next_hop.clone(), failure: failure.clone(), since },
        });
    }

    /// It has refused most of what it was offered: no more goes there until it takes something.
    pub(super) fn refuses(self: &Arc<Self>, lane: &Arc<Lane>) {
        let Some(away) = lane.away() else { return };
        warn!(next_hop = %lane.key.hop, state = "refusing", reason = %away.failure, "mail for it is held");
        let doubted = self.of_lane(&lane.key).iter().map(|domain| domain.config.offline.hold_refusals).max();
        self.tasks.spawn(probing::until_taken(lane.clone(), lane.closing(), doubted.unwrap_or_default(), self.clone()));
        if lane.is_first_to_tell() {
            self.tell_refusing(&lane.key, &away.failure);
        }
        for job in lane.take_waiting() {
            self.unreachable(job, &away);
        }
    }

    pub(super) fn tell_refusing(&self, key: &LaneKey, failure: &Failure) {
        self.alert(key, || Alert::Refusing { next_hop: key.hop.clone(), failure: failure.clone() });
    }

    pub(super) fn tell_accepting(&self, key: &LaneKey) {
        self.alert(key, || Alert::Accepting { next_hop: key.hop.clone() });
    }

    /// To all whose mail takes this lane.
    fn alert(&self, key: &LaneKey, what: impl Fn() -> Alert) {
        for domain in self.of_lane(key) {
            self.alerts.raise(&domain.config, what());
        }
    }

    fn of_lane(&self, key: &LaneKey) -> Vec<Arc<DomainState>> {
        self.domains.all().values().filter(|domain| uses(domain, key)).cloned().collect()
    }

    /// A plugin that says no holds its domain's mail until a person releases it.
    async fn ask_online(&self, key: &LaneKey) {
        let hop = &key.hop;
        for (name, domain) in self.domains.all().iter() {
            if !domain.chain.hooks().on_online || domain.reachable(hop).is_none() || !self.is_served_by(key, name) {
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

    /// A lane is open: all that waits for its next hop becomes due, also where it is one of several.
    pub fn wake(&self, key: &LaneKey) -> usize {
        let now = self.clock.now();
        let mut woken = self.queue.wake(&key.hop, now, |domain| self.is_served_by(key, domain));
        for domain in self.of_lane(key) {
            if let Some(first) = woken_with(&domain.config, &key.hop) {
                woken += self.queue.wake(first, now, |waiting| *waiting == domain.config.name);
            }
        }
        woken
    }

    /// A domain's mail is tried now, and its next hops too; what a person or a plugin keeps stays. Returns how many recipients.
    pub async fn flush(&self, domain: &Domain) -> usize {
        self.try_lanes(domain);
        self.queue.retry(&Filter { domain: Some(domain.clone()), ..Filter::default() }).await
    }

    /// After a reload: what waits takes the new route, where the old one has gone or its domain has another.
    pub fn take_new_routes(self: &Arc<Self>) {
        let changed = self.look_at_routes();
        self.wake_orphans();
        if changed.is_empty() {
            return;
        }
        let this = self.clone();
        self.tasks.spawn(async move {
            for domain in changed {
                // What a person or a plugin keeps until it is released is due never, and stays.
                let held = Filter { domain: Some(domain.clone()), state: Some(State::Held), ..Filter::default() };
                let woken = this.queue.retry(&held).await;
                info!(%domain, woken, "where its mail may go has changed: what waits takes the new route");
            }
        });
    }

    /// The domains whose mail may go elsewhere than at the last look. Their next hops' refusals are doubted.
    fn look_at_routes(&self) -> Vec<Domain> {
        let now = self.clock.now();
        let mut changed = Vec::new();
        for (name, domain) in self.domains.all().iter() {
            let change = self.doubts.look_at(domain, now);
            if change == Change::Route {
                let of_domain = |lane: &&Arc<Lane>| domain.config.next_hops.contains(&lane.key.hop);
                self.lanes().iter().filter(of_domain).for_each(|lane| lane.route_changed());
            }
            if change != Change::None {
                changed.push(name.clone());
            }
        }
        changed
    }

    /// What is made of the words of this lane's next hop, about mail of this domain.
    pub(super) fn trust(&self, lane: &Lane, domain: &Domain, now: Timestamp) -> Trust {
        let hold = self.domains.get(domain).map_or(Duration::ZERO, |domain| domain.config.offline.hold_refusals);
        let end = lane.doubted_since(self.doubts.changed_at(domain)).map(|since| since.plus(hold));
        Trust {
            doubted_until: end.filter(|end| *end > now),
            refusing: lane.is_refusing(),
            putting_off: lane.is_putting_off(),
        }
    }

    /// Who waits for a next hop that their own domain's file does not name takes the route that it names.
    fn wake_orphans(&self) {
        let (domains, now) = (self.domains.all(), self.clock.now());
        for hop in self.queue.awaited().iter().filter(|hop| !self.dsn_next_hops.contains(hop)) {
            let orphaned = |name: &Domain| domains.get(name).is_none_or(|domain| domain.reachable(hop).is_none());
            if self.reroutes.lead_to(hop) || !self.queue.waiting_domains(hop).iter().any(orphaned) {
                continue;
            }
            let woken = self.queue.wake(hop, now, orphaned);
            info!(next_hop = %hop, woken, "not named any more by the domains whose mail waits for it: it takes the new route");
        }
    }

    /// What waited for a next hop when the gateway stopped waits for it again, behind a prober.
    pub fn resume(self: &Arc<Self>) {
        self.take_new_routes();
        let mut lanes = Vec::new();
        for hop in self.queue.awaited() {
            let failure = || Failure::new(FailureKind::Other, Some(&hop), "was away when the gateway stopped");
            let waiting = self.queue.waiting_domains(&hop);
            let named = waiting.iter().filter_map(|name| {
                let domain = self.domains.get(name)?;
                // A rule may lead where no file does.
                let hop = domain.reachable(&hop).or_else(|| self.reroutes.lead_to(&hop).then(|| hop.clone()))?;
                Some(self.lane(&hop, domain.config.tls, name))
            });
            let mut found: Vec<Arc<Lane>> = named.collect();
            if found.is_empty() {
                found.push(self.lane(&hop, TlsMode::default(), &self.hostname));
            }
            lanes.extend(found.into_iter().map(|lane| (lane, failure())));
        }
        // Not all at once: a tenth of a second for each, up to half a minute.
        let spread = Duration::from_millis(100).saturating_mul(lanes.len() as u32).min(Duration::from_secs(30));
        for (lane, failure) in lanes {
            lane.went_away(failure, spread.mul_f64(fastrand::f64()), self);
        }
        self.resume_outages();
    }

    /// Who was told of an outage hears of its end, also where no mail waits for it.
    fn resume_outages(self: &Arc<Self>) {
        for (name, hop) in self.alerts.away() {
            let Some(domain) = self.domains.get(&name) else { continue };
            let Some(hop) = domain.reachable(&hop) else { continue };
            let failure = Failure::new(FailureKind::Other, Some(&hop), "was away when the gateway stopped");
            self.lane(&hop, domain.config.tls, &name).went_away(failure, probing::FIRST, self);
        }
    }
}
