//! What an attempt's outcome means for a recipient: done, wait, or tell the sender. Pure but for the log.

use super::route::{Decision, checked};
use crate::domains::DomainState;
use mail::{Failure, NextHop, OfflineAction, Outcome, Timestamp};
use queue::{Claim, ClaimedRecipient, Settled, backoff};
use tracing::info;

/// Marks a notification of our own, which may go to a domain that is not configured.
pub const DSN_ATTRIBUTE: &str = ":dsn";

/// What is made of a next hop's words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trust {
    /// Until then its refusals are not believed.
    pub doubted_until: Option<Timestamp>,
    /// It refuses everything: who is held goes as soon as it takes something.
    pub refusing: bool,
    /// It puts everything off.
    pub putting_off: bool,
}

pub fn after_attempt(
    recipient: &ClaimedRecipient,
    outcome: Outcome,
    hop: &NextHop,
    trust: &Trust,
    now: Timestamp,
    jitter: f64,
) -> Settled {
    let again = now.plus(backoff(recipient.attempts, jitter));
    match (outcome, trust.doubted_until) {
        (Outcome::Delivered(reply), _) => Settled::Delivered { reply, next_hop: hop.clone() },
        (Outcome::Failed(failure), Some(end)) if now < recipient.expires_at => Settled::Held {
            reason: format!(
                "kept instead of bounced until {}, for its next hop or the way there is new or was away: {failure}",
                end.to_rfc3339()
            ),
            waiting_for: Some(hop.clone()),
            until: Some(if trust.refusing { end } else { again.min(end) }),
            failure: Some(failure),
        },
        (Outcome::Failed(failure), _) => Settled::Failed(failure),
        (Outcome::Deferred(failure), _) => {
            // Not what it said of this mail, so the next success may concern it.
            let waits = failure.reply.is_none() || trust.putting_off;
            defer(recipient, failure, again, waits.then(|| hop.clone()), now)
        }
    }
}

/// To be tried again, unless its time is over: then the deferral has become a failure.
pub fn defer(
    recipient: &ClaimedRecipient,
    failure: Failure,
    until: Timestamp,
    waiting_for: Option<NextHop>,
    now: Timestamp,
) -> Settled {
    if now >= recipient.expires_at {
        Settled::Failed(failure)
    } else {
        Settled::Deferred { until, failure, waiting_for }
    }
}

/// What a held mail waits for, and when it is tried all the same.
pub struct Awaited<'a> {
    pub hop: &'a NextHop,
    pub again: Option<Timestamp>,
}

/// Until the next hop is back.
pub fn wait(
    recipient: &ClaimedRecipient,
    failure: &Failure,
    awaited: Option<NextHop>,
    again: Option<Timestamp>,
    now: Timestamp,
) -> Settled {
    hold(recipient, format!("next hop offline: {failure}"), failure, awaited, again, now)
}

fn hold(
    recipient: &ClaimedRecipient,
    reason: String,
    failure: &Failure,
    awaited: Option<NextHop>,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Settled {
    if now >= recipient.expires_at {
        Settled::Failed(failure.clone())
    } else {
        Settled::Held { reason, waiting_for: awaited, until, failure: Some(failure.clone()) }
    }
}

/// What the plugin or the domain's configuration says about a next hop that is away.
pub fn while_away(
    recipient: &ClaimedRecipient,
    action: OfflineAction,
    domain: &DomainState,
    awaited: &Awaited<'_>,
    failure: &Failure,
    now: Timestamp,
) -> Decision {
    use crate::config::OfflineSetting as Setting;
    let (hop, again) = (Some(awaited.hop.clone()), awaited.again);
    let refused = |reply| Decision::Settle(Settled::Failed(Failure { reply: Some(reply), ..failure.clone() }));
    match (action, domain.config.offline.action) {
        (OfflineAction::Redirect(hops), _) => match checked(hops, domain, recipient) {
            Some(hops) => Decision::Relay(hops),
            None => Decision::Settle(wait(recipient, failure, hop, again, now)),
        },
        (OfflineAction::RetryAfter(after), _) => {
            Decision::Settle(defer(recipient, failure.clone(), now.plus(after), hop, now))
        }
        (OfflineAction::Hold(reason), _) => Decision::Settle(hold(recipient, reason, failure, hop, again, now)),
        (OfflineAction::Bounce(reply), _) => refused(reply),
        (OfflineAction::Discard, _) => Decision::Settle(Settled::Discarded),
        (OfflineAction::Default, Setting::Hold) => Decision::Settle(wait(recipient, failure, hop, again, now)),
        (OfflineAction::Default, Setting::Redirect) => Decision::Relay(domain.config.offline.redirect.clone()),
        (OfflineAction::Default, Setting::Bounce) => Decision::Settle(Settled::Failed(failure.clone())),
    }
}

/// One line for each recipient.
pub fn log(claim: &Claim, outcomes: &[(u32, Settled)]) {
    for (index, settled) in outcomes {
        let Some(recipient) = claim.recipients.iter().find(|r| r.index == *index) else { continue };
        let (id, domain, address, attempt) =
            (claim.mail.id, &claim.mail.domain, &recipient.recipient.address, recipient.attempts + 1);
        match settled {
            Settled::Delivered { reply, next_hop } => {
                info!(%id, %domain, recipient = %address, %next_hop, attempt, outcome = "delivered", %reply);
            }
            Settled::Failed(failure) => {
                info!(%id, %domain, recipient = %address, attempt, outcome = "failed", kind = %failure.kind, reason = %failure)
            }
            Settled::Deferred { until, failure, .. } => {
                info!(%id, %domain, recipient = %address, attempt, outcome = "deferred", until = %until.to_rfc3339(), kind = %failure.kind, reason = %failure);
            }
            Settled::Held { reason, .. } => info!(%id, %domain, recipient = %address, outcome = "held", %reason),
            Settled::Discarded => {
                info!(%id, %domain, recipient = %address, outcome = "discarded", reason = "by a plugin")
            }
            Settled::Rewritten { to } => info!(%id, %domain, recipient = %address, outcome = "rewritten", %to),
        }
    }
}
