//! Decides what an outcome makes of a recipient. Pure.

use crate::claim::ClaimedRecipient;
use crate::index::Wait;
use crate::model::{InitialState, Settled, State};
use crate::store::{Details, Row, RowState};
use mail::{Failure, NextHop, Timestamp};

/// The recipient's new row; none when it is done.
pub(crate) fn settled(
    r: &ClaimedRecipient,
    outcome: Settled,
    new_expiry: Option<Timestamp>,
    now: Timestamp,
) -> Option<Row> {
    let expires_at = new_expiry.unwrap_or(r.expires_at);
    let kept = Details {
        attempts: r.attempts,
        offline_since: r.offline_since,
        expires_at: Some(expires_at),
        address: Some(r.recipient.address.clone()),
        reason: None,
        last_failure: r.last_failure.clone(),
        delay_told: r.delay_told,
    };
    let (state, due, waiting_for, details) = match outcome {
        Settled::Delivered { .. } | Settled::Failed(_) | Settled::Discarded => return None,
        // Due at its end, so that the gateway sees that it has expired.
        Settled::Deferred { until, failure, waiting_for } => {
            (RowState::Deferred, until.min(expires_at), waiting_for, kept.after(Some(failure), now))
        }
        Settled::Held { reason, waiting_for, until, failure } => {
            let due = held_due(waiting_for.as_ref(), until, expires_at);
            (RowState::Held, due, waiting_for, Details { reason: Some(reason), ..kept.after(failure, now) })
        }
        Settled::Rewritten { to } => (RowState::Queued, now, None, Details { address: Some(to), ..kept }),
    };
    Some(Row { state, due, waiting_for, details })
}

fn held_due(waiting_for: Option<&NextHop>, until: Option<Timestamp>, expires_at: Timestamp) -> Timestamp {
    match (waiting_for, until) {
        (None, None) => Timestamp::NEVER,
        (_, until) => until.unwrap_or(Timestamp::NEVER).min(expires_at),
    }
}

/// For all recipients of a mail that is not queued when it comes in.
pub(crate) fn initial(state: InitialState) -> Option<Row> {
    match state {
        InitialState::Queued => None,
        InitialState::Held { reason } => Some(waits_for_person(RowState::Held, reason)),
        InitialState::Quarantined { reason } => Some(waits_for_person(RowState::Quarantined, reason)),
    }
}

/// Nothing can be delivered until a person has looked.
pub(crate) fn damaged(row: Option<Row>) -> Row {
    held(row, "its content in the spool is damaged or missing".to_owned())
}

/// Whether it had an outcome cannot be read any more.
pub(crate) fn unknown() -> Row {
    held(None, "its record was damaged: whether it was delivered is not known".to_owned())
}

/// As `row`, but held under `reason`.
pub(crate) fn held(row: Option<Row>, reason: String) -> Row {
    let fresh = waits_for_person(RowState::Held, reason);
    match row {
        None => fresh,
        Some(row) => Row { details: Details { reason: fresh.details.reason, ..row.details }, ..fresh },
    }
}

/// As `row`, but due now.
pub(crate) fn released(row: Option<Row>, now: Timestamp) -> Row {
    let details = row.map(|row| Details { reason: None, ..row.details }).unwrap_or_default();
    Row { state: RowState::Queued, due: now, waiting_for: None, details }
}

fn waits_for_person(state: RowState, reason: String) -> Row {
    let details = Details { reason: Some(reason), ..Details::default() };
    Row { state, due: Timestamp::NEVER, waiting_for: None, details }
}

impl Details {
    /// An attempt was made.
    fn after(self, failure: Option<Failure>, now: Timestamp) -> Self {
        let Some(failure) = failure else { return self };
        let offline_since = failure.kind.is_offline().then(|| self.offline_since.unwrap_or(now));
        Self { attempts: self.attempts.saturating_add(1), offline_since, last_failure: Some(failure), ..self }
    }
}

impl Row {
    /// Its place in the index; none is done.
    pub(crate) fn wait(&self) -> Option<Wait> {
        wait(self.state, self.due, self.waiting_for.clone())
    }
}

pub(crate) fn wait(state: RowState, due: Timestamp, waiting_for: Option<NextHop>) -> Option<Wait> {
    let state = match state {
        RowState::Queued => State::Queued,
        RowState::Deferred => State::Deferred,
        RowState::Held => State::Held,
        RowState::Quarantined => State::Quarantined,
        RowState::Done => return None,
    };
    Some(Wait { state, due, waiting_for })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::{FailureKind, Recipient};

    fn recipient() -> ClaimedRecipient {
        ClaimedRecipient {
            index: 0,
            recipient: Recipient::new("ann@a.example".parse().unwrap()),
            attempts: 2,
            offline_since: None,
            expires_at: Timestamp::from_secs(1000),
            waiting_for: None,
            last_failure: None,
            delay_told: false,
        }
    }
    fn t(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }
    fn failure(kind: FailureKind) -> Failure {
        Failure::new(kind, None, "x")
    }

    #[test]
    fn a_deferral_counts_the_attempt_and_never_outlives_the_mail() {
        let outcome = |until, kind| Settled::Deferred { until, failure: failure(kind), waiting_for: None };
        let row = settled(&recipient(), outcome(t(50), FailureKind::Connect), None, t(10)).unwrap();
        assert_eq!((row.due, row.details.attempts, row.details.offline_since), (t(50), 3, Some(t(10))));
        let row = settled(&recipient(), outcome(t(5000), FailureKind::TempFail), None, t(10)).unwrap();
        assert_eq!((row.due, row.details.offline_since), (t(1000), None));
        let row = settled(&recipient(), outcome(t(5000), FailureKind::TempFail), Some(t(2000)), t(10)).unwrap();
        assert_eq!((row.due, row.details.expires_at), (t(2000), Some(t(2000))));
    }

    #[test]
    fn offline_since_is_kept_while_the_next_hop_stays_away_and_ends_when_it_answers() {
        let away = ClaimedRecipient { offline_since: Some(t(5)), ..recipient() };
        let outcome = |kind| Settled::Deferred { until: t(50), failure: failure(kind), waiting_for: None };
        let since = |kind| settled(&away, outcome(kind), None, t(10)).unwrap().details.offline_since;
        assert_eq!(since(FailureKind::Timeout), Some(t(5)));
        assert_eq!(since(FailureKind::TempFail), None);
    }

    #[test]
    fn what_a_person_holds_waits_for_a_person_and_what_waits_for_a_next_hop_expires() {
        let hold = |hop: Option<&str>, until| Settled::Held {
            reason: "r".into(),
            waiting_for: hop.map(|hop| hop.parse().unwrap()),
            until,
            failure: None,
        };
        let due = |outcome| settled(&recipient(), outcome, None, t(10)).unwrap().due;
        assert_eq!(due(hold(None, None)), Timestamp::NEVER);
        assert_eq!(due(hold(Some("mx.example:25"), None)), t(1000));
        assert_eq!(due(hold(Some("mx.example:25"), Some(t(70)))), t(70));
        assert_eq!(due(hold(None, Some(t(7000)))), t(1000));
    }

    #[test]
    fn a_rewritten_recipient_is_due_now_under_its_new_address() {
        let to: mail::Mailbox = "bob@a.example".parse().unwrap();
        let row = settled(&recipient(), Settled::Rewritten { to: to.clone() }, None, t(10)).unwrap();
        assert_eq!((row.state, row.due, row.details.address), (RowState::Queued, t(10), Some(to)));
    }
}
