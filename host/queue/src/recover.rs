//! Decides what is found at start: the index from the records, and which mails cannot be trusted.

use crate::fail_point::{self, FailPoint};
use crate::inbox::Op;
use crate::index::{Index, Wait};
use crate::model::{Recovered, State};
use crate::settle;
use crate::store::{Location, Medium, RowState, Scanned, Seq, StoreError};
use mail::{MailId, Timestamp};
use std::{collections::HashMap, time::Duration};

pub(crate) struct Found {
    pub(crate) index: Index,
    pub(crate) recovered: Recovered,
    pub(crate) last_seq: Seq,
    /// Mails to be held, which the index already shows as held.
    pub(crate) holds: Vec<Op>,
    /// Segments that no mail refers to.
    pub(crate) empty_segments: Vec<u32>,
}

/// Only these can end in bodies that were never synced; the others are checked for length alone.
const SUSPECT_SEGMENTS: usize = 2;
/// A clock that was set back by no more delays nothing for long.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

pub(crate) fn recover(medium: &dyn Medium, now: Timestamp) -> Result<Found, StoreError> {
    let mut index = Index::default();
    let mut last_seq = 0;
    let mut unsound: Vec<Seq> = Vec::new();
    let mut mails: Vec<(Seq, MailId, Location)> = Vec::new();
    let mut is_from_the_future = false;
    medium.scan(&mut |scanned| match scanned {
        Scanned::Mail { seq, id, domain, recipients, at, .. } => {
            last_seq = seq.max(last_seq);
            let wait = Wait { state: State::Queued, due: now, waiting_for: None };
            index.insert(seq, id, &domain, at, recipients, &wait);
            is_from_the_future = id.arrived() > now.plus(CLOCKS_DIFFER);
            mails.push((seq, id, at));
        }
        Scanned::Row { seq, index: i, state, due, waiting_for } => {
            // The clock has been set back since: a wait that was short then could now last as long as it was set back.
            let due = if is_from_the_future && state == RowState::Deferred { now } else { due };
            index.set(seq, i, settle::wait(state, due, waiting_for).as_ref());
        }
        Scanned::Damaged { seq, why } => {
            tracing::error!(seq, %why, "record damaged: left where it is");
            last_seq = seq.max(last_seq);
            unsound.push(seq);
        }
    })?;
    fail_point::reached(FailPoint::Scanned);
    let lengths: HashMap<u32, u64> = medium.segments()?.into_iter().collect();
    lengths.iter().for_each(|(segment, length)| index.segments.set_size(*segment, *length));
    if !unsound.is_empty() {
        // Where its body is cannot be trusted either.
        lengths.keys().for_each(|segment| index.segments.pin(*segment));
    }
    unsound.dedup();
    let mut set_aside = unsound.len() as u64;
    let mut holds: Vec<Op> = unsound.into_iter().filter_map(|seq| hold(&mut index, seq)).collect();
    for (seq, id) in damaged(medium, &lengths, mails) {
        tracing::error!(queue_id = %id, "body damaged or missing: the mail is held");
        set_aside += 1;
        holds.extend(hold(&mut index, seq));
    }
    fail_point::reached(FailPoint::BodiesChecked);
    let empty_segments = index.segments.take_empty(None);
    let counts = index.counts();
    let recipients = counts.queued + counts.deferred + counts.held + counts.quarantined;
    let dropped_segments = empty_segments.len() as u64;
    let recovered = Recovered { mails: counts.mails, recipients, set_aside, dropped_segments, set_aside_store: None };
    Ok(Found { index, recovered, last_seq, holds, empty_segments })
}

fn damaged(
    medium: &dyn Medium,
    lengths: &HashMap<u32, u64>,
    mails: Vec<(Seq, MailId, Location)>,
) -> Vec<(Seq, MailId)> {
    let mut numbers: Vec<u32> = lengths.keys().copied().collect();
    numbers.sort_unstable();
    let suspect = numbers.iter().rev().nth(SUSPECT_SEGMENTS - 1).copied().unwrap_or(0);
    let is_damaged = |id: MailId, at: Location| {
        let end = u64::from(at.offset) + u64::from(at.length);
        let too_short = lengths.get(&at.segment).is_none_or(|length| *length < end);
        // A passing error of the disk is no damage: it shows again when the mail's turn comes.
        too_short || (at.segment >= suspect && medium.body(at, id).is_err_and(|e| crate::store::is_damage(&e)))
    };
    mails.into_iter().filter(|(_, id, at)| is_damaged(*id, *at)).map(|(seq, id, _)| (seq, id)).collect()
}

/// Holds all recipients of `seq` that are not done.
fn hold(index: &mut Index, seq: Seq) -> Option<Op> {
    index.mark_damaged(seq);
    // Who waits for a person already goes on doing so.
    let due = index.of_mail(seq).into_iter().filter(|seen| seen.due != Timestamp::NEVER);
    let rows: Vec<_> = due.map(|seen| (seen.index, settle::damaged(None))).collect();
    for (i, row) in &rows {
        index.set(seq, *i, row.wait().as_ref());
    }
    (!rows.is_empty()).then_some(Op::Hold { seq, rows })
}
