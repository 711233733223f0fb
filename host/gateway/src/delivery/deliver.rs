//! Hands out what is due: routes each claim, and gives it to the lanes of its next hops.
//!
//! What comes of it is judged in `attempt`, `away` and `settling`. A mail that cannot be handed out is put back.

use super::{
    connector::Connector,
    doubt::Doubts,
    flush::Starts,
    in_flight::InFlight,
    job::{Held, Job, Notes, Stage},
    lane::{Away, Lane, LaneKey},
    notify::Notifier,
    reroute::Reroutes,
    route, settle,
    switches::{Switch, Switches},
};
use crate::{
    alerts::Alerts,
    clock::Clock,
    domains::{DomainState, Domains},
    dsn,
    memory::{Budget, Share},
    stories::Stories,
};
use mail::{Domain, Failure, FailureKind, NextHop, TlsMode};
use queue::{Claim, ClaimedRecipient, Queue, Settled};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, warn};

/// Mails of one domain with the deliverer at once; the others wait in the queue.
const MAX_IN_FLIGHT: usize = 500;

/// Lanes that are kept without looking whether they are used.
const MANY_LANES: usize = 1000;

/// How soon mail of a domain that is not configured is looked at again: it may be back.
const UNCONFIGURED: Duration = Duration::from_secs(600);

/// Mail that a person keeps does not expire meanwhile.
const KEPT: Duration = Duration::from_secs(86_400);

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
    pub notifier: Notifier,
    pub stories: Stories,
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
    pub(super) starts: Starts,
    pub switches: Switches,
    pub reroutes: Reroutes,
    pub(super) doubts: Doubts,
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
    pub dsn_limits: dsn::Limits,
    pub stories: Stories,
    pub shutdown: CancellationToken,
}

impl Deliverer {
    pub fn new(parts: DelivererParts) -> Arc<Self> {
        let DelivererParts {
            domains,
            queue,
            clock,
            connector,
            budget,
            alerts,
            dsn_next_hops,
            dsn_limits,
            stories,
            shutdown,
        } = parts;
        let hostname = connector.hostname.clone();
        Arc::new(Self {
            switches: Switches::new(queue.clone()),
            reroutes: Reroutes::load(queue.clone()),
            doubts: Doubts::new(queue.clone()),
            hostname,
            domains,
            queue,
            clock,
            connector,
            budget,
            alerts,
            dsn_next_hops,
            notifier: Notifier::new(dsn_limits),
            stories,
            shutdown,
            tasks: TaskTracker::new(),
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
        match self.switches.read(&claim.mail.domain) {
            Ok(Switch { held: Some(reason), .. }) => return self.keep(claim, &reason, hold),
            Ok(Switch { held: None, .. }) => {}
            // Whether a person keeps it is not known: the dropped claim is due again soon.
            Err(error) => return warn!(domain = %claim.mail.domain, %error, "its switches cannot be read"),
        }
        if domain.chain.hooks().on_route {
            let this = self.clone();
            self.tasks.spawn(async move { this.route(claim, domain, hold).await });
        } else {
            let (hops, tls) = (domain.config.next_hops.clone(), domain.config.tls);
            if !self.reroutes.are_there() {
                let (stage, notes) = (Stage::Routed, Notes::default());
                return self.hand_over(Job { claim, hops, at: 0, tls, stage, hold, notes });
            }
            let routed = claim.recipients.iter().map(|r| (r.index, route::Decision::Relay(hops.clone()))).collect();
            let routed = self.reroutes.apply(&claim, routed);
            self.carry_out(claim, routed, tls, &Stage::Routed, &hold, &Notes::default());
        }
    }

    /// A person keeps all mail of the domain. Due again far off, so that a release finds it and a lost one is no loss.
    fn keep(self: &Arc<Self>, claim: Claim, reason: &str, hold: Arc<Held>) {
        let far = self.clock.now().plus(KEPT);
        let held = |r: &ClaimedRecipient| {
            let until = Some(r.expires_at.max(far));
            (r.index, Settled::Held { reason: reason.to_owned(), waiting_for: None, until, failure: None })
        };
        let outcomes = claim.recipients.iter().map(held).collect();
        let latest = claim.recipients.iter().map(|r| r.expires_at).max().unwrap_or(far).max(far);
        self.settle(claim, outcomes, Notes { expires_at: Some(latest), ..Notes::default() }, hold);
    }

    /// A notification to a foreign sender, or mail of a domain that is configured no more.
    fn dispatch_without_domain(self: &Arc<Self>, claim: Claim, hold: Arc<Held>) {
        if claim.mail.attributes.contains_key(settle::DSN_ATTRIBUTE) && !self.dsn_next_hops.is_empty() {
            let hops = self.dsn_next_hops.clone();
            let (tls, stage, notes) = (TlsMode::Opportunistic, Stage::Routed, Notes::default());
            return self.hand_over(Job { claim, hops, at: 0, tls, stage, hold, notes });
        }
        let reason = format!("{} is not configured here: add it again, or remove the mail", claim.mail.domain);
        let now = self.clock.now();
        let until = Some(now.plus(UNCONFIGURED));
        let outcome = |expires_at| match now >= expires_at {
            true => Settled::Failed(Failure::new(FailureKind::Other, None, reason.clone())),
            false => Settled::Held { reason: reason.clone(), waiting_for: None, until, failure: None },
        };
        let outcomes = claim.recipients.iter().map(|r| (r.index, outcome(r.expires_at))).collect();
        self.settle(claim, outcomes, Notes::default(), hold);
    }

    async fn route(self: &Arc<Self>, mut claim: Claim, domain: Arc<DomainState>, hold: Arc<Held>) {
        let content = self.in_turn(&claim);
        let (routed, mut notes) = route::route(&mut claim, &content, &domain, self.clock.now()).await;
        self.stories.calls(&claim.mail, std::mem::take(&mut notes.calls));
        let routed = self.reroutes.apply(&claim, routed);
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

    pub(super) fn hand_over(self: &Arc<Self>, mut job: Job) {
        // Whoever collects is not away: they come.
        if job.hops.is_empty() && self.is_on_demand(&job.claim.mail.domain) {
            return self.await_collection(job);
        }
        if job.stage == Stage::Routed && self.is_said_to_be_away(&job.claim.mail.domain) {
            // Not even the others of the list are tried.
            job.at = job.hops.len().saturating_sub(1);
            let failure = Failure::new(FailureKind::Other, job.hops.first(), "said to be offline by a person");
            return self.unreachable(job, &Away { since: self.clock.now(), failure });
        }
        let Some(hop) = job.hop() else {
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
        let own = self.has_own_lane(domain);
        let key = LaneKey { hop: hop.clone(), tls: hop.tls.unwrap_or(tls), domain: own.then(|| domain.clone()) };
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() > MANY_LANES {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || !lane.is_unused());
        }
        lanes.entry(key).or_insert_with_key(|key| Lane::new(key.clone())).clone()
    }

    pub(super) fn has_own_lane(&self, domain: &Domain) -> bool {
        self.domains.get(domain).is_some_and(|domain| domain.has_lanes_of_its_own())
    }

    pub(super) fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn is_said_to_be_away(&self, domain: &Domain) -> bool {
        self.switches.get(domain).offline && self.domains.get(domain).is_some()
    }

    /// Next hops of the domain that cannot be reached, or hold mail up otherwise.
    pub fn away_of(&self, domain: &DomainState) -> Vec<(NextHop, Away)> {
        let (config, own) = (&domain.config, domain.has_lanes_of_its_own());
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let away = config.next_hops.iter().chain(&config.offline.redirect).filter_map(|hop| {
            let owner = own.then(|| config.name.clone());
            let key = LaneKey { hop: hop.clone(), tls: hop.tls.unwrap_or(config.tls), domain: owner };
            Some((hop.clone(), lanes.get(&key)?.away()?))
        });
        away.collect()
    }

    pub(super) fn is_away(&self, hop: &NextHop, domain: &Domain) -> bool {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let serves = |lane: &Lane| lane.key.hop == *hop && lane.key.domain.as_ref().is_none_or(|owner| owner == domain);
        lanes.values().any(|lane| serves(lane) && lane.away().is_some())
    }
}
