//! One plugin in one domain's chain: warm instances, the breaker, and a call from question to checked answer.
//!
//! An instance serves one call at a time and only this binding; it is gone after any failure.

use crate::{
    breaker::{Breaker, BreakerState},
    component::Loaded,
    failure::PluginFailure,
    host::Shared,
    instance::{Answer, Question, Slot},
    state::{Profile, Staged, Subject},
};
use mail::{Isolation, OnFailure};
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
    pub(crate) isolation: Isolation,
    pub(crate) on_failure: Option<OnFailure>,
    pub(crate) breaker: Breaker,
    pub(crate) calls: AtomicU64,
    pub(crate) failures: AtomicU64,
    /// Idle instances, the longest idle first.
    warm: Mutex<Vec<Slot>>,
    shared: Arc<Shared>,
}

/// What came of a call: the facts that it was lent come back whatever happened.
pub(crate) struct Called<T> {
    pub(crate) subject: Subject,
    pub(crate) result: Result<(T, Staged), PluginFailure>,
}

/// For the trace.
#[derive(Default)]
struct Spent {
    wall: Duration,
    ticks: u32,
    peak_memory: usize,
}

impl Bound {
    pub(crate) fn new(
        profile: Arc<Profile>,
        loaded: Arc<Loaded>,
        isolation: Isolation,
        on_failure: Option<OnFailure>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            profile,
            loaded,
            isolation,
            on_failure,
            breaker: Breaker::default(),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
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

    /// `check` turns the answer into what the gateway may use. `gate` limits the calls of the domain.
    pub(crate) async fn call<T: std::fmt::Debug>(
        &self,
        hook: &'static str,
        gate: &Semaphore,
        question: Question<'_>,
        subject: Subject,
        check: impl FnOnce(Answer) -> Result<T, String>,
    ) -> Called<T> {
        let started = Instant::now();
        let Some(permit) = self.breaker.permit(started) else {
            return self.ended(hook, Spent::default(), subject, Err(PluginFailure::Broken));
        };
        let limit = self.profile.limits.time;
        let Some(_turn) = turn(gate, limit).await else {
            return self.ended(hook, Spent::default(), subject, Err(PluginFailure::Busy(limit)));
        };
        let mut slot = self.take();
        slot.begin(subject);
        let left = limit.saturating_sub(started.elapsed());
        let asked = tokio::time::timeout(left, self.ask(&mut slot, question)).await;
        let (subject, staged) = slot.store.data_mut().end();
        let meter = &slot.store.data().meter;
        let spent = Spent { wall: started.elapsed(), ticks: meter.ticks, peak_memory: meter.peak_memory };
        let answer = match asked {
            Ok(Ok(answer)) => check(answer).map_err(PluginFailure::Nonsense),
            Ok(Err(error)) if error.is::<wasmtime::PoolConcurrencyLimitError>() => Err(PluginFailure::Busy(spent.wall)),
            Ok(Err(error)) => Err(PluginFailure::from_engine(&error, meter.hit, &self.profile.limits)),
            Err(_) => Err(PluginFailure::Deadline(limit)),
        };
        match &answer {
            Ok(_) => {
                permit.succeeded();
                self.give_back(slot);
            }
            Err(failure) if failure.is_the_plugins_fault() => permit.failed(Instant::now()),
            Err(_) => drop(permit),
        }
        self.ended(hook, spent, subject, answer.map(|answer| (answer, staged)))
    }

    /// Makes room once where all slots of the host are taken by idle instances.
    async fn ask(&self, slot: &mut Slot, question: Question<'_>) -> wasmtime::Result<Answer> {
        if slot.uses == 0 && self.shared.is_full() {
            self.shared.evict_idle();
        }
        slot.ask(&self.loaded, question).await
    }

    fn take(&self) -> Slot {
        let warm = self.warm().pop();
        warm.unwrap_or_else(|| Slot::new(&self.shared.engine, &self.profile, &self.shared.live))
    }

    fn give_back(&self, mut slot: Slot) {
        slot.uses += 1;
        let pool = &self.shared.pool;
        let worn = slot.uses >= pool.uses || self.isolation == Isolation::Transaction;
        if worn || self.shared.is_crowded() {
            return;
        }
        slot.idle_since = Instant::now();
        let mut warm = self.warm();
        if warm.len() < pool.warm {
            warm.push(slot);
        }
    }

    fn warm(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One line for each call.
    fn ended<T: std::fmt::Debug>(
        &self,
        hook: &'static str,
        spent: Spent,
        subject: Subject,
        result: Result<(T, Staged), PluginFailure>,
    ) -> Called<T> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (plugin, domain) = (&*self.profile.plugin, &self.profile.domain);
        let wall_us = spent.wall.as_micros() as u64;
        match &result {
            Ok((answer, staged)) => tracing::debug!(
                plugin, %domain, hook, verdict = ?answer, edits = staged.edits.len(), wall_us,
                cpu_ticks = spent.ticks, peak_memory = spent.peak_memory
            ),
            Err(failure) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                let backtrace = failure.frames().map(tracing::field::display);
                tracing::warn!(
                    plugin, %domain, hook, %failure, backtrace, wall_us, cpu_ticks = spent.ticks,
                    peak_memory = spent.peak_memory
                );
            }
        }
        Called { subject, result }
    }
}

/// A turn among the domain's calls; none when there is no room in time.
async fn turn(gate: &Semaphore, limit: Duration) -> Option<SemaphorePermit<'_>> {
    if let Ok(permit) = gate.try_acquire() {
        return Some(permit);
    }
    tokio::time::timeout(limit, gate.acquire()).await.ok()?.ok()
}
