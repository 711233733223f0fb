//! Decides which outcomes a sender is told of, and when a mail that waits has waited long enough to say so.

use super::Action;
use mail::{MailId, Protocol, Timestamp};
use queue::{ClaimedRecipient, Settled};
use std::time::Duration;

/// How long a mail waits before its sender hears of it, where the domain's file says nothing.
pub const DELAY_NOTICE: Duration = Duration::from_secs(4 * 3600);

/// When the sender is told that a mail still waits. Mails that came together are not told of together: each
/// has a place of its own, always the same, in a tenth of the wait behind it.
pub fn notice_at(id: MailId, received: Timestamp, wait: Duration) -> Timestamp {
    let [.., high, low] = id.to_bytes();
    let place = f64::from(u16::from_be_bytes([high, low])) / f64::from(u16::MAX);
    received.plus(wait + wait.mul_f64(place / 10.0))
}

/// RFC 3461 §4.1 allows it also where nothing was said; but most senders are forged, so it has to be asked for.
fn awaits_notice(recipient: &ClaimedRecipient) -> bool {
    !recipient.delay_told && recipient.recipient.notify.is_some_and(|notify| notify.delay)
}

/// Who is to be told of a delay is due again when that time comes, whatever it waits for; but who waits for a
/// person only does so.
pub fn bring_forward(recipient: &ClaimedRecipient, settled: &mut Settled, notice_at: Timestamp, now: Timestamp) {
    if !awaits_notice(recipient) || notice_at <= now {
        return;
    }
    match settled {
        Settled::Deferred { until, .. } => *until = notice_at.min(*until),
        Settled::Held { waiting_for, until, .. } if waiting_for.is_some() || until.is_some() => {
            *until = Some(until.map_or(notice_at, |until| until.min(notice_at)));
        }
        _ => {}
    }
}

/// `passed_on`: the next hop offers DSN, so that the duty has gone to it with the mail (RFC 3461 §5.2.1).
pub fn action(
    recipient: &ClaimedRecipient,
    settled: &Settled,
    passed_on: bool,
    notice_at: Timestamp,
    now: Timestamp,
) -> Option<Action> {
    let is_late = awaits_notice(recipient) && notice_at <= now;
    let delayed = |failure| Action::Delayed { failure, until: recipient.expires_at };
    match settled {
        Settled::Failed(failure) => recipient.recipient.wants_failure().then(|| Action::Failed(failure.clone())),
        Settled::Deferred { failure, .. } => is_late.then(|| delayed(Some(failure.clone()))),
        Settled::Held { failure, waiting_for, until, .. } => {
            let waits_for_a_person = waiting_for.is_none() && until.is_none();
            (is_late && !waits_for_a_person).then(|| delayed(failure.clone()))
        }
        Settled::Delivered { reply, next_hop } => {
            let wanted = recipient.recipient.notify.is_some_and(|notify| notify.success) && !passed_on;
            let (reply, next_hop) = (reply.clone(), next_hop.clone());
            wanted.then_some(match next_hop.protocol {
                // RFC 3461 §5.2.2.
                Protocol::Smtp => Action::Relayed { reply, next_hop },
                Protocol::Lmtp => Action::Delivered { reply, next_hop },
            })
        }
        Settled::Rewritten { .. } | Settled::Discarded => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::{Failure, FailureKind, Notify, Recipient, Reply};

    const ASKED: Notify = Notify { success: true, failure: false, delay: true };

    fn t(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn recipient(notify: Option<Notify>, delay_told: bool) -> ClaimedRecipient {
        ClaimedRecipient {
            index: 0,
            recipient: Recipient { notify, ..Recipient::new("ann@example.org".parse().unwrap()) },
            attempts: 0,
            offline_since: None,
            expires_at: t(1000),
            waiting_for: None,
            last_failure: None,
            delay_told,
        }
    }

    fn held(hop: Option<&str>, until: Option<u64>) -> Settled {
        let waiting_for = hop.map(|hop| hop.parse().unwrap());
        Settled::Held { reason: "r".into(), waiting_for, until: until.map(t), failure: None }
    }

    fn failure() -> Failure {
        Failure::new(FailureKind::TempFail, None, "not now")
    }

    #[test]
    fn only_who_asked_is_told_of_a_delay_and_once() {
        let told = |notify, before, settled: &Settled, now| {
            action(&recipient(notify, before), settled, false, t(100), t(now)).is_some()
        };
        let deferred = Settled::Deferred { until: t(500), failure: failure(), waiting_for: None };
        assert!(told(Some(ASKED), false, &deferred, 100));
        assert!(!told(Some(ASKED), false, &deferred, 99));
        assert!(!told(Some(ASKED), true, &deferred, 100));
        assert!(!told(None, false, &deferred, 100), "most senders are forged");
        assert!(!told(Some(Notify::NEVER), false, &deferred, 100));
        assert!(told(Some(ASKED), false, &held(Some("mx.example:25"), None), 100));
        assert!(!told(Some(ASKED), false, &held(None, None), 100), "it waits for a person");
    }

    #[test]
    fn what_waits_is_due_when_its_sender_is_to_be_told_and_no_sooner() {
        let due = |notify, mut settled: Settled, now| {
            bring_forward(&recipient(notify, false), &mut settled, t(100), t(now));
            settled
        };
        let hop = Some("mx.example:25");
        assert_eq!(due(Some(ASKED), held(hop, None), 10), held(hop, Some(100)));
        assert_eq!(due(Some(ASKED), held(hop, Some(50)), 10), held(hop, Some(50)));
        assert_eq!(due(Some(ASKED), held(hop, None), 100), held(hop, None));
        assert_eq!(due(None, held(hop, None), 10), held(hop, None));
        assert_eq!(due(Some(ASKED), held(None, None), 10), held(None, None));
    }

    #[test]
    fn success_is_told_where_the_next_hop_will_not_do_it() {
        let told = |notify, hop: &str, passed_on| {
            let settled =
                Settled::Delivered { reply: Reply::fixed(250, (2, 0, 0), "ok"), next_hop: hop.parse().unwrap() };
            let action = action(&recipient(notify, false), &settled, passed_on, t(100), t(10));
            action.map(|action| action.as_str())
        };
        assert_eq!(told(Some(ASKED), "mx.example:25", false), Some("relayed"));
        assert_eq!(told(Some(ASKED), "lmtp://mx.example:24", false), Some("delivered"));
        assert_eq!(told(Some(ASKED), "mx.example:25", true), None);
        assert_eq!(told(None, "mx.example:25", false), None);
    }

    #[test]
    fn failure_is_told_unless_it_was_asked_not_to() {
        let told = |notify| action(&recipient(notify, true), &Settled::Failed(failure()), true, t(100), t(10));
        assert!(told(None).is_some() && told(Some(ASKED)).is_none() && told(Some(Notify::NEVER)).is_none());
    }

    #[test]
    fn mails_that_came_together_are_told_of_one_after_the_other() {
        let at = |n| notice_at(MailId::from_u128(n), t(0), Duration::from_secs(1000));
        assert_eq!((at(0), at(0xFFFF)), (t(1000), t(1100)));
        assert!(at(0x8000) > t(1049) && at(0x8000) < t(1051));
    }
}
