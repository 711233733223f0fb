//! Hands out what is due: routes each claim, and gives it to the lanes of its next hops.
//!
//! What comes of it is judged in `attempt`, `away` and `settling`. A mail that cannot be handed out is put back.

use super::{
    connector::Connector,
    flush::Starts,
    in_flight::InFlight,
    job::{Held, Job, Notes, Stage},
    lane::{Lane, LaneKey},
    online::{self, Routes},
    route, settle,
};
use crate::{
    alerts::Alerts,
    clock::Clock,
    domains::{DomainState, Domains},
    memory::{Budget, Share},
    stories::Stories,
};
use mail::{Domain, NextHop, TlsMode};
use queue::{Claim, Queue, Settled};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::error;

/// Mails of one domain with the deliverer at once; the others wait in the queue.
const MAX_IN_FLIGHT: usize = 500;
/// Mail that is read back from disk and in memory at once, in KiB.
pub const READ_KIB: u32 = 256 << 10;

/// How soon mail of a domain that is not configured is looked at again: it may be back.
const UNCONFIGURED: Duration = Duration::from_secs(600);

/// How soon the queue is looked at again while a domain has all that it may under way.
const SATURATED: Duration = Duration::from_millis(250);

pub struct Deliverer {
    pub hostname: Domain,
    pub domains: Arc<Domains>,
    pub queue: Queue,
    pub clock: Clock,
    pub connector: Arc<Connector>,
    pub budget: Arc<Budget>,
    pub alerts: Alerts,
    /// Where notifications go whose recipient is of no configured domain.
    pub dsn_next_hops: Vec<NextHop>,
    pub stories: Stories,
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
    /// In KiB, for mail that is read back from disk.
    pub read: Arc<Semaphore>,
    /// As mail has been told to go, also for domains that are gone: they may be back with another.
    pub(super) routes: Mutex<Routes>,
    pub(super) starts: Starts,
    lanes: Mutex<HashMap<LaneKey, Arc<Lane>>>,
    pub(super) in_flight: InFlight,
}

pub struct DelivererParts {
    pub domains: Arc<Domains>,
    pub queue: Queue,
    pub clock: Clock,
    pub connector: Arc<Connector>,
    pub budget: Arc<Budget>,
    pub alerts: Alerts,
    pub dsn_next_hops: Vec<NextHop>,
    pub stories: Stories,
    pub shutdown: CancellationToken,
}

impl Deliverer {
    pub fn new(parts: DelivererParts) -> Arc<Self> {
        let DelivererParts { domains, queue, clock, connector, budget, alerts, dsn_next_hops, stories, shutdown } =
            parts;
        let hostname = connector.hostname.clone();
        let routes = Mutex::new(domains.all().values().map(|domain| online::route_of(domain)).collect());
        Arc::new(Self {
            routes,
            hostname,
            domains,
            queue,
            clock,
            connector,
            budget,
            alerts,
            dsn_next_hops,
            stories,
            shutdown,
            tasks: TaskTracker::new(),
            read: Arc::new(Semaphore::new(READ_KIB as usize)),
            starts: Starts::default(),
            lanes: Mutex::default(),
            in_flight: InFlight::default(),
        })
    }

    /// A freshly accepted mail: delivered from memory, unless too much is under way.
    pub fn submit(self: &Arc<Self>, claim: Claim, memory: Option<Share>) {
        if claim.recipients.is_empty() {
            return; // quarantined
        }
        let too_many = self.in_flight.count(&claim.mail.domain) >= MAX_IN_FLIGHT;
        if too_many || self.budget.is_tight() || self.shutdown.is_cancelled() {
            self.queue.unclaim(claim);
            return;
        }
        self.dispatch(claim, memory);
    }

    /// Hands out what is due until told to stop.
    pub async fn feed(self: Arc<Self>) {
        let mut changed = self.queue.changed();
        while !self.shutdown.is_cancelled() {
            changed.mark_unchanged();
            let saturated = self.claim_due().await;
            let now = self.clock.now();
            let due = match self.queue.next_due() {
                // What is due belongs to a domain that has enough under way: look again for the others.
                Some(_) if saturated => Some(SATURATED),
                next => next.map(|at| at.since(now)),
            };
            let timer = async {
                match due {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                result = changed.changed() => {
                    if result.is_err() {
                        return;
                    }
                }
                () = self.in_flight.freed.notified(), if saturated => {}
                () = timer => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// True when a domain has more that is due than it may have under way.
    async fn claim_due(self: &Arc<Self>) -> bool {
        let mut saturated = false;
        let now = self.clock.now();
        for domain in self.queue.due_domains(now) {
            let room = MAX_IN_FLIGHT.saturating_sub(self.in_flight.count(&domain));
            if room == 0 {
                saturated = true;
                continue;
            }
            let claims = self.queue.claim(&domain, now, room).await;
            saturated |= claims.len() == room;
            for claim in claims {
                self.dispatch(claim, None);
            }
        }
        saturated
    }

    fn dispatch(self: &Arc<Self>, claim: Claim, memory: Option<Share>) {
        let hold = Arc::new(Held { flight: self.in_flight.enter(&claim.mail.domain), memory });
        let Some(domain) = self.domains.get(&claim.mail.domain) else {
            return self.dispatch_without_domain(claim, hold);
        };
        if domain.chain.hooks().on_route {
            let this = self.clone();
            self.tasks.spawn(async move { this.route(claim, domain, hold).await });
        } else {
            let (hops, tls) = (domain.config.next_hops.clone(), domain.config.tls);
            self.hand_over(Job { claim, hops, at: 0, tls, stage: Stage::Routed, hold, notes: Notes::default() });
        }
    }

    /// A notification to a foreign sender, or mail of a domain that is configured no more.
    fn dispatch_without_domain(self: &Arc<Self>, claim: Claim, hold: Arc<Held>) {
        if claim.mail.attributes.contains_key(settle::DSN_ATTRIBUTE) && !self.dsn_next_hops.is_empty() {
            let hops = self.dsn_next_hops.clone();
            let (tls, stage, notes) = (TlsMode::Opportunistic, Stage::Routed, Notes::default());
            return self.hand_over(Job { claim, hops, at: 0, tls, stage, hold, notes });
        }
        let reason = format!("{} is not configured here: add it again, or remove the mail", claim.mail.domain);
        let until = Some(self.clock.now().plus(UNCONFIGURED));
        let outcomes = claim
            .recipients
            .iter()
            .map(|r| (r.index, Settled::Held { reason: reason.clone(), waiting_for: None, until, failure: None }))
            .collect();
        self.settle(claim, outcomes, Notes::default(), hold);
    }

    async fn route(self: &Arc<Self>, mut claim: Claim, domain: Arc<DomainState>, hold: Arc<Held>) {
        let (routed, mut notes) = route::route(&mut claim, &domain, self.clock.now()).await;
        self.stories.calls(&claim.mail, std::mem::take(&mut notes.calls));
        self.carry_out(claim, routed, domain.config.tls, &Stage::Routed, &hold, &notes);
    }

    /// Settles what has an outcome, and hands the rest to the lanes.
    pub(super) fn carry_out(
        self: &Arc<Self>,
        mut claim: Claim,
        decisions: Vec<(u32, route::Decision)>,
        tls: TlsMode,
        stage: &Stage,
        hold: &Arc<Held>,
        notes: &Notes,
    ) {
        let mut notes = notes.clone();
        let mut settled = Vec::new();
        let mut groups: Vec<(Vec<NextHop>, Vec<u32>)> = Vec::new();
        for (index, decision) in decisions {
            let hops = match decision {
                route::Decision::Settle(outcome) => {
                    settled.push((index, outcome));
                    continue;
                }
                route::Decision::Relay(hops) => hops,
                route::Decision::RelayAs(address, hops) => {
                    notes.readdressed.insert(index, address);
                    hops
                }
            };
            match groups.iter_mut().find(|(known, _)| *known == hops) {
                Some((_, indices)) => indices.push(index),
                None => groups.push((hops, vec![index])),
            }
        }
        for (hops, indices) in groups {
            if let Some(part) = claim.split_off(|recipient| indices.contains(&recipient.index)) {
                let (stage, hold, notes) = (stage.clone(), hold.clone(), notes.clone());
                self.hand_over(Job { claim: part, hops, at: 0, tls, stage, hold, notes });
            }
        }
        if !settled.is_empty() {
            self.settle(claim, settled, notes, hold.clone());
        }
    }

    pub(super) fn hand_over(self: &Arc<Self>, job: Job) {
        let Some(hop) = job.hop() else {
            if self.is_on_demand(&job.claim.mail.domain) {
                return self.await_collection(job);
            }
            error!(id = %job.claim.mail.id, "a route without a next hop: put back");
            self.queue.unclaim(job.claim);
            return;
        };
        let lane = self.lane(hop, job.tls, &job.claim.mail.domain);
        if let Err((job, away)) = lane.push(job, self) {
            self.unreachable(*job, &away);
        }
    }

    pub(super) fn lane(&self, hop: &NextHop, tls: TlsMode, domain: &Domain) -> Arc<Lane> {
        let own = self.domains.get(domain).is_some_and(|domain| domain.has_lanes_of_its_own());
        let key = LaneKey { hop: hop.clone(), tls: hop.tls.unwrap_or(tls), domain: own.then(|| domain.clone()) };
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.entry(key).or_insert_with_key(|key| Lane::new(key.clone())).clone()
    }

    pub(super) fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn is_away(&self, hop: &NextHop, domain: &Domain) -> bool {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let serves = |lane: &Lane| lane.key.hop == *hop && lane.key.domain.as_ref().is_none_or(|owner| owner == domain);
        lanes.values().any(|lane| serves(lane) && lane.away().is_some())
    }
}
