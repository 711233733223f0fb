//! Where each recipient of a mail goes at this attempt: the domain's next hop, or what its plugins say.

use super::job::Notes;
use crate::domains::DomainState;
use mail::{ContentSource, DeliveryFacts, Failure, FailureKind, Mailbox, NextHop, Routing, Timestamp};
use queue::{Claim, ClaimedRecipient, QueuedMail, Settled, backoff};
use std::sync::Arc;
use tracing::warn;

#[derive(Debug, PartialEq)]
pub enum Decision {
    Relay(Vec<NextHop>),
    /// Under another address, for this attempt.
    RelayAs(Mailbox, Vec<NextHop>),
    Settle(Settled),
}

/// Asks on-route for each recipient.
pub async fn route(
    claim: &mut Claim,
    content: &Arc<dyn ContentSource>,
    domain: &DomainState,
    now: Timestamp,
) -> (Vec<(u32, Decision)>, Notes) {
    let mut decisions = Vec::with_capacity(claim.recipients.len());
    let mut notes = Notes::default();
    for recipient in &mut claim.recipients {
        let mut facts = facts(&claim.mail, recipient, content, &notes, recipient.offline_since);
        let routing = domain.chain.on_route(&mut facts).await;
        notes.take_from(facts, &claim.mail, recipient);
        decisions.push((recipient.index, decide(routing, recipient, domain, now)));
    }
    (decisions, notes)
}

fn decide(routing: Routing, recipient: &ClaimedRecipient, domain: &DomainState, now: Timestamp) -> Decision {
    let default = || domain.config.next_hops.clone();
    match routing {
        Routing::Default => Decision::Relay(default()),
        Routing::Relay(hops) => match checked(hops, domain, recipient) {
            Some(hops) => Decision::Relay(hops),
            None => Decision::Relay(default()),
        },
        Routing::Rewrite(to) if to.domain_str() == domain.config.name.as_str() => Decision::RelayAs(to, default()),
        Routing::Rewrite(to) => {
            warn!(domain = %domain.config.name, recipient = %recipient.recipient.address, %to, "a plugin rewrote to another domain: ignored");
            Decision::Relay(default())
        }
        Routing::TempFail(reply) => {
            let failure =
                Failure { reply: Some(reply), ..Failure::new(FailureKind::TempFail, None, "deferred by a plugin") };
            let until = now.plus(backoff(recipient.attempts, fastrand::f64()));
            Decision::Settle(super::settle::defer(recipient, failure, until, None, now))
        }
        Routing::Reject(reply) => Decision::Settle(Settled::Failed(Failure {
            reply: Some(reply),
            ..Failure::new(FailureKind::PermFail, None, "refused by a plugin")
        })),
        Routing::Discard => Decision::Settle(Settled::Discarded),
    }
}

/// The hops that the domain may reach; none where a plugin named no such hop.
pub fn checked(hops: Vec<NextHop>, domain: &DomainState, recipient: &ClaimedRecipient) -> Option<Vec<NextHop>> {
    let mut allowed = Vec::with_capacity(hops.len());
    for hop in hops {
        match domain.reachable(&hop) {
            Some(configured) => allowed.push(configured),
            None => warn!(domain = %domain.config.name, recipient = %recipient.recipient.address, next_hop = %hop,
            "a plugin named a next hop that the domain's file does not: ignored; list it there to allow it"),
        }
    }
    (!allowed.is_empty()).then_some(allowed)
}

pub fn facts(
    mail: &QueuedMail,
    recipient: &ClaimedRecipient,
    content: &Arc<dyn ContentSource>,
    notes: &Notes,
    offline_since: Option<Timestamp>,
) -> DeliveryFacts {
    DeliveryFacts {
        id: mail.id,
        domain: mail.domain.clone(),
        sender: mail.envelope.sender.clone(),
        recipient: recipient.recipient.address.clone(),
        queued_at: mail.received_at,
        expires_at: recipient.expires_at,
        attempts: recipient.attempts,
        offline_since,
        attributes: notes.attributes.as_ref().unwrap_or(&mail.attributes).clone(),
        calls: Vec::new(),
        content: content.clone(),
    }
}
