//! Mail that its next hop comes for (RFC 2645): what waits for a domain, over a connection that the other side opened.
//!
//! Outcomes are settled as any attempt's. Plugins are not asked where the mail goes: whoever has come has proven
//! to be the domain's owner. What a person or a plugin holds stays.

use super::{
    connection::Connection,
    deliver::Deliverer,
    job::{Held, Job, Notes, Stage},
};
use mail::{Domain, Failure, FailureKind, MailId, NextHop, Outcome, Recipient, TlsMode};
use queue::{Claim, Settled};
use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Why mail of a domain waits that is collected on demand.
const WAITS: &str = "waits to be collected (ATRN)";
/// Recipients that are claimed at once: the others stay where ordinary lanes may have them.
const BATCH: usize = 20;
/// Whoever defers so many recipients takes no more now.
const MOST_LEFT: usize = 1000;

/// One collection: whose mail, and what it has left behind.
pub struct Round {
    domains: VecDeque<Domain>,
    /// Tried and not gone: not again this time.
    left: HashSet<(MailId, u32)>,
    still_opens: Opens,
}

/// Whether whoever came may still have a domain's mail.
type Opens = Box<dyn Fn(&Domain) -> bool + Send + Sync>;

#[derive(Clone, Copy, Debug, Default)]
pub struct Collected {
    pub delivered: usize,
    pub deferred: usize,
    pub failed: usize,
    /// Nothing more was there.
    pub whole: bool,
}

impl Round {
    pub fn new(domains: Vec<Domain>, still_opens: Opens) -> Self {
        Self { domains: domains.into(), left: HashSet::new(), still_opens }
    }
}

impl Deliverer {
    /// A few mails of one of the domains; empty when none has any. A domain whose mail a person keeps has none,
    /// nor one whose password is another by now.
    pub async fn next_to_collect(&self, round: &mut Round) -> Vec<Claim> {
        for _ in 0..round.domains.len() {
            let Some(domain) = round.domains.front() else { break };
            if (round.still_opens)(domain) && self.switches.get(domain).held.is_none() {
                let claims = self.queue.claim_waiting(domain, BATCH, &round.left).await;
                if !claims.is_empty() {
                    return claims;
                }
            }
            round.domains.rotate_left(1);
        }
        Vec::new()
    }

    /// Hands over what waits until nothing does, the connection breaks or the gateway stops. What is not handed
    /// over waits as before.
    pub async fn collect(
        self: &Arc<Self>,
        connection: Connection,
        mut round: Round,
        first: Vec<Claim>,
        user: &str,
        stop: &CancellationToken,
    ) -> Collected {
        let mut told = Collected::default();
        let (mut kept, mut claims) = (Some(connection), VecDeque::from(first));
        while let Some(connection) = kept.take() {
            let enough = stop.is_cancelled() || round.left.len() >= MOST_LEFT;
            if claims.is_empty() && !enough {
                claims = self.next_to_collect(&mut round).await.into();
            }
            match claims.pop_front() {
                Some(claim) if !enough && (round.still_opens)(&claim.mail.domain) => {
                    kept = self.hand_to_collector(connection, claim, user, &mut round, &mut told).await;
                }
                claim => {
                    told.whole = claim.is_none() && !enough;
                    claims.extend(claim);
                    connection.quit().await;
                }
            }
        }
        claims.into_iter().for_each(|claim| self.queue.unclaim(claim));
        told
    }

    async fn hand_to_collector(
        self: &Arc<Self>,
        connection: Connection,
        claim: Claim,
        user: &str,
        round: &mut Round,
        told: &mut Collected,
    ) -> Option<Connection> {
        let mail = claim.mail.clone();
        if mail.envelope.require_tls && !self.is_on_demand(&mail.domain) {
            // Whoever came has shown no certificate (RFC 8689 §4.2.1); the next hop may have one that will do.
            round.left.extend(claim.recipients.iter().map(|r| (mail.id, r.index)));
            self.queue.unclaim(claim);
            return Some(connection);
        }
        let hop = connection.hop().clone();
        let hold = Arc::new(Held { flight: self.in_flight.enter(&mail.domain), memory: None });
        let notes = Notes::default();
        let mut job =
            Job { claim, hops: vec![hop.clone()], at: 0, tls: TlsMode::None, stage: Stage::Routed, hold, notes };
        let keys: Vec<(MailId, u32)> = job.claim.recipients.iter().map(|r| (mail.id, r.index)).collect();
        round.left.extend(&keys);
        let content = match self.outgoing(&job.claim).await {
            Ok(content) => content,
            Err(error) => {
                self.unreadable(job, &error);
                return Some(connection);
            }
        };
        let recipients: Vec<Recipient> = job.claim.recipients.iter().map(|r| job.notes.addressed(r, &mail)).collect();
        let started = Instant::now();
        let (mut attempt, kept) = connection.deliver(&mail.envelope, &recipients, content).await;
        self.stories.note(mail.id, || format!("collected on demand (ATRN) by {user} from {hop}"));
        self.stories.attempt(mail.id, &hop, started.elapsed(), || attempt.transcript.to_string());
        if let Some(error) = attempt.take_unread() {
            self.unreadable(job, &error);
            return None;
        }
        if attempt.is_lost_early() {
            // Whoever came has left: that says nothing about the mail, which has not been tried.
            self.queue.unclaim(job.claim);
            return None;
        }
        for (key, outcome) in keys.iter().zip(&attempt.outcomes) {
            match outcome {
                Outcome::Delivered(_) => told.delivered += 1,
                Outcome::Failed(_) => told.failed += 1,
                Outcome::Deferred(_) => told.deferred += 1,
            }
            if !matches!(outcome, Outcome::Deferred(_)) {
                round.left.remove(key);
            }
        }
        job.notes.passed_on = attempt.notifies;
        self.finish(None, job, attempt.outcomes);
        kept
    }

    /// Where there is no next hop to go to, mail waits for somebody to come, until its time is over.
    pub(super) fn await_collection(self: &Arc<Self>, job: Job) {
        let now = self.clock.now();
        let outcome = |expires_at| match now >= expires_at {
            true => Settled::Failed(Failure::new(FailureKind::Other, None, "nobody collected it in time")),
            // At its end it is looked at once more.
            false => {
                Settled::Held { reason: WAITS.to_owned(), waiting_for: None, until: Some(expires_at), failure: None }
            }
        };
        let settled = job.claim.recipients.iter().map(|r| (r.index, outcome(r.expires_at))).collect();
        self.settle(job.claim, settled, job.notes, job.hold);
    }

    /// There is no next hop for this domain's mail, and that is meant so.
    pub(super) fn is_on_demand(&self, domain: &Domain) -> bool {
        self.domains.get(domain).is_some_and(|domain| domain.config.on_demand)
    }
}

/// Whoever has come, as next hops are told of.
pub fn as_next_hop(peer: std::net::SocketAddr) -> NextHop {
    let (ip, port) = (peer.ip().to_canonical(), peer.port());
    NextHop { protocol: mail::Protocol::Smtp, host: ip.to_string(), port, tls: None }
}
