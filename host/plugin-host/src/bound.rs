//! One plugin in one domain's chain: warm instances, the breaker, and a call from question to checked answer.
//!
//! An instance serves one call at a time and only this binding; it is gone after any failure.

use crate::{
    breaker::{Breaker, BreakerState},
    component::Loaded,
    failure::PluginFailure,
    guest::Question,
    host::{InTime, Shared},
    instance::Slot,
    opinion::Opinion,
    pace::{LONG, Pace, Start},
    record::{Cost, Report},
    state::Profile,
    subject::{Staged, Subject},
};
use mail::{CallRecord, Hook, Isolation, Mode, OnFailure};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) struct Bound {
    pub(crate) profile: Arc<Profile>,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) manner: Manner,
    pub(crate) breaker: Breaker,
    pub(crate) calls: AtomicU64,
    pub(crate) failures: AtomicU64,
    /// By hook.
    paces: [Pace; Hook::ALL.len()],
    /// Idle instances, the longest idle first.
    warm: Mutex<Vec<Slot>>,
    shared: Arc<Shared>,
}

/// How the domain binds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) isolation: Isolation,
    pub(crate) on_failure: Option<OnFailure>,
    pub(crate) mode: Mode,
    pub(crate) sample: u8,
}

/// Bytes that changes may look at without giving way.
const KEPT_AT_ONCE: usize = 1 << 20;
/// How long a call may take to notice that its time is over.
const GRACE: Duration = Duration::from_millis(50);

/// How many calls of a domain there may be.
pub(crate) struct Gate {
    /// Held by each running call.
    pub(crate) calls: Semaphore,
    /// Held by a long call while it computes.
    pub(crate) long: Arc<Semaphore>,
}

/// What came of a call. The facts that it was lent come back whatever happened, with its changes if they hold.
pub(crate) struct Asked<T> {
    pub(crate) subject: Subject,
    pub(crate) opinion: T,
    pub(crate) record: CallRecord,
}

/// The same before the policy has had its say.
struct Called<T> {
    subject: Subject,
    result: Result<(T, Staged), PluginFailure>,
    cost: Cost,
}

impl Bound {
    pub(crate) fn new(profile: Arc<Profile>, loaded: Arc<Loaded>, manner: Manner, shared: Arc<Shared>) -> Self {
        Self {
            profile,
            loaded,
            manner,
            breaker: Breaker::default(),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            paces: Default::default(),
            warm: Mutex::default(),
            shared,
        }
    }

    pub(crate) fn breaker_state(&self) -> BreakerState {
        self.breaker.state()
    }

    pub(crate) fn warm_count(&self) -> usize {
        self.warm().len()
    }

    /// Drops instances that have been idle for too long.
    pub(crate) fn sweep(&self, idle: Duration) {
        let old: Vec<Slot> = {
            let mut warm = self.warm();
            let fresh_from = warm.partition_point(|slot| slot.idle_since.elapsed() >= idle);
            warm.drain(..fresh_from).collect()
        };
        drop(old);
    }

    /// `gate` limits the calls of the domain.
    pub(crate) async fn ask<T: Opinion>(&self, gate: &Gate, hook: Hook, subject: Subject) -> Asked<T> {
        let at = (self.profile.clock)();
        let Called { mut subject, result, cost } = self.call::<T>(gate, hook, subject).await;
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (opinion, edits, failure) = match result {
            Ok((opinion, staged)) => {
                let mut edits = Vec::new();
                if opinion.keeps_changes() {
                    (subject, edits) = keep(subject, staged).await;
                }
                (opinion, edits, None)
            }
            Err(failure) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                (T::on_failure(self.manner.on_failure, hook, &self.profile.plugin), Vec::new(), Some(failure))
            }
        };
        let about = match &subject {
            Subject::Recipient { asked, .. } => Some(asked.to_string()),
            _ => None,
        };
        let report = Report { bound: self, hook, about, at, answer: opinion.text(), failure, edits, cost };
        report.log();
        Asked { subject, opinion, record: report.into_record() }
    }

    async fn call<T: Opinion>(&self, gate: &Gate, hook: Hook, subject: Subject) -> Called<T> {
        let started = Instant::now();
        let limit = self.profile.limits.time;
        let not_asked = |subject, failure| Called { subject, result: Err(failure), cost: Cost::waited(started) };
        let Some(permit) = self.breaker.permit(started) else {
            return not_asked(subject, PluginFailure::Broken);
        };
        let Some(_turn) = turn(&gate.calls, limit).await else {
            return not_asked(subject, PluginFailure::Busy(limit));
        };
        let Some(slot) = self.take(started + limit).await else {
            return not_asked(subject, PluginFailure::Busy(limit));
        };
        let (mut slot, mut asked) = self.ask_slot(slot, hook, subject, started, &gate.long).await;
        if is_crowded_out(&asked) {
            // Idle instances hold what is missing: once more without them.
            let subject = slot.store.data_mut().end().subject;
            self.shared.registry.evict_idle();
            let fresh = Slot::new(&self.shared, &self.profile);
            (slot, asked) = self.ask_slot(fresh, hook, subject, started, &gate.long).await;
        }
        let call = slot.store.data_mut().end();
        let meter = &slot.store.data().meter;
        let cost = Cost {
            wall: started.elapsed(),
            cpu: meter.course.spent(),
            peak_memory: meter.memory as u64,
            fuel: slot.fuel(),
            host_calls: call.host_calls,
        };
        let limits = &self.profile.limits;
        let result = match asked {
            _ if meter.hit == Some(crate::meter::Hit::Work) => Err(PluginFailure::Work(limits.work)),
            Ok(Ok(answer)) => T::check(answer, hook, &self.profile.domain).map_err(PluginFailure::Nonsense),
            Ok(Err(error)) if error.is::<wasmtime::PoolConcurrencyLimitError>() => Err(PluginFailure::Busy(cost.wall)),
            Ok(Err(error)) => Err(PluginFailure::from_engine(&error, meter.hit, limits)),
            Err(_) => Err(PluginFailure::Deadline(limit)),
        };
        match &result {
            Ok(_) => {
                permit.succeeded();
                self.give_back(slot);
            }
            Err(failure) if failure.is_the_plugins_fault() => permit.failed(Instant::now()),
            Err(_) => drop(permit),
        }
        Called { subject: call.subject, result: result.map(|answer| (answer, call.staged)), cost }
    }

    /// A slot with what the call is about comes back whatever happened.
    async fn ask_slot(
        &self,
        mut slot: Slot,
        hook: Hook,
        subject: Subject,
        started: Instant,
        turns: &Arc<Semaphore>,
    ) -> (Slot, InTime) {
        let left = self.profile.limits.time.saturating_sub(started.elapsed());
        let pace = self.paces.get(hook as usize);
        let start = pace.map_or(Start::Background, Pace::start);
        // Where nothing is left of the processor, nobody over there would notice that the time is over.
        let spare = (start != Start::Here).then(|| subject.clone());
        if let Err(error) = slot.begin(subject, left) {
            return (slot, Ok(Err(error)));
        }
        slot.course().begin(start == Start::Background);
        let asking = self.shared.ask(slot, &self.loaded, Question::Hook(hook), left, turns);
        let (slot, asked) = match spare {
            None => asking.await,
            Some(spare) => match tokio::time::timeout(left + GRACE, asking).await {
                Ok(asked) => asked,
                Err(elapsed) => (self.slot_in_place(spare), Err(elapsed)),
            },
        };
        if let Some(pace) = pace {
            let spent = slot.course().spent();
            if matches!(asked, Ok(Ok(_))) || spent >= LONG { pace.ended(start, spent) } else { pace.gave_up(start) }
        }
        (slot, asked)
    }

    /// Of one that is not given back: it holds what the call was about, and is never asked.
    fn slot_in_place(&self, subject: Subject) -> Slot {
        let mut slot = Slot::new(&self.shared, &self.profile);
        slot.store.data_mut().begin(subject);
        slot
    }

    /// A warm instance, or a fresh one as soon as there is room for it; none where that takes too long.
    async fn take(&self, deadline: Instant) -> Option<Slot> {
        if let Some(warm) = self.warm().pop() {
            return Some(warm);
        }
        if self.shared.is_full() {
            self.shared.registry.evict_idle();
        }
        if !self.shared.budget.has_room() {
            let waiting = tokio::time::timeout_at(deadline.into(), self.shared.budget.room());
            waiting.await.ok()?;
        }
        Some(Slot::new(&self.shared, &self.profile))
    }

    fn give_back(&self, mut slot: Slot) {
        slot.uses += 1;
        let pool = &self.shared.pool;
        let worn = slot.uses >= pool.uses || self.manner.isolation == Isolation::Transaction;
        if worn || self.shared.is_crowded() {
            return;
        }
        slot.idle_since = Instant::now();
        let mut warm = self.warm();
        if warm.len() < pool.warm {
            warm.push(slot);
        }
        drop(warm);
        if !self.shared.budget.has_room() {
            self.shared.budget.idle();
        }
    }

    fn warm(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Many changes of a large mail are not made where sessions wait.
async fn keep(mut subject: Subject, staged: Staged) -> (Subject, Vec<String>) {
    let header = subject.content().map_or(0, |content| content.header().len());
    if staged.edits.len().saturating_mul(header.saturating_add(staged.edit_bytes)) <= KEPT_AT_ONCE {
        let edits = subject.keep(staged);
        return (subject, edits);
    }
    let kept = tokio::task::spawn_blocking(move || {
        let edits = subject.keep(staged);
        (subject, edits)
    });
    match kept.await {
        Ok(kept) => kept,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Only when the process ends.
        Err(_) => std::future::pending().await,
    }
}

fn is_crowded_out(asked: &InTime) -> bool {
    matches!(asked, Ok(Err(error)) if error.is::<wasmtime::PoolConcurrencyLimitError>())
}

/// A turn among the domain's calls; none when there is no room in time.
async fn turn(gate: &Semaphore, limit: Duration) -> Option<SemaphorePermit<'_>> {
    if let Ok(permit) = gate.try_acquire() {
        return Some(permit);
    }
    tokio::time::timeout(limit, gate.acquire()).await.ok()?.ok()
}
