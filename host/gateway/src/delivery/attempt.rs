//! One mail over one connection, and what its outcomes mean.

use super::{
    breaker::{About, Answer},
    connection::Connection,
    deliver::Deliverer,
    job::{Job, Notes},
    lane::{Lane, LaneKey, Turn},
    probing, settle,
};
use crate::domains::DomainState;
use mail::{Domain, Failure, FailureKind, Outcome, Recipient};
use queue::{Round, Settled};
use std::{io, sync::Arc, time::Instant};
use tracing::{error, info, warn};

impl Deliverer {
    pub async fn connect(&self, key: &LaneKey) -> Result<Connection, Failure> {
        let domain = self.owner(key)?;
        self.connector.connect(&key.hop, key.tls, domain.as_deref()).await
    }

    /// As `connect`, for the lane's prober: it carries no mail, and may be the first to see the next hop's key.
    pub async fn introduce(&self, key: &LaneKey) -> Result<Connection, Failure> {
        let domain = self.owner(key)?;
        self.connector.introduce(&key.hop, key.tls, domain.as_deref()).await
    }

    /// Whose proof of the next hop must hold. A domain that is configured no more can ask for none: nobody connects.
    pub(super) fn owner(&self, key: &LaneKey) -> Result<Option<Arc<DomainState>>, Failure> {
        let Some(name) = &key.domain else { return Ok(None) };
        let gone = || Failure::new(FailureKind::Connect, Some(&key.hop), format!("{name} is not configured any more"));
        self.domains.get(name).map(Some).ok_or_else(gone)
    }

    /// A next hop that does not let us in is away, whatever it says: every mail would fare the same.
    pub fn connect_failed(self: &Arc<Self>, lane: &Arc<Lane>, job: Job, failure: Failure) {
        let (away, waiting) = lane.went_away(failure, probing::FIRST, self);
        for job in std::iter::once(job).chain(waiting) {
            self.unreachable(job, &away);
        }
    }

    /// One mail over one connection. Gives the connection back when it can carry another.
    pub async fn attempt(
        self: &Arc<Self>,
        lane: &Arc<Lane>,
        connection: Connection,
        mut job: Job,
    ) -> Option<Connection> {
        let content = match self.outgoing(&job.claim).await {
            Ok(content) => content,
            Err(error) => {
                self.unreadable(job, &error);
                return Some(connection);
            }
        };
        if self.has_own_lane(&job.claim.mail.domain) != lane.key.domain.is_some() {
            // Its file has been changed meanwhile: what it now asks of its next hop is another lane's to see to.
            self.queue.unclaim(job.claim);
            return Some(connection);
        }
        let connection = match self.current(&lane.key, connection).await {
            Ok(connection) => connection,
            Err(failure) => {
                self.connect_failed(lane, job, failure);
                return None;
            }
        };
        let recipients: Vec<Recipient> =
            job.claim.recipients.iter().map(|r| job.notes.addressed(r, &job.claim.mail)).collect();
        let mail = job.claim.mail.clone();
        let reused = connection.is_reused();
        let started = Instant::now();
        let (mut attempt, mut kept) = connection.deliver(&mail.envelope, &recipients, content.clone()).await;
        if reused && attempt.is_lost_early() {
            // A kept connection that the next hop has closed meanwhile says nothing about the next hop.
            match self.connect(&lane.key).await {
                Ok(fresh) => (attempt, kept) = fresh.deliver(&mail.envelope, &recipients, content).await,
                Err(failure) => {
                    self.connect_failed(lane, job, failure);
                    return None;
                }
            }
        }
        let said = || attempt.transcript.to_string();
        self.stories.attempt(job.claim.mail.id, &lane.key.hop, started.elapsed(), said);
        if let Some(error) = attempt.take_unread() {
            self.unreadable(job, &error);
            return None;
        }
        job.notes.passed_on = attempt.notifies;
        let about = if attempt.is_judged() { About::Content } else { About::Envelope };
        match Answer::of(&attempt.outcomes, about) {
            Some(answer) => self.note(lane, &job.claim.mail.domain, answer, &attempt.outcomes),
            None if kept.is_none() => lane.broke(),
            // The mail was not offered: the next hop lacks something that it needs.
            None => {}
        }
        self.finish(Some(lane), job, attempt.outcomes);
        kept
    }

    /// What the lane learns of its next hop.
    fn note(self: &Arc<Self>, lane: &Arc<Lane>, domain: &Domain, answer: Answer, outcomes: &[Outcome]) {
        let failure = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Failed(failure) => Some(failure),
            Outcome::Delivered(_) | Outcome::Deferred(_) => None,
        });
        if answer == Answer::Taken {
            self.doubts.taken(domain);
        }
        let doubted = answer != Answer::Taken && self.trust(lane, domain, self.clock.now()).doubted_until.is_some();
        if answer == Answer::Taken && self.alerts.is_refusing(&lane.key.hop) {
            self.tell_accepting(&lane.key);
        }
        match lane.note(answer, failure, doubted, self) {
            Turn::None => {}
            Turn::Opened => {
                let woken = self.wake(&lane.key);
                info!(next_hop = %lane.key.hop, state = "online", woken, "it takes mail again");
            }
            Turn::Closed => self.refuses(lane),
            Turn::Eased => {
                // Two for each that is taken: a next hop that limits its rate is not offered everything at once.
                let wake = |_| {
                    self.queue.wake_one(&lane.key.hop, &mut Round::default(), self.clock.now(), |waiting| {
                        self.is_served_by(&lane.key, waiting)
                    })
                };
                if !(0..2).all(wake) {
                    lane.eased();
                }
            }
        }
    }

    /// Damage is for a person to look at; anything else, as when descriptors run out, may pass: the
    /// dropped claim is due again soon.
    pub(super) fn unreadable(self: &Arc<Self>, job: Job, error: &io::Error) {
        use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
        if !matches!(error.kind(), InvalidData | NotFound | UnexpectedEof) {
            warn!(id = %job.claim.mail.id, %error, "the mail cannot be read from the spool now: tried again soon");
            return;
        }
        error!(id = %job.claim.mail.id, %error, "the mail cannot be read from the spool: set aside");
        let reason = format!("cannot be read from the spool: {error}");
        let held =
            |index| (index, Settled::Held { reason: reason.clone(), waiting_for: None, until: None, failure: None });
        let outcomes = job.claim.recipients.iter().map(|r| held(r.index)).collect();
        self.settle(job.claim, outcomes, job.notes, job.hold);
    }

    /// `lane` is none where the mail was collected.
    pub(super) fn finish(self: &Arc<Self>, lane: Option<&Arc<Lane>>, job: Job, outcomes: Vec<Outcome>) {
        let now = self.clock.now();
        let Some(hop) = job.hop().cloned() else { return self.queue.unclaim(job.claim) };
        let trust = lane.map(|lane| self.trust(lane, &job.claim.mail.domain, now)).unwrap_or_default();
        let settled = job.claim.recipients.iter().zip(outcomes).map(|(recipient, outcome)| {
            (recipient.index, settle::after_attempt(recipient, outcome, &hop, &trust, now, fastrand::f64()))
        });
        // Whoever has come for mail comes again: nothing can be told of the port that they came from.
        let settled = settled.map(|(index, settled)| match settled {
            Settled::Deferred { until, failure, .. } if lane.is_none() => {
                (index, Settled::Deferred { until, failure, waiting_for: None })
            }
            settled => (index, settled),
        });
        let settled: Vec<_> = settled.collect();
        let kept = settled.iter().find_map(|(_, settled)| match settled {
            Settled::Held { failure, .. } => failure.as_ref(),
            _ => None,
        });
        if let (Some(lane), Some(failure)) = (lane, kept)
            && lane.is_first_to_tell()
        {
            self.tell_refusing(&lane.key, failure);
        }
        self.settle(job.claim, settled, Notes { tried: true, closed: trust.refusing, ..job.notes }, job.hold);
    }
}
