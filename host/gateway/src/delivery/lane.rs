//! One next hop, one lane: its jobs, its connections, and whether it can be reached.
//!
//! A lane that is offline takes no jobs; its prober alone tries to connect.

use super::{connection::Connection, deliver::Deliverer, job::Job};
use mail::{Domain, Failure, NextHop, Timestamp, TlsMode};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Connections to one next hop, at most.
const MAX_WORKERS: usize = 20;
/// A kept connection without work is closed after this time.
const IDLE: Duration = Duration::from_secs(5);
const FIRST_PROBE: Duration = Duration::from_millis(500);

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
    away: Option<Away>,
}

#[derive(Clone, Debug)]
pub struct Away {
    pub since: Timestamp,
    pub failure: Failure,
}

impl Lane {
    pub fn new(key: LaneKey) -> Arc<Self> {
        Arc::new(Self { key, state: Mutex::default(), work: Notify::new(), hurried: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn away(&self) -> Option<Away> {
        self.lock().away.clone()
    }

    /// Takes the job, or gives it back when the next hop is away.
    pub fn push(self: &Arc<Self>, job: Job, deliverer: &Arc<Deliverer>) -> Result<(), (Box<Job>, Away)> {
        let mut state = self.lock();
        if let Some(away) = &state.away {
            return Err((Box::new(job), away.clone()));
        }
        state.jobs.push_back(job);
        if state.jobs.len() > state.idle && state.workers < MAX_WORKERS {
            state.workers += 1;
            drop(state);
            deliverer.tasks.spawn(work(self.clone(), deliverer.clone()));
        } else {
            drop(state);
            self.work.notify_one();
        }
        Ok(())
    }

    /// None once there was nothing for a while, or the gateway stops: it need not wait for idle connections.
    async fn next_job(&self, shutdown: &CancellationToken) -> Option<Job> {
        loop {
            {
                let mut state = self.lock();
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

    /// The last worker leaves no job behind: nobody else would take it.
    fn worker_ended(&self) -> Vec<Job> {
        let mut state = self.lock();
        state.workers -= 1;
        if state.workers == 0 { state.jobs.drain(..).collect() } else { Vec::new() }
    }

    /// Marks the lane offline; the jobs that wait in it come back. The first to notice starts the prober.
    pub fn went_away(self: &Arc<Self>, failure: Failure, deliverer: &Arc<Deliverer>) -> (Away, Vec<Job>) {
        let now = deliverer.clock.now();
        let mut state = self.lock();
        let jobs: Vec<Job> = state.jobs.drain(..).collect();
        if let Some(away) = &state.away {
            return (away.clone(), jobs);
        }
        let away = Away { since: now, failure };
        state.away = Some(away.clone());
        drop(state);
        warn!(next_hop = %self.key.hop, state = "offline", reason = %away.failure);
        deliverer.went_away(&self.key, &away);
        deliverer.tasks.spawn(probe(self.clone(), deliverer.clone()));
        (away, jobs)
    }

    /// Its prober, if it is away, doesn't wait any longer.
    pub(super) fn try_now(&self) {
        if self.away().is_some() {
            self.hurried.notify_one();
        }
    }

    pub(super) fn came_back(&self) -> Option<Away> {
        self.lock().away.take()
    }
}

/// One connection's life: jobs in turn until there are none for a while, or the next hop is gone.
async fn work(lane: Arc<Lane>, deliverer: Arc<Deliverer>) {
    let mut kept: Option<Connection> = None;
    while let Some(job) = lane.next_job(&deliverer.shutdown).await {
        let connection = match kept.take() {
            Some(connection) => connection,
            None => match deliverer.connect(&lane.key).await {
                Ok(connection) => connection,
                Err(failure) => {
                    let left = lane.worker_ended();
                    for job in std::iter::once(job).chain(left) {
                        deliverer.connect_failed(&lane, job, failure.clone());
                    }
                    return;
                }
            },
        };
        kept = deliverer.attempt(&lane, connection, job).await;
    }
    if let Some(connection) = kept {
        connection.quit().await;
    }
}

/// Tries to connect with a growing wait until the next hop answers, then wakes all that waits for it.
async fn probe(lane: Arc<Lane>, deliverer: Arc<Deliverer>) {
    let mut wait = FIRST_PROBE;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait.mul_f64(0.8 + 0.4 * fastrand::f64())) => {}
            () = lane.hurried.notified() => {}
            () = deliverer.shutdown.cancelled() => return,
        }
        match deliverer.connect(&lane.key).await {
            Ok(connection) => {
                connection.quit().await;
                deliverer.came_back(&lane).await;
                return;
            }
            Err(failure) if !failure.kind.is_offline() => {
                // It answers, if only to say no: mails get that answer themselves.
                deliverer.came_back(&lane).await;
                return;
            }
            Err(_) if deliverer.is_forgotten(&lane.key) => {
                lane.came_back();
                info!(next_hop = %lane.key.hop, "no domain names it any more, and nothing waits for it: no longer tried");
                return;
            }
            Err(_) => {
                let away = lane.away().map_or(Duration::ZERO, |away| deliverer.clock.now().since(away.since));
                wait = next_probe(wait, away);
            }
        }
    }
}

/// Doubles, up to a tenth of the time away, but not under 5 s and not over 30 s: a short outage
/// ends within seconds, a long one costs little.
fn next_probe(wait: Duration, away: Duration) -> Duration {
    (wait * 2).min((away / 10).clamp(Duration::from_secs(5), Duration::from_secs(30)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_never_more_than_half_a_minute_apart() {
        assert_eq!(next_probe(FIRST_PROBE, Duration::from_secs(1)), Duration::from_secs(1));
        assert_eq!(next_probe(Duration::from_secs(4), Duration::from_secs(10)), Duration::from_secs(5));
        assert_eq!(next_probe(Duration::from_secs(20), Duration::from_secs(86400)), Duration::from_secs(30));
    }
    #[tokio::test]
    async fn a_lane_without_work_does_not_keep_a_stopping_gateway_waiting() {
        let lane = Lane::new(LaneKey { hop: "127.0.0.1:25".parse().unwrap(), tls: TlsMode::None, domain: None });
        lane.lock().workers = 1;
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        let job = tokio::time::timeout(IDLE / 2, lane.next_job(&shutdown)).await;
        assert!(matches!(job, Ok(None)));
        assert_eq!(lane.lock().workers, 0);
    }
}
