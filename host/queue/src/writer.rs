//! The one thread that writes: groups what waits, answers when it is durable, and recovers from failure.

use crate::fail_point::{self, FailPoint};
use crate::inbox::{Op, Turn};
use crate::kv::{Batch, Kv};
use crate::model::{EnqueueError, Health};
use crate::plan::{self, Plan};
use crate::shared::Shared;
use crate::store::{Change, Scanned, Seq, Store, StoreError};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) struct Writer {
    shared: Arc<Shared>,
    kv: Arc<Kv>,
    /// None after a failure, until the medium could be opened again.
    store: Option<Box<dyn Store>>,
    /// The last that was given.
    last_seq: Seq,
    /// What a failed group still owes, in order. Enqueues are never among it.
    carry: Vec<Op>,
    /// When the carry is tried again.
    retry_at: Option<Instant>,
    next_purge: Instant,
    next_move: Instant,
    /// When a full medium is looked at again though nobody writes.
    next_look: Option<Instant>,
}

const PURGE_EVERY: Duration = Duration::from_secs(30);
/// Bodies moved at a time: what an enqueue may have to wait for.
const MOVE_BYTES: u64 = 4 << 20;
const MOVE_MAILS: usize = 256;
/// Attempts to write what is owed before a close gives up.
const LAST_ATTEMPTS: u32 = 3;

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, kv: Arc<Kv>, store: Box<dyn Store>, last_seq: Seq) -> Self {
        let now = Instant::now();
        let next_move = now + shared.options.move_interval;
        Self {
            shared,
            kv,
            store: Some(store),
            last_seq,
            carry: Vec::new(),
            retry_at: None,
            next_purge: now + PURGE_EVERY,
            next_move,
            next_look: None,
        }
    }

    pub(crate) fn run(mut self) {
        let shared = self.shared.clone();
        let _close = CloseOnDrop(&shared);
        loop {
            let idle_until = self.next_move.min(self.next_purge).min(self.next_look.unwrap_or(self.next_move));
            let until = self.retry_at.unwrap_or(idle_until);
            match shared.inbox.next(until, || shared.outstanding(0)) {
                Turn::Closed => break,
                Turn::Group(ops) => self.turn(ops),
            }
        }
        for _ in 0..LAST_ATTEMPTS {
            if self.store.is_none() || !self.carry.is_empty() {
                self.retry_at = Some(Instant::now());
                self.turn(Vec::new());
            }
        }
        if !self.carry.is_empty() {
            tracing::error!(
                outcomes = self.carry.len(),
                "closed before outcomes could be written: they may be repeated"
            );
        }
        if let Some(store) = self.store.take() {
            store.close();
        }
    }

    fn turn(&mut self, ops: Vec<Op>) {
        let retry = self.retry_at.is_some_and(|at| at <= Instant::now());
        if self.store.is_none() {
            self.owe(ops);
            if retry {
                self.reopen();
            }
        } else if self.retry_at.is_some() {
            // What is owed goes first: later outcomes may be of the same recipients.
            self.owe(ops);
            if retry {
                self.retry_at = None;
                let carry = std::mem::take(&mut self.carry);
                self.write(carry, Vec::new());
            }
        } else if !ops.is_empty() || self.kv.has_changes() {
            self.write(ops, Vec::new());
        }
        self.tidy();
    }

    /// Enqueues are refused, the rest is kept for later.
    fn owe(&mut self, ops: Vec<Op>) {
        let error = match self.shared.health() {
            Health::Unhealthy { reason, .. } => EnqueueError::Unhealthy(reason),
            Health::Full | Health::Healthy => EnqueueError::Full,
        };
        self.carry.extend(ops.into_iter().filter_map(|op| plan::refuse(op, &error)));
    }

    /// One group: bodies and records become durable together, or nothing of it is answered with success.
    /// True when it succeeded.
    fn write(&mut self, ops: Vec<Op>, before: Vec<Change>) -> bool {
        let Some(mut store) = self.store.take() else { return false };
        let mut batch = self.kv.take_changes();
        let mut plan = Plan::new(before);
        plan.changes.append(&mut batch.changes);
        let mut ops = ops.into_iter();
        let (mut full, mut later) = (false, Vec::new());
        while let Some(op) = ops.next() {
            match plan.add(op, &mut *store, &mut self.last_seq, &self.shared).map_err(|refused| *refused) {
                Ok(()) => {}
                Err((op, StoreError::Full)) => {
                    full = true;
                    // Before anybody hears of it.
                    self.shared.set_health(Health::Full);
                    later.extend(plan::refuse(op, &EnqueueError::Full));
                }
                Err((op, StoreError::Failed(reason))) => {
                    later.push(op);
                    later.extend(ops);
                    self.poison(plan, batch, later, reason);
                    return false;
                }
            }
        }
        match make_durable(&mut *store, &plan) {
            Ok(()) => {
                self.store = Some(store);
                self.kv.written(batch);
                fail_point::reached(FailPoint::Durable);
                plan.succeed(&self.shared, (self.shared.options.clock)());
                fail_point::reached(FailPoint::Answered);
                self.settle_health(full, later);
                true
            }
            Err(StoreError::Full) => {
                self.no_room(store, plan, batch, later);
                false
            }
            Err(StoreError::Failed(reason)) => {
                self.poison(plan, batch, later, reason);
                false
            }
        }
    }

    /// After a group that was written; `later` is what found no room for a body.
    fn settle_health(&mut self, full: bool, later: Vec<Op>) {
        self.shared.set_health(if full { Health::Full } else { Health::Healthy });
        self.next_look = full.then(|| Instant::now() + self.shared.options.reopen_interval);
        self.carry.splice(..0, later);
        self.try_again_with_more_room();
    }

    /// The commit found no room, so nothing of the group has happened.
    fn no_room(&mut self, mut store: Box<dyn Store>, plan: Plan, batch: Batch, later: Vec<Op>) {
        if let Err(error) = store.undo_appends() {
            return self.poison(plan, batch, later, error.to_string());
        }
        self.store = Some(store);
        self.shared.set_health(Health::Full);
        self.next_look = Some(Instant::now() + self.shared.options.reopen_interval);
        self.kv.not_written(batch);
        let owed = plan.fail(&EnqueueError::Full);
        self.carry.splice(..0, owed.into_iter().chain(later));
        self.try_again_with_more_room();
    }

    /// What is owed frees room, so it gets what was put aside; new mail never does.
    fn try_again_with_more_room(&mut self) {
        if self.carry.is_empty() {
            return;
        }
        let more_room = self.store.as_mut().is_some_and(|store| store.make_room());
        let wait = if more_room { Duration::ZERO } else { self.shared.options.reopen_interval };
        self.retry_at = Some(Instant::now() + wait);
    }

    /// What has happened is unknown: no descriptor of this store is used again.
    fn poison(&mut self, plan: Plan, batch: Batch, later: Vec<Op>, reason: String) {
        self.store = None;
        self.next_look = None;
        let since = match self.shared.health() {
            Health::Unhealthy { since, .. } => since,
            Health::Healthy | Health::Full => (self.shared.options.clock)(),
        };
        self.shared.set_health(Health::Unhealthy { reason: reason.clone(), since });
        fail_point::reached(FailPoint::Poisoned);
        self.kv.not_written(batch);
        let error = EnqueueError::Unhealthy(reason);
        let owed = plan.fail(&error).into_iter();
        self.carry.splice(..0, owed.chain(later.into_iter().filter_map(|op| plan::refuse(op, &error))));
        self.retry_at = Some(Instant::now() + self.shared.options.reopen_interval);
    }

    /// Opens anew, compares what is on disk with what is known, and writes what is owed.
    fn reopen(&mut self) {
        self.retry_at = Some(Instant::now() + self.shared.options.reopen_interval);
        let opened = self.shared.medium.open().and_then(|store| Ok((store, self.stored()?)));
        let (store, (sound, damaged)) = match opened {
            Ok(opened) => opened,
            Err(error) => return tracing::warn!(%error, "queue still cannot be opened"),
        };
        fail_point::reached(FailPoint::Reopened);
        self.last_seq = sound.iter().copied().max().unwrap_or(0).max(self.last_seq);
        let (strays, missing) = {
            let index = self.shared.index();
            let strays: Vec<Seq> = sound.iter().copied().filter(|seq| !index.contains(*seq)).collect();
            let missing: Vec<Seq> = index.seqs().filter(|seq| !sound.contains(seq) && !damaged.contains(seq)).collect();
            (strays, missing)
        };
        self.store = Some(store);
        self.retry_at = None;
        let carry = std::mem::take(&mut self.carry);
        // Mails that nobody knows of are of a group whose clients heard an error: they send again.
        let before = strays.into_iter().map(|seq| Change::Remove { seq }).collect();
        if self.write(carry, before) {
            fail_point::reached(FailPoint::StraysRemoved);
            self.forget(missing);
        } else {
            // Also when there was only no room: what must go first has not gone.
            self.store = None;
            self.retry_at = Some(Instant::now() + self.shared.options.reopen_interval);
        }
    }

    /// Sound records, and damaged ones: those are there too, and nobody's to remove.
    fn stored(&self) -> Result<(HashSet<Seq>, HashSet<Seq>), StoreError> {
        let (mut sound, mut damaged) = (HashSet::new(), HashSet::new());
        self.shared.medium.scan(&mut |scanned| match scanned {
            Scanned::Mail { seq, .. } => {
                sound.insert(seq);
            }
            Scanned::Damaged { seq, .. } => {
                damaged.insert(seq);
            }
            Scanned::Row { .. } => {}
        })?;
        Ok((sound, damaged))
    }

    /// Mails in memory that the disk doesn't have, though it once said so.
    fn forget(&self, missing: Vec<Seq>) {
        let mut index = self.shared.index();
        for seq in missing {
            if let Some(id) = index.id(seq) {
                tracing::error!(queue_id = %id, "record lost by the disk");
                index.remove(seq);
            }
        }
    }

    /// What needs doing now and then, when the callers have their answers.
    fn tidy(&mut self) {
        let now = Instant::now();
        if now >= self.next_purge {
            self.next_purge = now + PURGE_EVERY;
            self.kv.purge();
        }
        if now >= self.next_move {
            self.next_move = now + self.shared.options.move_interval;
            self.empty_sparse_segment();
        }
        self.look_for_room(now);
        let Some(store) = &mut self.store else { return };
        let empty = self.shared.index().segments.take_empty(store.current_segment());
        for number in empty {
            fail_point::reached(FailPoint::Unlinking);
            if let Err(error) = store.remove_segment(number) {
                tracing::warn!(number, %error, "segment not removed; the next start will");
            }
            fail_point::reached(FailPoint::Unlinked);
        }
        if let Err(StoreError::Failed(reason)) = store.tidy() {
            self.poison(Plan::new(Vec::new()), self.kv.take_changes(), Vec::new(), reason);
        }
    }

    /// A full medium that nobody writes to would be called full for ever.
    fn look_for_room(&mut self, now: Instant) {
        let Some(store) = self.store.as_mut().filter(|_| self.next_look.is_some_and(|at| at <= now)) else { return };
        let has_room = self.retry_at.is_none() && store.has_room();
        self.next_look = (!has_room).then(|| now + self.shared.options.reopen_interval);
        if has_room {
            self.shared.set_health(Health::Healthy);
        }
    }

    /// Moves some bodies out of a segment that is kept for few.
    fn empty_sparse_segment(&mut self) {
        let Some(store) = self.store.as_ref().filter(|_| self.retry_at.is_none()) else { return };
        let least = u64::from(self.shared.options.segment_size) / 4;
        let Some(segment) = self.shared.index().segments.sparse(store.current_segment(), least) else { return };
        let mut mails = self.shared.index().in_segment(segment);
        mails.sort_unstable_by_key(|(_, _, at)| at.offset);
        let (mut moves, mut bytes) = (Vec::new(), 0);
        for (seq, id, from) in mails.into_iter().take(MOVE_MAILS) {
            match self.shared.medium.body(from, id) {
                Ok(content) => moves.push(Op::Move { seq, id, from, content }),
                Err(_) => self.shared.index().segments.set_stuck(segment),
            }
            bytes += u64::from(from.length);
            if bytes >= MOVE_BYTES {
                break;
            }
        }
        if !moves.is_empty() {
            fail_point::reached(FailPoint::Moving);
            self.write(moves, Vec::new());
            fail_point::reached(FailPoint::Moved);
        }
    }
}

/// Bodies and records at the same time, unless the bodies must come first. Whatever the commit says, the sync is waited
/// for. A disk that turns out to be full only while it syncs has left what was written in an unknown state.
fn make_durable(store: &mut dyn Store, plan: &Plan) -> Result<(), StoreError> {
    let finish = |store: &mut dyn Store| store.finish_sync().map_err(|error| StoreError::Failed(error.to_string()));
    store.start_sync()?;
    if plan.bodies_first {
        finish(store)?;
        return store.commit(&plan.changes);
    }
    let committed = store.commit(&plan.changes);
    finish(store)?;
    committed
}

struct CloseOnDrop<'a>(&'a Shared);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Nobody could write any more, and a gateway that only refuses is worse than one that starts anew: what it
            // has promised is on disk.
            tracing::error!("the queue's writer has panicked: the process ends");
            std::process::abort();
        }
        self.0.inbox.close();
    }
}
