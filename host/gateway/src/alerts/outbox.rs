//! Alerts that nobody has accepted yet: on disk, in one line for each target, tried until they are accepted.
//!
//! A slow target keeps only its own line waiting. What an alert says is decided elsewhere.

mod line;

use super::{
    notice::{Notice, short},
    send::Sender,
};
use crate::config::AlertTarget;
use line::{Line, MAX_AGE, backoff};
use mail::{Domain, MailId, Timestamp};
use queue::Queue;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

/// Where they are kept among the queue's facts.
const PREFIX: &str = "alert/out/";
/// All targets together; beyond, the oldest go.
const MAX_COUNT: usize = 10_000;
/// Bytes, likewise.
const MAX_BYTES: usize = 8 << 20;
/// How long a try that is under way may go on once the gateway stops.
const LAST_TRY: Duration = Duration::from_secs(3);

/// How long a disk that fails may keep an alert from being sent.
const WRITE: Duration = Duration::from_secs(5);

/// A key and a value, as the queue notes it.
pub type Fact = (String, Option<Vec<u8>>);

/// What is to be told to whom.
pub struct News<'a> {
    pub domain: &'a Domain,
    pub event: &'a str,
    pub targets: Vec<AlertTarget>,
}

/// An alert that waits for its target, as a person sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outstanding {
    pub id: String,
    pub event: String,
    pub domain: String,
    pub target: String,
    pub at: String,
    /// Of the first in the line; the others wait for it.
    pub tries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub outstanding: usize,
    /// Alerts that were accepted.
    pub sent: u64,
    /// Tries that were not.
    pub failed: u64,
    /// Alerts that were given up.
    pub dropped: u64,
}

/// Cheap to clone: all clones are one outbox.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    queue: Queue,
    sender: Sender,
    state: Mutex<State>,
    /// Configuration has changed: who waits for a time tries now.
    hurry: Notify,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Each has a worker.
    lines: HashMap<AlertTarget, Line>,
    count: usize,
    bytes: usize,
    last_id: u128,
}

impl Outbox {
    /// Takes up what is on disk. Blocks on it.
    pub fn open(queue: Queue, sender: Sender, shutdown: CancellationToken) -> Self {
        let kept = queue.facts(PREFIX).unwrap_or_else(|error| {
            error!(%error, "alerts that were outstanding cannot be read");
            Vec::new()
        });
        let outbox = Self(Arc::new(Inner {
            queue,
            sender,
            state: Mutex::default(),
            hurry: Notify::new(),
            tasks: TaskTracker::new(),
            shutdown,
            sent: AtomicU64::default(),
            failed: AtomicU64::default(),
            dropped: AtomicU64::default(),
        }));
        for (key, bytes) in kept {
            match serde_json::from_slice::<Notice>(&bytes) {
                Ok(notice) => outbox.push(notice),
                Err(error) => {
                    error!(key, %error, "an outstanding alert cannot be read: dropped");
                    outbox.0.forget(&key);
                }
            }
        }
        outbox
    }

    /// Puts an alert on its way to the disk, together with another fact; `send` follows. `body` is given its id.
    pub fn keep(&self, news: News<'_>, beside: Fact, body: impl FnOnce(MailId, Timestamp) -> String) -> Vec<Notice> {
        let at = self.0.sender.clock.now();
        let id = self.next_id(at);
        let body = body(id, at);
        let notice = |(place, target)| {
            let (domain, event) = (news.domain.clone(), news.event.to_owned());
            Notice { id, place, target, domain, event, at, body: body.clone() }
        };
        let notices: Vec<Notice> = news.targets.into_iter().enumerate().map(notice).collect();
        // Strings and numbers: serde_json cannot fail on these.
        let fact = |notice| (key(notice), Some(serde_json::to_vec(notice).unwrap_or_default()));
        let facts: Vec<Fact> = notices.iter().map(fact).chain([beside]).collect();
        if let Err(error) = self.0.queue.set_facts(&facts) {
            error!(domain = %news.domain, event = news.event, %error, "an alert is in memory only: it would not survive a restart");
        }
        notices
    }

    /// Each is tried at once where nothing waits before it. Not before it is durable: a crash would send it anew,
    /// under another id.
    pub async fn send(&self, notices: Vec<Notice>) {
        if !notices.is_empty() && !self.0.written().await {
            warn!("the disk is slow: alerts are sent that are in memory only");
        }
        notices.into_iter().for_each(|notice| self.push(notice));
        self.0.keep_bounds();
    }

    /// Drops what `keep` does not want, and tries the rest at once.
    pub fn retain(&self, keep: impl Fn(&Domain, &AlertTarget) -> bool) {
        let dropped: Vec<Arc<Notice>> = {
            let mut state = self.0.lock();
            let lines = state.lines.iter_mut();
            let dropped = lines.flat_map(|(target, line)| line.drop_unless(|notice| keep(&notice.domain, target)));
            let dropped: Vec<_> = dropped.collect();
            dropped.iter().for_each(|notice| state.gone(notice));
            dropped
        };
        for notice in dropped {
            info!(id = %notice.id, domain = %notice.domain, target = notice.target.name(), "nobody is configured to hear it any more: alert dropped");
            self.0.forget(&key(&notice));
        }
        self.0.hurry.notify_waiters();
    }

    pub fn outstanding(&self, limit: usize) -> Vec<Outstanding> {
        let state = self.0.lock();
        let all = state.lines.iter().flat_map(|(target, line)| line.iter().map(move |notice| (target, line, notice)));
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|(_, _, notice)| (notice.id, notice.place));
        all.into_iter().take(limit).map(|(target, line, notice)| line.shown(target, notice)).collect()
    }

    pub fn totals(&self) -> Totals {
        Totals {
            outstanding: self.0.lock().count,
            sent: self.0.sent.load(Ordering::Relaxed),
            failed: self.0.failed.load(Ordering::Relaxed),
            dropped: self.0.dropped.load(Ordering::Relaxed),
        }
    }

    /// Once `shutdown` is cancelled.
    pub async fn closed(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Ids sort as they were given, whatever the clock does.
    fn next_id(&self, now: Timestamp) -> MailId {
        let mut state = self.0.lock();
        let id = MailId::new(now, fastrand::u128(..)).as_u128().max(state.last_id.saturating_add(1));
        state.last_id = id;
        MailId::from_u128(id)
    }

    fn push(&self, notice: Notice) {
        let notice = Arc::new(notice);
        let target = notice.target.clone();
        let mut state = self.0.lock();
        state.last_id = state.last_id.max(notice.id.as_u128());
        (state.count, state.bytes) = (state.count + 1, state.bytes + notice.size());
        let idle = !state.lines.contains_key(&target);
        state.lines.entry(target.clone()).or_default().push(notice);
        drop(state);
        if idle {
            self.0.tasks.spawn(self.0.clone().work(target));
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One target's line, until it is empty or the gateway stops.
    async fn work(self: Arc<Self>, target: AlertTarget) {
        while let Some(notice) = self.next(&target) {
            let tried = tokio::select! {
                tried = self.sender.send(&notice) => tried,
                () = self.stopped() => return,
            };
            let wait = match tried {
                Ok(said) => {
                    self.accepted(&notice, &said).await;
                    continue;
                }
                Err(why) => self.refused(&notice, &why),
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.hurry.notified() => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    async fn stopped(&self) {
        self.shutdown.cancelled().await;
        tokio::time::sleep(LAST_TRY).await;
    }

    /// The first that is not too old; none ends the line.
    fn next(&self, target: &AlertTarget) -> Option<Arc<Notice>> {
        if self.shutdown.is_cancelled() {
            return None;
        }
        let oldest = self.sender.clock.now().as_millis().saturating_sub(MAX_AGE.as_millis() as u64);
        loop {
            let mut state = self.lock();
            let Some(first) = state.lines.get(target).and_then(Line::first) else {
                state.lines.remove(target);
                return None;
            };
            if first.at.as_millis() >= oldest {
                return Some(first);
            }
            drop(state);
            self.give_up(&first, "nobody has accepted it for 7 days");
        }
    }

    /// It counts as outstanding until a crash would not send it again.
    async fn accepted(&self, notice: &Notice, said: &str) {
        self.forget(&key(notice));
        self.written().await;
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.remove(notice);
        let (id, domain, event, target) = (notice.id, &notice.domain, &notice.event, notice.target.name());
        info!(%id, %domain, event, target, said, alert = "accepted");
    }

    /// False when the disk takes too long.
    async fn written(&self) -> bool {
        tokio::time::timeout(WRITE, self.queue.facts_written()).await.is_ok()
    }

    fn refused(&self, notice: &Notice, why: &str) -> Duration {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        let tries = state.lines.get(&notice.target).map_or(0, |line| line.tries);
        let wait = backoff(tries, fastrand::f64());
        let next_try = self.sender.clock.now().plus(wait);
        if let Some(line) = state.lines.get_mut(&notice.target) {
            line.refused(short(why), next_try);
        }
        drop(state);
        let (id, domain, event, target) = (notice.id, &notice.domain, &notice.event, notice.target.name());
        warn!(%id, %domain, event, target, tries = tries + 1, reason = short(why), next_try = next_try.to_rfc3339(), alert = "not accepted");
        wait
    }

    fn give_up(&self, notice: &Notice, why: &str) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.remove(notice);
        let (id, domain, event, target) = (notice.id, &notice.domain, &notice.event, notice.target.name());
        error!(%id, %domain, event, target, reason = why, alert = "dropped");
    }

    fn remove(&self, notice: &Notice) {
        {
            let mut state = self.lock();
            if !state.lines.get_mut(&notice.target).is_some_and(|line| line.remove(notice)) {
                return;
            }
            state.gone(notice);
        }
        self.forget(&key(notice));
    }

    fn forget(&self, key: &str) {
        if let Err(error) = self.queue.set_fact(key, None) {
            warn!(key, %error, "an alert that is done stays on disk: it may be sent again after a restart");
        }
    }

    fn keep_bounds(&self) {
        loop {
            let state = self.lock();
            if state.count <= MAX_COUNT && state.bytes <= MAX_BYTES {
                return;
            }
            let oldest = state.lines.values().filter_map(Line::first).min_by_key(|first| first.id);
            drop(state);
            match oldest {
                Some(oldest) => self.give_up(&oldest, "too many alerts are outstanding"),
                None => return,
            }
        }
    }
}

impl State {
    fn gone(&mut self, notice: &Notice) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(notice.size());
    }
}

fn key(notice: &Notice) -> String {
    format!("{PREFIX}{}/{}", notice.id, notice.place)
}
