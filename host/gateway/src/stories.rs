//! Tells what has happened to a mail: to the journal, and to the plugins that listen. Decides nothing, never waits.

use crate::{
    clock::Clock,
    domains::{DomainState, Domains},
};
use journal::{Journal, Outcome, Step};
use mail::{CallRecord, Content, MailId, Mailbox, NextHop, Timestamp};
use queue::{Claim, ClaimedRecipient, NewMail, QueuedMail, Settled};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

#[derive(Clone)]
pub struct Stories {
    pub journal: Journal,
    pub domains: Arc<Domains>,
    pub clock: Clock,
}

impl Stories {
    pub fn record(&self, id: MailId, step: Step) {
        self.journal.record(id, self.clock.now(), step);
    }

    pub fn note(&self, id: MailId, text: impl FnOnce() -> String) {
        if self.journal.is_on() {
            self.record(id, Step::Note { text: text() });
        }
    }

    /// Of plugins that were asked on the way out.
    pub fn calls(&self, mail: &QueuedMail, calls: Vec<CallRecord>) {
        if !calls.is_empty() && self.journal.is_on() {
            self.record(mail.id, Step::Calls { domain: mail.domain.to_string(), calls });
        }
    }

    pub fn attempt(&self, id: MailId, hop: &NextHop, took: Duration, transcript: impl FnOnce() -> String) {
        if self.journal.is_on() {
            let took_ms = took.as_millis() as u64;
            self.record(id, Step::Attempt { next_hop: hop.to_string(), took_ms, transcript: transcript() });
        }
    }

    /// A notification of ours, in its own story and in that of the mail that it is about.
    pub fn notified(&self, about: MailId, dsn: &NewMail) {
        if !self.journal.is_on() {
            return;
        }
        let to: Vec<String> = dsn.envelope.recipients.iter().map(|r| r.address.to_string()).collect();
        self.note(about, || format!("{} is told by notification {}", to.join(", "), dsn.id));
        let reply = format!("notification about {about}");
        let asked = |address: &String| journal::Asked { address: address.clone(), reply: String::new(), calls: vec![] };
        let intake = journal::Intake {
            domain: dsn.domain.to_string(),
            session: None,
            sender: String::new(),
            recipients: to.iter().map(asked).collect(),
            size: Some(dsn.content.len() as u64),
            authenticity: mail::Authenticity::default(),
            outcome: "queued".to_owned(),
            reply,
            calls: Vec::new(),
        };
        self.record(dsn.id, Step::Intake(Box::new(intake)));
    }

    /// What became of the recipients of an attempt.
    pub fn settled(&self, claim: &Claim, outcomes: &[(u32, Settled)]) {
        let domain = self.domains.get(&claim.mail.domain).filter(|domain| domain.listeners.are_there());
        if !self.journal.is_on() && domain.is_none() {
            return;
        }
        for (index, settled) in outcomes {
            let Some(recipient) = claim.recipients.iter().find(|r| r.index == *index) else { continue };
            let outcome = outcome(recipient, settled);
            if let Some(domain) = &domain {
                self.tell_outcome(domain, claim, recipient, settled, &outcome);
            }
            self.record(claim.mail.id, Step::Outcome(outcome));
        }
    }

    fn tell_outcome(
        &self,
        domain: &DomainState,
        claim: &Claim,
        recipient: &ClaimedRecipient,
        settled: &Settled,
        outcome: &Outcome,
    ) {
        let now = self.clock.now();
        let kind = match settled {
            Settled::Delivered { .. } => "delivered",
            Settled::Failed(_) if now >= recipient.expires_at => "expired",
            Settled::Failed(_) => "failed",
            Settled::Deferred { .. } => "delayed",
            Settled::Held { .. } => "held",
            Settled::Discarded => "discarded",
            Settled::Rewritten { .. } => return,
        };
        let more = [
            ("attempt", json!(outcome.attempt)),
            ("next-hop", json!(outcome.next_hop)),
            ("reason", json!(outcome.reason)),
            ("until", json!(outcome.until)),
        ];
        let more = about(&claim.mail, &recipient.recipient.address, more);
        domain.listeners.tell(kind, now, Some(facts(&claim.mail, recipient)), &more);
    }

    /// `queued`, `held` or `discarded` at intake, `released` or `redirected` later.
    pub fn tell(&self, kind: &'static str, mail: &QueuedMail, recipient: &Mailbox, reason: Option<&str>) {
        let Some(domain) = self.domains.get(&mail.domain).filter(|domain| domain.listeners.are_there()) else { return };
        let more = about(mail, recipient, [("reason", json!(reason))]);
        domain.listeners.tell(kind, self.clock.now(), None, &more);
    }

    /// To every domain whose mail may go there: `offline` or `online`.
    pub fn next_hop(&self, kind: &'static str, hop: &NextHop, more: &Value) {
        for domain in self.domains.all().values().filter(|domain| domain.listeners.are_there()) {
            if domain.reachable(hop).is_some() {
                domain.listeners.tell(kind, self.clock.now(), None, more);
            }
        }
    }
}

fn about<const N: usize>(mail: &QueuedMail, recipient: &Mailbox, more: [(&str, Value); N]) -> Value {
    let these = [
        ("id", json!(mail.id.to_string())),
        ("domain", json!(mail.domain.to_string())),
        ("sender", json!(mail.envelope.sender.to_string())),
        ("recipient", json!(recipient.to_string())),
        ("size", json!(mail.size)),
    ];
    object(these.into_iter().chain(more))
}

/// An event about a next hop.
pub fn about_hop<const N: usize>(hop: &NextHop, more: [(&str, Value); N]) -> Value {
    object([("next-hop", json!(hop.to_string()))].into_iter().chain(more))
}

fn object<'a>(pairs: impl Iterator<Item = (&'a str, Value)>) -> Value {
    pairs.map(|(key, value)| (key.to_owned(), value)).collect::<serde_json::Map<_, _>>().into()
}

/// Without the content: nobody reads it in on-event, and the event may wait.
fn facts(mail: &QueuedMail, recipient: &ClaimedRecipient) -> mail::DeliveryFacts {
    mail::DeliveryFacts {
        id: mail.id,
        domain: mail.domain.clone(),
        sender: mail.envelope.sender.clone(),
        recipient: recipient.recipient.address.clone(),
        queued_at: mail.received_at,
        expires_at: recipient.expires_at,
        attempts: recipient.attempts,
        offline_since: recipient.offline_since,
        attributes: mail.attributes.clone(),
        calls: Vec::new(),
        content: Arc::new(Content::default()),
    }
}

fn outcome(recipient: &ClaimedRecipient, settled: &Settled) -> Outcome {
    let hop = |failure: &mail::Failure| failure.next_hop.as_ref().map(ToString::to_string);
    let until = |at: Option<Timestamp>| at.map(Timestamp::to_rfc3339);
    let (next_hop, reason, until) = match settled {
        Settled::Delivered { reply, next_hop } => (Some(next_hop.to_string()), Some(reply.to_string()), None),
        Settled::Failed(failure) => (hop(failure), Some(failure.to_string()), None),
        Settled::Deferred { until: at, failure, .. } => (hop(failure), Some(failure.to_string()), until(Some(*at))),
        Settled::Held { reason, waiting_for, until: at, .. } => {
            (waiting_for.as_ref().map(ToString::to_string), Some(reason.clone()), until(*at))
        }
        Settled::Rewritten { to } => (None, Some(format!("to {to}")), None),
        Settled::Discarded => (None, Some("by a plugin".to_owned()), None),
    };
    Outcome {
        recipient: recipient.recipient.address.to_string(),
        outcome: settled.as_str().to_owned(),
        attempt: recipient.attempts + 1,
        next_hop,
        reason,
        until,
    }
}
