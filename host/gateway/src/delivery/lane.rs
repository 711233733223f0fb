//! One next hop, one lane: its jobs, its connections, and whether mail can go there.
//!
//! A lane takes jobs while it is open. While its next hop is away it takes none, and its prober alone tries to connect;
//! while its next hop refuses everything it takes one mail at a time, to see.

use super::{
    breaker::{Answer, Recent},
    concurrency::Concurrency,
    deliver::Deliverer,
    doubt::TRUSTED_AFTER,
    job::Job,
    probing, worker,
};
use mail::{Domain, Failure, NextHop, Timestamp, TlsMode};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A kept connection without work is closed after this time.
const IDLE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LaneKey {
    pub hop: NextHop,
    pub tls: TlsMode,
    /// Whose it is alone: of a domain that asks for proof of its next hop, or says itself where it is.
    pub domain: Option<Domain>,
}

pub struct Lane {
    pub key: LaneKey,
    state: Mutex<State>,
    work: Notify,
    /// Somebody knows of a reason to try again now.
    hurried: Notify,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    workers: usize,
    idle: usize,
    /// Workers that have a connection.
    connected: usize,
    concurrency: Concurrency,
    condition: Condition,
    recent: Recent,
    /// Since when it is open again after an outage.
    back_at: Option<Timestamp>,
    /// Mails that it has taken since then, or since a route was changed to it.
    taken: u32,
    /// It has refused everything for as long as refusals are doubted: from now on they are believed.
    believed: bool,
    /// People were told that refusals are held.
    told: bool,
    /// How often it was closed for refusing: each closing has a prober of its own.
    closings: u64,
    /// It has put everything off, and now takes mail again: a little more at a time.
    easing: bool,
}

#[derive(Default)]
enum Condition {
    #[default]
    Open,
    /// It cannot be reached, or does not let us in.
    Away(Away),
    /// It answers, and refuses.
    Refusing(Away, Trial),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// The next job is let through.
    Due,
    Out,
    Waiting,
}

#[derive(Clone, Debug)]
pub struct Away {
    pub since: Timestamp,
    pub failure: Failure,
}

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    None,
    /// It takes mail again: whoever waits for it may go.
    Opened,
    /// It refuses: the lane takes no more.
    Closed,
    /// It takes mail again after it had put everything off: a few more of those who wait may go.
    Eased,
}

impl Lane {
    pub fn new(key: LaneKey) -> Arc<Self> {
        Arc::new(Self { key, state: Mutex::default(), work: Notify::new(), hurried: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it takes no jobs, if so.
    pub fn away(&self) -> Option<Away> {
        match &self.lock().condition {
            Condition::Open => None,
            Condition::Away(away) | Condition::Refusing(away, _) => Some(away.clone()),
        }
    }

    pub fn is_refusing(&self) -> bool {
        matches!(self.lock().condition, Condition::Refusing(..))
    }

    pub(super) async fn hurried(&self) {
        self.hurried.notified().await;
    }

    /// Nobody would miss it.
    pub fn is_unused(&self) -> bool {
        let state = self.lock();
        matches!(state.condition, Condition::Open) && state.workers == 0 && state.jobs.is_empty()
    }

    /// Takes the job, or gives it back when the next hop takes none now.
    pub fn push(self: &Arc<Self>, job: Job, deliverer: &Arc<Deliverer>) -> Result<(), (Box<Job>, Away)> {
        let mut state = self.lock();
        match &mut state.condition {
            Condition::Open => {}
            Condition::Refusing(_, trial) if *trial == Trial::Due => *trial = Trial::Out,
            Condition::Refusing(away, _) | Condition::Away(away) => return Err((Box::new(job), away.clone())),
        }
        state.jobs.push_back(job);
        self.call_worker(state, deliverer);
        Ok(())
    }

    /// A job that its worker could not begin, for the lane's other connections.
    pub(super) fn put_back(self: &Arc<Self>, job: Job, deliverer: &Arc<Deliverer>) {
        let mut state = self.lock();
        state.jobs.push_front(job);
        self.call_worker(state, deliverer);
    }

    fn call_worker(self: &Arc<Self>, mut state: MutexGuard<'_, State>, deliverer: &Arc<Deliverer>) {
        if state.jobs.len() > state.idle && state.workers < state.concurrency.limit() {
            state.workers += 1;
            drop(state);
            deliverer.tasks.spawn(worker::work(self.clone(), deliverer.clone()));
        } else {
            drop(state);
            self.work.notify_one();
        }
    }

    /// None once there was nothing for a while, there are more workers than there should be, or the gateway stops: it need
    /// not wait for idle connections.
    pub(super) async fn next_job(&self, shutdown: &CancellationToken) -> Option<Job> {
        loop {
            {
                let mut state = self.lock();
                if state.workers > state.concurrency.limit() {
                    state.workers -= 1;
                    return None;
                }
                if let Some(job) = state.jobs.pop_front() {
                    return Some(job);
                }
                state.idle += 1;
            }
            let woken = tokio::select! {
                () = self.work.notified() => true,
                () = tokio::time::sleep(IDLE) => false,
                () = shutdown.cancelled() => false,
            };
            let mut state = self.lock();
            state.idle -= 1;
            if !woken && state.jobs.is_empty() {
                state.workers -= 1;
                return None;
            }
        }
    }

    /// A worker's connection is open, or no more.
    pub(super) fn connected(&self, open: bool) {
        let mut state = self.lock();
        state.connected = if open { state.connected + 1 } else { state.connected.saturating_sub(1) };
    }

    /// A worker ends for it was not let in. True when the lane has other connections: then the next hop is not away, it
    /// wants fewer.
    pub(super) fn not_let_in(&self) -> bool {
        let mut state = self.lock();
        let open = state.connected;
        state.workers -= 1;
        if open > 0 {
            state.concurrency.failed(open);
        }
        open > 0
    }

    /// A connection broke in the middle of a mail.
    pub(super) fn broke(&self) {
        let mut state = self.lock();
        let open = state.connected;
        state.concurrency.failed(open);
    }

    /// Marks the lane offline; the jobs that wait in it come back. The first to notice starts the prober.
    pub fn went_away(
        self: &Arc<Self>,
        failure: Failure,
        first: Duration,
        deliverer: &Arc<Deliverer>,
    ) -> (Away, Vec<Job>) {
        let now = deliverer.clock.now();
        let mut state = self.lock();
        let jobs: Vec<Job> = state.jobs.drain(..).collect();
        if let Condition::Away(away) = &state.condition {
            return (away.clone(), jobs);
        }
        let away = Away { since: now, failure };
        state.condition = Condition::Away(away.clone());
        state.concurrency = Concurrency::default();
        drop(state);
        warn!(next_hop = %self.key.hop, state = "offline", reason = %away.failure);
        deliverer.tell_away(&self.key, &away);
        deliverer.tasks.spawn(probing::until_back(self.clone(), first, deliverer.clone()));
        (away, jobs)
    }

    /// Its prober, if it is away, doesn't wait any longer.
    pub(super) fn try_now(&self) {
        if self.away().is_some() {
            self.hurried.notify_one();
        }
    }

    /// What it is away for now; true where that is of another kind than before.
    pub(super) fn still_away(&self, failure: Failure) -> bool {
        match &mut self.lock().condition {
            Condition::Away(away) => std::mem::replace(&mut away.failure, failure.clone()).kind != failure.kind,
            Condition::Open | Condition::Refusing(..) => false,
        }
    }

    /// Open again after an outage, which its refusals may be part of.
    pub(super) fn came_back(&self, now: Timestamp) -> Option<Away> {
        let mut state = self.lock();
        let away = match std::mem::take(&mut state.condition) {
            Condition::Away(away) => away,
            other => {
                state.condition = other;
                return None;
            }
        };
        state.back_at = Some(now);
        self.doubt(&mut state);
        Some(away)
    }

    /// Mail is sent here from now on that was not before.
    pub(super) fn route_changed(&self) {
        let mut state = self.lock();
        self.doubt(&mut state);
        if matches!(state.condition, Condition::Refusing(..)) {
            state.condition = Condition::Open;
        }
    }

    fn doubt(&self, state: &mut State) {
        (state.taken, state.believed, state.told) = (0, false, false);
        state.recent.forget();
    }

    /// Since when its refusals are doubted; none when they are believed. `changed` is when the domain's route did.
    pub(super) fn doubted_since(&self, changed: Option<Timestamp>) -> Option<Timestamp> {
        let state = self.lock();
        match &state.condition {
            _ if state.believed => None,
            Condition::Refusing(away, _) => Some(away.since),
            _ => state.back_at.filter(|_| state.taken < TRUSTED_AFTER).max(changed),
        }
    }

    /// True once for each doubt.
    pub(super) fn is_first_to_tell(&self) -> bool {
        !std::mem::replace(&mut self.lock().told, true)
    }

    /// What the next hop made of a mail. `doubted`: its refusals are.
    pub(super) fn note(
        self: &Arc<Self>,
        answer: Answer,
        failure: Option<&Failure>,
        doubted: bool,
        deliverer: &Arc<Deliverer>,
    ) -> Turn {
        let mut state = self.lock();
        let was_putting_off = state.recent.is_putting_off();
        let taken = answer == Answer::Taken;
        state.recent.note(answer);
        if taken {
            state.taken = state.taken.saturating_add(1);
            // Refusals that were kept may have been about the rest of the mail too.
            let kept = std::mem::take(&mut state.told);
            state.believed = false;
            state.concurrency.succeeded();
            state.easing |= was_putting_off;
            let easing = state.easing;
            let refusing = matches!(state.condition, Condition::Refusing(..));
            if refusing {
                state.condition = Condition::Open;
                state.recent.forget();
            }
            if !state.jobs.is_empty() {
                self.call_worker(state, deliverer);
            }
            return match (refusing || kept, easing) {
                (true, _) => Turn::Opened,
                (false, true) => Turn::Eased,
                (false, false) => Turn::None,
            };
        }
        state.easing = false;
        let refusing = !state.believed && state.recent.is_refusing(doubted);
        match (&mut state.condition, failure) {
            (Condition::Refusing(_, trial), _) => *trial = Trial::Waiting,
            (Condition::Open, Some(failure)) if refusing => {
                let away = Away { since: deliverer.clock.now(), failure: failure.clone() };
                state.condition = Condition::Refusing(away, Trial::Waiting);
                state.closings += 1;
                return Turn::Closed;
            }
            _ => {}
        }
        Turn::None
    }

    pub(super) fn is_putting_off(&self) -> bool {
        self.lock().recent.is_putting_off()
    }

    pub(super) fn take_waiting(&self) -> Vec<Job> {
        self.lock().jobs.drain(..).collect()
    }

    /// Nobody waits any more who was put off.
    pub(super) fn eased(&self) {
        self.lock().easing = false;
    }

    /// Which closing this is.
    pub(super) fn closing(&self) -> u64 {
        self.lock().closings
    }

    /// The next job may go through; false when the lane refuses no more, or anew.
    pub(super) fn try_one(&self, closing: u64) -> bool {
        let mut state = self.lock();
        if state.closings != closing {
            return false;
        }
        // A trial that got no answer, as when its connection broke, is over as well.
        let at_rest = state.jobs.is_empty() && state.workers == state.idle;
        let Condition::Refusing(_, trial) = &mut state.condition else { return false };
        if *trial == Trial::Waiting || at_rest {
            *trial = Trial::Due;
        }
        true
    }

    /// Refusals are believed from now on: what waits gets them.
    pub(super) fn believe(&self, closing: u64) {
        let mut state = self.lock();
        if state.closings == closing && matches!(state.condition, Condition::Refusing(..)) {
            (state.condition, state.believed) = (Condition::Open, true);
            info!(next_hop = %self.key.hop, "it still refuses everything: its refusals are believed now");
        }
    }

    /// Nobody waits for it: whoever comes next finds out. False while a trial is out, which has its answer to come.
    pub(super) fn reopen(&self, closing: u64) -> bool {
        let mut state = self.lock();
        match state.condition {
            Condition::Refusing(_, Trial::Out) if state.closings == closing => return false,
            Condition::Refusing(..) if state.closings == closing => {
                state.condition = Condition::Open;
                state.recent.forget();
            }
            _ => {}
        }
        true
    }
}

#[cfg(test)]
mod tests;
