//! The way to the writer: a bounded line, and the decision when a group sets out.

use crate::claim::Claim;
use crate::claim::Guard;
use crate::model::{EnqueueError, QueuedMail, SettleError};
use crate::options::Options;
use crate::shared::lock;
use crate::store::{Encoded, Location, Row, Seq};
use mail::{Attributes, Content, MailId};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

pub(crate) enum Op {
    Enqueue {
        mail: Box<Accepted>,
        ticket: Ticket<Result<Claim, EnqueueError>>,
    },
    Settle {
        work: Box<Work>,
        ticket: Ticket<Result<Option<Claim>, SettleError>>,
    },
    /// Claimed recipients of a damaged mail.
    Hold {
        seq: Seq,
        rows: Vec<(u32, Row)>,
    },
    /// A body to be appended anew, so that its segment can go.
    Move {
        seq: Seq,
        id: MailId,
        from: Location,
        content: Content,
    },
}

/// A place in the line, and where the answer goes.
pub(crate) struct Ticket<T> {
    answer: oneshot::Sender<T>,
    _place: OwnedSemaphorePermit,
}

impl<T> Ticket<T> {
    pub(crate) fn new(place: OwnedSemaphorePermit) -> (Self, oneshot::Receiver<T>) {
        let (answer, answered) = oneshot::channel();
        (Self { answer, _place: place }, answered)
    }

    /// A caller that is gone drops what it is sent.
    pub(crate) fn answer(self, with: T) {
        let _ = self.answer.send(with);
    }
}

/// A mail ready to be written.
pub(crate) struct Accepted {
    pub(crate) mail: Arc<QueuedMail>,
    pub(crate) content: Content,
    pub(crate) encoded: Encoded,
    /// For all recipients; none is queued, and then they are claimed.
    pub(crate) row: Option<Row>,
}

/// An outcome ready to be written.
pub(crate) struct Work {
    pub(crate) guard: Guard,
    /// None is done.
    pub(crate) moves: Vec<(u32, Option<Row>)>,
    pub(crate) attributes: Option<Attributes>,
    pub(crate) dsn: Option<Accepted>,
}

/// What the writer is to do next.
pub(crate) enum Turn {
    /// May be empty: plugin state alone, or only the time has come.
    Group(Vec<Op>),
    Closed,
}

pub(crate) struct Inbox {
    line: Mutex<Line>,
    ready: Condvar,
    permits: Arc<Semaphore>,
    entries: usize,
    bytes: u64,
    settle_delay: Duration,
    kv_delay: Duration,
}

#[derive(Default)]
struct Line {
    ops: VecDeque<Op>,
    /// Someone waits for an answer that must not be delayed.
    urgent: bool,
    settles: usize,
    oldest: Option<Instant>,
    newest: Option<Instant>,
    kv_since: Option<Instant>,
    closed: bool,
}

impl Inbox {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            line: Mutex::default(),
            ready: Condvar::new(),
            permits: Arc::new(Semaphore::new(options.waiting.max(1))),
            entries: options.group_entries.max(1),
            bytes: options.group_bytes,
            settle_delay: options.settle_delay,
            kv_delay: options.kv_delay,
        }
    }

    /// Waits until there is room in the line. None when the queue is closed.
    pub(crate) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().acquire_owned().await.ok()
    }

    /// False, and the op is dropped with its answer, when the queue is closed.
    pub(crate) fn push(&self, op: Op) -> bool {
        let mut line = lock(&self.line);
        if line.closed {
            drop(line);
            return false;
        }
        match op {
            Op::Settle { .. } => line.settles += 1,
            Op::Enqueue { .. } => line.urgent = true,
            Op::Hold { .. } | Op::Move { .. } => {}
        }
        let now = Instant::now();
        line.oldest.get_or_insert(now);
        line.newest = Some(now);
        line.ops.push_back(op);
        drop(line);
        self.ready.notify_one();
        true
    }

    /// Plugin state has changed.
    pub(crate) fn kv_changed(&self) {
        let mut line = lock(&self.line);
        if line.kv_since.is_none() {
            line.kv_since = Some(Instant::now());
            drop(line);
            self.ready.notify_one();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }

    /// Only if there is room at once.
    pub(crate) fn try_permit(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().try_acquire_owned().ok()
    }

    /// Callers hear `Closed` from now on; what is in the line is still written.
    pub(crate) fn close(&self) {
        self.permits.close();
        lock(&self.line).closed = true;
        self.ready.notify_one();
    }

    /// Blocks until a group should set out, or `until`. `outstanding` is how many claims could still be settled.
    pub(crate) fn next(&self, until: Instant, outstanding: impl Fn() -> i64) -> Turn {
        let mut line = lock(&self.line);
        loop {
            if line.closed && line.ops.is_empty() && line.kv_since.is_none() {
                return Turn::Closed;
            }
            let start = self.start(&line, outstanding()).map_or(until, |start| start.min(until));
            let now = Instant::now();
            if line.closed || start <= now {
                return Turn::Group(self.take(&mut line));
            }
            line = self.ready.wait_timeout(line, start - now).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// When the group that is forming sets out; none while there is nothing to do.
    fn start(&self, line: &Line, outstanding: i64) -> Option<Instant> {
        let nobody_else = line.settles as i64 >= outstanding.min(64);
        let ops = match line.urgent || nobody_else {
            true => line.oldest,
            // As long as company keeps coming, but not for ever.
            false => {
                let quiet = line.newest.map(|newest| newest + self.settle_delay / 10);
                line.oldest.map(|oldest| oldest + self.settle_delay).min(quiet)
            }
        };
        let kv = line.kv_since.map(|since| since + self.kv_delay);
        ops.into_iter().chain(kv).min()
    }

    fn take(&self, line: &mut Line) -> Vec<Op> {
        let (mut count, mut bytes) = (0, 0);
        for op in &line.ops {
            bytes += op.bytes();
            if count > 0 && (count >= self.entries || bytes > self.bytes) {
                break;
            }
            count += 1;
        }
        let group: Vec<Op> = line.ops.drain(..count).collect();
        let rest = !line.ops.is_empty();
        line.settles -= group.iter().filter(|op| matches!(op, Op::Settle { .. })).count();
        line.urgent = rest;
        line.oldest = rest.then(Instant::now);
        line.newest = line.oldest;
        line.kv_since = None;
        group
    }
}

impl Op {
    fn bytes(&self) -> u64 {
        match self {
            Self::Enqueue { mail, .. } => mail.mail.size,
            Self::Settle { work, .. } => work.dsn.as_ref().map_or(0, |dsn| dsn.mail.size),
            Self::Move { from, .. } => u64::from(from.length),
            Self::Hold { .. } => 0,
        }
    }
}
