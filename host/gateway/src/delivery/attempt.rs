//! One mail over one connection, and what its outcomes mean.

use super::{
    connection::Connection,
    deliver::{Deliverer, READ_KIB},
    job::Job,
    lane::{Lane, LaneKey},
    settle,
};
use mail::{Content, Failure, Recipient};
use queue::{Claim, Settled};
use std::{io, sync::Arc, time::Instant};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{error, warn};

impl Deliverer {
    pub async fn connect(&self, key: &LaneKey) -> Result<Connection, Failure> {
        let domain = key.domain.as_ref().and_then(|domain| self.domains.get(domain));
        self.connector.connect(&key.hop, key.tls, domain.as_deref()).await
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
        let (content, _read) = match self.content(&job.claim).await {
            Ok(content) => content,
            Err(error) => {
                self.unreadable(job, &error);
                return Some(connection);
            }
        };
        let recipients: Vec<Recipient> = job.claim.recipients.iter().map(|r| job.notes.addressed(r)).collect();
        let mail = job.claim.mail.clone();
        let reused = connection.is_reused();
        let started = Instant::now();
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
        let said = || attempt.transcript.to_string();
        self.stories.attempt(job.claim.mail.id, &lane.key.hop, started.elapsed(), said);
        self.finish(job, attempt.outcomes);
        kept
    }

    /// With the permit for what had to be read from disk: it is waited for, so that a backlog of
    /// large mails comes into memory a part at a time.
    pub(super) async fn content(&self, claim: &Claim) -> io::Result<(Content, Option<OwnedSemaphorePermit>)> {
        if let Some(content) = claim.content.in_memory() {
            return Ok((content, None));
        }
        let source = claim.content.clone();
        let wanted = u32::try_from(source.len() / 1024 + 1).unwrap_or(u32::MAX).min(READ_KIB);
        let permit = self.read.clone().acquire_many_owned(wanted).await.map_err(io::Error::other)?;
        let content = tokio::task::spawn_blocking(move || source.load()).await.map_err(io::Error::other)??;
        Ok((content, Some(permit)))
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

    pub(super) fn finish(self: &Arc<Self>, job: Job, outcomes: Vec<mail::Outcome>) {
        let now = self.clock.now();
        let Some(hop) = job.hop().cloned() else { return self.queue.unclaim(job.claim) };
        let settled = job.claim.recipients.iter().zip(outcomes).map(|(recipient, outcome)| {
            (recipient.index, settle::after_attempt(recipient, outcome, &hop, now, fastrand::f64()))
        });
        let settled: Vec<_> = settled.collect();
        self.settle(job.claim, settled, job.notes, job.hold);
    }

    fn finish_all(self: &Arc<Self>, job: Job, failure: &Failure) {
        let outcomes = job.claim.recipients.iter().map(|_| mail::Outcome::Deferred(failure.clone())).collect();
        self.finish(job, outcomes);
    }
}
