//! From a claim to its settlement: route, hand to lanes, judge what came of it, settle durably.
//!
//! Nothing is deleted before its outcome is durable; a mail that cannot be delivered now is put back.

use super::{
    connection::{self, Connection},
    in_flight::InFlight,
    job::{Held, Job, Stage},
    lane::{Away, Lane, LaneKey},
    route, settle,
};
use crate::{
    clock::Clock,
    domains::{DomainState, Domains},
    memory::{Budget, Share},
    tls::ClientTls,
};
use mail::{Content, Domain, Failure, FailureKind, Mailbox, NextHop, OfflineAction, Recipient, TlsMode};
use queue::{Claim, NewMail, Queue, Settled, Settlement};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, warn};

/// Mails of one domain with the deliverer at once; the others wait in the queue.
const MAX_IN_FLIGHT: usize = 500;

/// How soon the queue is looked at again while a domain has all that it may under way.
const SATURATED: Duration = Duration::from_millis(250);

pub struct Deliverer {
    pub hostname: Domain,
    pub domains: Arc<Domains>,
    pub queue: Queue,
    pub clock: Clock,
    pub tls: Arc<ClientTls>,
    pub budget: Arc<Budget>,
    /// Where notifications go whose recipient is of no configured domain.
    pub dsn_next_hops: Vec<NextHop>,
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
    lanes: Mutex<HashMap<LaneKey, Arc<Lane>>>,
    in_flight: InFlight,
}

pub struct DelivererParts {
    pub hostname: Domain,
    pub domains: Arc<Domains>,
    pub queue: Queue,
    pub clock: Clock,
    pub tls: Arc<ClientTls>,
    pub budget: Arc<Budget>,
    pub dsn_next_hops: Vec<NextHop>,
    pub shutdown: CancellationToken,
}

impl Deliverer {
    pub fn new(parts: DelivererParts) -> Arc<Self> {
        let DelivererParts { hostname, domains, queue, clock, tls, budget, dsn_next_hops, shutdown } = parts;
        Arc::new(Self {
            hostname,
            domains,
            queue,
            clock,
            tls,
            budget,
            dsn_next_hops,
            shutdown,
            tasks: TaskTracker::new(),
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
            self.hand_over(Job { claim, hops, at: 0, tls, stage: Stage::Routed, hold });
        }
    }

    /// A notification to a foreign sender, or mail of a domain that is configured no more.
    fn dispatch_without_domain(self: &Arc<Self>, claim: Claim, hold: Arc<Held>) {
        if claim.mail.attributes.contains_key(settle::DSN_ATTRIBUTE) && !self.dsn_next_hops.is_empty() {
            let hops = self.dsn_next_hops.clone();
            return self.hand_over(Job { claim, hops, at: 0, tls: TlsMode::Opportunistic, stage: Stage::Routed, hold });
        }
        let reason = format!("{} is not configured here: add it again, or remove the mail", claim.mail.domain);
        let outcomes = claim
            .recipients
            .iter()
            .map(|r| (r.index, Settled::Held { reason: reason.clone(), waiting_for: None, until: None, failure: None }))
            .collect();
        self.settle(claim, outcomes);
    }

    async fn route(self: &Arc<Self>, claim: Claim, domain: Arc<DomainState>, hold: Arc<Held>) {
        let routed = route::route(&claim, &domain, self.clock.now()).await;
        self.carry_out(claim, routed, domain.config.tls, &Stage::Routed, &hold);
    }

    /// Settles what has an outcome, and hands the rest to the lanes.
    fn carry_out(
        self: &Arc<Self>,
        mut claim: Claim,
        decisions: Vec<(u32, route::Decision)>,
        tls: TlsMode,
        stage: &Stage,
        hold: &Arc<Held>,
    ) {
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
                    readdress(&mut claim, index, address);
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
                self.hand_over(Job { claim: part, hops, at: 0, tls, stage: stage.clone(), hold: hold.clone() });
            }
        }
        if !settled.is_empty() {
            self.settle(claim, settled);
        }
    }

    fn hand_over(self: &Arc<Self>, job: Job) {
        let Some(hop) = job.hop() else {
            error!(id = %job.claim.mail.id, "a route without a next hop: put back");
            self.queue.unclaim(job.claim);
            return;
        };
        let lane = self.lane(hop, job.tls);
        if let Err((job, away)) = lane.push(job, self) {
            self.unreachable(*job, &away);
        }
    }

    fn lane(&self, hop: &NextHop, tls: TlsMode) -> Arc<Lane> {
        let key = LaneKey { hop: hop.clone(), tls: hop.tls.unwrap_or(tls) };
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.entry(key).or_insert_with_key(|key| Lane::new(key.clone())).clone()
    }

    pub async fn connect(&self, key: &LaneKey) -> Result<Connection, Failure> {
        connection::connect(&key.hop, key.tls, &self.hostname, &self.tls).await
    }

    pub fn connect_failed(self: &Arc<Self>, lane: &Arc<Lane>, job: Job, failure: Failure) {
        if failure.kind.is_offline() {
            let (away, waiting) = lane.went_away(failure, self);
            self.unreachable(job, &away);
            for job in waiting {
                self.unreachable(job, &away);
            }
        } else {
            self.finish_all(job, &failure);
        }
    }

    /// One mail over one connection. Gives the connection back when it can carry another.
    pub async fn attempt(self: &Arc<Self>, lane: &Arc<Lane>, connection: Connection, job: Job) -> Option<Connection> {
        let content = match self.content(&job.claim).await {
            Ok(content) => content,
            Err(error) => {
                self.set_aside(job, &error);
                return Some(connection);
            }
        };
        let recipients: Vec<Recipient> = job.claim.recipients.iter().map(|r| r.recipient.clone()).collect();
        let mail = job.claim.mail.clone();
        let reused = connection.is_reused();
        let (mut attempt, mut kept) = connection.deliver(&mail.envelope, &recipients, &content).await;
        if reused && attempt.is_lost_early() {
            // A kept connection that the next hop has closed meanwhile says nothing about the next hop.
            match self.connect(&lane.key).await {
                Ok(fresh) => (attempt, kept) = fresh.deliver(&mail.envelope, &recipients, &content).await,
                Err(failure) => {
                    self.connect_failed(lane, job, failure);
                    return None;
                }
            }
        }
        self.finish(job, attempt.outcomes);
        kept
    }

    async fn content(&self, claim: &Claim) -> io::Result<Content> {
        if let Some(content) = claim.content.in_memory() {
            return Ok(content);
        }
        let source = claim.content.clone();
        tokio::task::spawn_blocking(move || source.load()).await.map_err(io::Error::other)?
    }

    /// The body cannot be read: a person has to look, the rest goes on.
    fn set_aside(self: &Arc<Self>, job: Job, error: &io::Error) {
        error!(id = %job.claim.mail.id, %error, "the mail cannot be read from the spool: set aside");
        let reason = format!("cannot be read from the spool: {error}");
        let held =
            |index| (index, Settled::Held { reason: reason.clone(), waiting_for: None, until: None, failure: None });
        let outcomes = job.claim.recipients.iter().map(|r| held(r.index)).collect();
        self.settle(job.claim, outcomes);
    }

    fn finish(self: &Arc<Self>, job: Job, outcomes: Vec<mail::Outcome>) {
        let now = self.clock.now();
        let Some(hop) = job.hop().cloned() else { return self.queue.unclaim(job.claim) };
        let settled = job.claim.recipients.iter().zip(outcomes).map(|(recipient, outcome)| {
            (recipient.index, settle::after_attempt(recipient, outcome, &hop, now, fastrand::f64()))
        });
        let settled: Vec<_> = settled.collect();
        self.settle(job.claim, settled);
    }

    fn finish_all(self: &Arc<Self>, job: Job, failure: &Failure) {
        let outcomes = job.claim.recipients.iter().map(|_| mail::Outcome::Deferred(failure.clone())).collect();
        self.finish(job, outcomes);
    }

    /// The next hop is away: the next of the list, else what the domain or its plugin says.
    fn unreachable(self: &Arc<Self>, mut job: Job, away: &Away) {
        if job.at + 1 < job.hops.len() {
            job.at += 1;
            return self.hand_over(job);
        }
        let domain = self.domains.get(&job.claim.mail.domain);
        match domain {
            Some(domain) if job.stage == Stage::Routed && domain.chain.hooks().on_offline => {
                let (this, away) = (self.clone(), away.clone());
                self.tasks.spawn(async move { this.ask_offline(job, domain, away).await });
            }
            Some(domain) if job.stage == Stage::Routed => {
                let actions = job.claim.recipients.iter().map(|r| (r.index, OfflineAction::Default)).collect();
                self.act_offline(job, &domain, away, actions);
            }
            _ => {
                let awaited = job.awaited().cloned();
                let now = self.clock.now();
                let settled = job
                    .claim
                    .recipients
                    .iter()
                    .map(|r| (r.index, settle::wait(r, &away.failure, awaited.clone(), now)))
                    .collect();
                self.settle(job.claim, settled);
            }
        }
    }

    async fn ask_offline(self: &Arc<Self>, job: Job, domain: Arc<DomainState>, away: Away) {
        let mut actions = Vec::with_capacity(job.claim.recipients.len());
        for recipient in &job.claim.recipients {
            let mut facts = route::facts(&job.claim, recipient, Some(away.since));
            let action = domain.chain.on_offline(&mut facts, &away.failure).await;
            actions.push((recipient.index, action));
        }
        self.act_offline(job, &domain, &away, actions);
    }

    fn act_offline(self: &Arc<Self>, job: Job, domain: &DomainState, away: &Away, actions: Vec<(u32, OfflineAction)>) {
        let now = self.clock.now();
        let Some(awaited) = job.awaited().cloned() else { return self.queue.unclaim(job.claim) };
        let decide = |(index, action): (u32, OfflineAction)| {
            let recipient = job.claim.recipients.iter().find(|r| r.index == index)?;
            Some((index, settle::while_away(recipient, action, domain, &awaited, &away.failure, now)))
        };
        let decisions: Vec<_> = actions.into_iter().filter_map(decide).collect();
        let stage = Stage::Redirected { away: awaited };
        self.carry_out(job.claim, decisions, job.tls, &stage, &job.hold);
    }

    /// Durable, in the background; the queue gives the recipients out again if it cannot be written.
    fn settle(self: &Arc<Self>, claim: Claim, outcomes: Vec<(u32, Settled)>) {
        settle::log(&claim, &outcomes);
        let this = self.clone();
        self.tasks.spawn(async move { this.settle_durably(claim, outcomes).await });
    }

    async fn settle_durably(self: &Arc<Self>, claim: Claim, outcomes: Vec<(u32, Settled)>) {
        let awaited = outcomes.iter().find_map(|(_, settled)| match settled {
            Settled::Held { waiting_for, .. } | Settled::Deferred { waiting_for, .. } => waiting_for.clone(),
            _ => None,
        });
        let failed = settle::failures(&claim, &outcomes);
        let dsn = if failed.is_empty() { None } else { self.notification(&claim, &failed).await };
        match self.queue.settle(Settlement { claim, outcomes, dsn, attributes: None, expires_at: None }).await {
            Ok(Some(dsn)) => self.submit(dsn, None),
            Ok(None) => {}
            Err(error) => warn!(%error, "an outcome could not be written: the mail may be delivered again"),
        }
        // The next hop may have come back before this was written.
        if let Some(hop) = awaited
            && !self.is_away(&hop)
        {
            self.wake(&hop);
        }
    }

    async fn notification(&self, claim: &Claim, failed: &[(Recipient, Failure)]) -> Option<NewMail> {
        // Where it cannot be read the sender is told all the same, without a copy.
        let content = self.content(claim).await.unwrap_or_default();
        settle::notification(claim, failed, &content, self.hostname.as_str(), self.clock.now())
    }

    fn is_away(&self, hop: &NextHop) -> bool {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.values().any(|lane| lane.key.hop == *hop && lane.away().is_some())
    }

    /// A next hop is back: all that waits for it becomes due, also where it is one of several.
    pub fn wake(&self, hop: &NextHop) -> usize {
        let now = self.clock.now();
        let mut woken = self.queue.wake(hop, now);
        for domain in self.domains.all().values() {
            if let Some(first) =
                domain.config.next_hops.first().filter(|first| *first != hop && domain.config.next_hops.contains(hop))
            {
                woken += self.queue.wake(first, now);
            }
        }
        woken
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

/// For this attempt only: the queue keeps the address that was accepted.
fn readdress(claim: &mut Claim, index: u32, address: Mailbox) {
    if let Some(claimed) = claim.recipients.iter_mut().find(|r| r.index == index) {
        claimed.recipient.address = address;
    }
}
