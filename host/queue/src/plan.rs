//! Decides what a group writes, and what follows for the index and the callers once it is durable.

use crate::claim::Claim;
use crate::inbox::{Accepted, Op, Work};
use crate::index::{Index, Wait};
use crate::model::{EnqueueError, State};
use crate::settle;
use crate::shared::Shared;
use crate::store::{Change, Details, Location, Row, RowState, Seq, Store, StoreError};
use mail::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;

/// One group on its way.
pub(crate) struct Plan {
    pub(crate) changes: Vec<Change>,
    /// Some of its bodies take the place of what is safe already, so no record may speak of them before they are.
    pub(crate) bodies_first: bool,
    planned: Vec<Planned>,
    /// Recipients that this group ends, by mail: the index learns of them only when they are durable.
    ending: HashMap<Seq, u32>,
}

/// An op with the places that it got.
struct Planned {
    op: Op,
    place: Option<(Seq, Location)>,
}

impl Plan {
    pub(crate) fn new(changes: Vec<Change>) -> Self {
        Self { changes, bodies_first: false, planned: Vec::new(), ending: HashMap::new() }
    }

    /// Appends the op's bodies and adds its changes. The op comes back with an error, nothing of it planned.
    pub(crate) fn add(
        &mut self,
        op: Op,
        store: &mut dyn Store,
        next_seq: &mut Seq,
        shared: &Shared,
    ) -> Result<(), Box<(Op, StoreError)>> {
        let appended = match &op {
            Op::Enqueue { mail, .. } => Some(store.append(mail.mail.id, &mail.content)),
            Op::Settle { work, .. } => work.dsn.as_ref().map(|dsn| store.append(dsn.mail.id, &dsn.content)),
            Op::Move { id, content, seq, from } => {
                let still_there = shared.index().location(*seq) == Some(*from);
                still_there.then(|| store.append(*id, content))
            }
            Op::Hold { .. } => None,
        };
        let at = match appended.transpose() {
            Ok(at) => at,
            Err(error) => return Err(Box::new((op, error))),
        };
        let place = at.map(|at| match &op {
            Op::Move { seq, .. } => (*seq, at),
            _ => {
                *next_seq += 1;
                (*next_seq, at)
            }
        });
        self.bodies_first |= place.is_some() && !matches!(op, Op::Enqueue { .. });
        self.add_changes(&op, place, &shared.index());
        self.planned.push(Planned { op, place });
        Ok(())
    }

    fn add_changes(&mut self, op: &Op, place: Option<(Seq, Location)>, index: &Index) {
        match (op, place) {
            (Op::Enqueue { mail, .. }, Some((seq, at))) => self.insert(mail, seq, at),
            (Op::Settle { work, .. }, place) => {
                self.settle(work, index);
                if let (Some(dsn), Some((seq, at))) = (&work.dsn, place) {
                    self.insert(dsn, seq, at);
                }
            }
            (Op::Hold { seq, rows }, _) => {
                self.changes.extend(rows.iter().map(|(i, row)| Change::PutRow {
                    seq: *seq,
                    index: *i,
                    row: row.clone(),
                }));
            }
            (Op::Move { .. }, Some((seq, at))) => self.changes.push(Change::MoveBody { seq, at }),
            (Op::Move { .. } | Op::Enqueue { .. }, None) => {}
        }
    }

    fn insert(&mut self, new: &Accepted, seq: Seq, at: Location) {
        self.changes.push(Change::Insert { seq, at, mail: new.mail.clone(), encoded: new.encoded.clone() });
        if let Some(row) = &new.row {
            let rows = (0..new.mail.envelope.recipients.len() as u32).map(|i| Change::PutRow {
                seq,
                index: i,
                row: row.clone(),
            });
            self.changes.extend(rows);
        }
    }

    fn settle(&mut self, work: &Work, index: &Index) {
        let seq = work.guard.seq;
        let ending = self.ending.entry(seq).or_default();
        let ends_here = work.moves.iter().filter(|(_, row)| row.is_none()).count() as u32;
        let live = index.live(seq).saturating_sub(*ending);
        *ending += ends_here;
        if live == 0 {
            return;
        }
        if ends_here >= live {
            self.changes.push(Change::Remove { seq });
            return;
        }
        let damaged = index.is_damaged(seq);
        for (i, row) in &work.moves {
            self.changes.push(Change::PutRow { seq, index: *i, row: final_row(row.as_ref(), damaged) });
        }
        if let Some(attributes) = &work.attributes {
            self.changes.push(Change::SetAttributes { seq, attributes: attributes.clone() });
        }
    }

    /// The group is durable: the index follows, then the callers hear.
    pub(crate) fn succeed(self, shared: &Arc<Shared>, now: Timestamp) {
        let mut index = shared.index();
        let before = index.next_due();
        for planned in &self.planned {
            planned.update(&mut index, now);
        }
        let after = index.next_due();
        drop(index);
        if after.is_some() && (before.is_none() || after < before) {
            shared.notify();
        }
        for planned in self.planned {
            planned.answer(shared, now);
        }
    }

    /// Nothing of the group may be taken as done. Enqueues hear `error`; the rest must be written again.
    pub(crate) fn fail(self, error: &EnqueueError) -> Vec<Op> {
        self.planned.into_iter().filter_map(|planned| refuse(planned.op, error)).collect()
    }
}

/// An enqueue hears `error`; anything else comes back.
pub(crate) fn refuse(op: Op, error: &EnqueueError) -> Option<Op> {
    match op {
        Op::Enqueue { ticket, .. } => {
            ticket.answer(Err(error.clone()));
            None
        }
        other => Some(other),
    }
}

impl Planned {
    fn update(&self, index: &mut Index, now: Timestamp) {
        match (&self.op, self.place) {
            (Op::Enqueue { mail, .. }, Some((seq, at))) => insert(index, mail, seq, at, now),
            (Op::Settle { work, .. }, place) => {
                let seq = work.guard.seq;
                let damaged = index.is_damaged(seq);
                for (i, row) in &work.moves {
                    index.set(seq, *i, final_row(row.as_ref(), damaged).wait().as_ref());
                }
                if let (Some(dsn), Some((seq, at))) = (&work.dsn, place) {
                    insert(index, dsn, seq, at, now);
                }
            }
            (Op::Hold { seq, rows }, _) => {
                for (i, row) in rows {
                    index.set(*seq, *i, row.wait().as_ref());
                }
            }
            (Op::Move { .. }, Some((seq, at))) => index.relocate(seq, at),
            (Op::Move { .. } | Op::Enqueue { .. }, _) => {}
        }
    }

    fn answer(self, shared: &Arc<Shared>, now: Timestamp) {
        let fresh = |new: Accepted, seq| {
            let claimed = new.row.is_none();
            Claim::fresh(shared, seq, new.mail, new.content, claimed)
        };
        // A caller that is gone drops the claim, and the mail is due again soon.
        match (self.op, self.place) {
            (Op::Enqueue { mail, ticket }, Some((seq, _))) => ticket.answer(Ok(fresh(*mail, seq))),
            (Op::Settle { mut work, ticket }, place) => {
                let mut left: Vec<u32> = work.guard.disarm();
                left.retain(|i| !work.moves.iter().any(|(moved, _)| moved == i));
                if !left.is_empty() {
                    shared.give_back(work.guard.seq, &left, now);
                }
                let dsn = work.dsn.take().zip(place).map(|(dsn, (seq, _))| fresh(dsn, seq));
                ticket.answer(Ok(dsn));
            }
            (Op::Enqueue { .. } | Op::Hold { .. } | Op::Move { .. }, _) => {}
        }
    }
}

fn insert(index: &mut Index, new: &Accepted, seq: Seq, at: Location, now: Timestamp) {
    let claimed = Wait { state: State::Claimed, due: now, waiting_for: None };
    let wait = new.row.as_ref().and_then(Row::wait).unwrap_or(claimed);
    let mail = &new.mail;
    index.insert(seq, mail.id, &mail.domain, at, mail.envelope.recipients.len() as u32, &wait);
}

/// Done where there is no row; a mail whose body is damaged waits for a person instead of an attempt.
fn final_row(row: Option<&Row>, damaged: bool) -> Row {
    match row {
        None => {
            Row { state: RowState::Done, due: Timestamp::default(), waiting_for: None, details: Details::default() }
        }
        Some(row) if damaged && row.due != Timestamp::NEVER => settle::damaged(Some(row.clone())),
        Some(row) => row.clone(),
    }
}
