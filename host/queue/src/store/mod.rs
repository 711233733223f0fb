//! What the writer needs of a place that keeps mail, and what each of its operations promises.
//!
//! Nothing here decides anything: the writer says what to append and commit, the medium does it or fails.

mod checksum;
pub(crate) mod disk;
mod disk_store;
#[cfg(test)]
pub(crate) mod failing;
mod lock;
pub(crate) mod memory;
mod records;
mod salvage;
mod schema;
mod segment;
mod set_aside;
mod sync;
mod wal;

pub use segment::{decode, encode};

use crate::model::{OpenError, QueuedMail};
use bytes::Bytes;
use mail::{Attributes, Content, Failure, MailId, Mailbox, NextHop, OpenContent, Timestamp};
use serde::{Deserialize, Serialize};
use std::{io, path::PathBuf, sync::Arc};

/// A mail's number, given by the writer.
pub(crate) type Seq = u64;

/// Where a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    /// Of the content.
    pub(crate) length: u32,
}

#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// No room; nothing of the operation has happened.
    #[error("no space left")]
    Full,
    /// Whether it has happened is unknown: the store must be opened again.
    #[error("{0}")]
    Failed(String),
}

/// A recipient's state as kept, once it is no longer as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) state: RowState,
    pub(crate) due: Timestamp,
    pub(crate) waiting_for: Option<NextHop>,
    pub(crate) details: Details,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowState {
    Queued = 0,
    Deferred = 1,
    Held = 2,
    Quarantined = 3,
    Done = 4,
}

/// What only the mail's own attempts need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Details {
    #[serde(default)]
    pub(crate) attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offline_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<Mailbox>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_failure: Option<Failure>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) delay_told: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Insert {
        seq: Seq,
        at: Location,
        mail: Arc<QueuedMail>,
        encoded: Encoded,
    },
    PutRow {
        seq: Seq,
        index: u32,
        row: Row,
    },
    SetAttributes {
        seq: Seq,
        attributes: Attributes,
    },
    MoveBody {
        seq: Seq,
        at: Location,
    },
    /// With its rows.
    Remove {
        seq: Seq,
    },
    PutValue {
        space: Arc<str>,
        key: String,
        value: Value,
    },
    DeleteValue {
        space: Arc<str>,
        key: String,
    },
}

/// A mail's variable parts as text, made outside the writer's thread.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) envelope: String,
    pub(crate) attributes: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) bytes: Bytes,
    pub(crate) expires: Option<Timestamp>,
}

/// A mail as read back; `rows` by index, done ones included.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) seq: Seq,
    pub(crate) mail: Arc<QueuedMail>,
    pub(crate) rows: Vec<(u32, Row)>,
}

/// What a walk over all records yields, in order of `seq`; a mail comes before its rows.
#[derive(Debug)]
pub(crate) enum Scanned {
    Mail {
        seq: Seq,
        id: MailId,
        domain: mail::Domain,
        recipients: u32,
        at: Location,
    },
    Row {
        seq: Seq,
        index: u32,
        state: RowState,
        due: Timestamp,
        waiting_for: Option<NextHop>,
    },
    /// A mail whose record makes no sense, or, behind its `Mail`, a row of it.
    Damaged {
        seq: Seq,
        why: String,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct SpaceUse {
    pub(crate) space: Arc<str>,
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
}

/// What `Medium::prepare` found.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) set_aside: Option<PathBuf>,
    /// Mails whose record is there alone, or whose recipients are held for want of one.
    pub(crate) damaged: u64,
}

/// A place that keeps mail. Reads may come from any thread, at any time.
pub(crate) trait Medium: Send + Sync {
    /// Takes the lock, checks the version, repairs what must be repaired to start at all.
    fn prepare(&self) -> Result<Opened, OpenError>;
    /// Opens for writing, at start and after each failure. Bodies go to a segment that did not exist before.
    fn open(&self) -> Result<Box<dyn Store>, StoreError>;

    fn scan(&self, visit: &mut dyn FnMut(Scanned)) -> Result<(), StoreError>;
    /// Those that exist, in order of `seq`.
    fn records(&self, seqs: &[Seq]) -> Result<Vec<Record>, StoreError>;
    /// Checked: id, length and CRC. `InvalidData`, `NotFound` and `UnexpectedEof` say that it is damaged.
    fn body(&self, at: Location, id: MailId) -> io::Result<Content>;
    /// As `body`, to be read a piece at a time.
    fn open_body(&self, at: Location, id: MailId) -> io::Result<Arc<dyn OpenContent>> {
        Ok(Arc::new(self.body(at, id)?))
    }
    /// Number and length in bytes.
    fn segments(&self) -> Result<Vec<(u32, u64)>, StoreError>;
    fn value(&self, space: &str, key: &str) -> Result<Option<Value>, StoreError>;
    /// Those whose key begins with `prefix`, in order of key, expired ones too.
    fn values(&self, space: &str, prefix: &str) -> Result<Vec<(String, Value)>, StoreError>;
    fn spaces(&self) -> Result<Vec<SpaceUse>, StoreError>;
    /// At most `limit` values that have expired.
    fn expired(&self, now: Timestamp, limit: usize) -> Result<Vec<(Arc<str>, String)>, StoreError>;
}

/// The writing side; one at a time.
pub(crate) trait Store: Send {
    /// Not durable before `finish_sync`.
    fn append(&mut self, id: MailId, content: &Content) -> Result<Location, StoreError>;
    /// Begins to make durable what was appended, names included.
    fn start_sync(&mut self) -> Result<(), StoreError>;
    /// All or nothing, durable on return.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;
    fn finish_sync(&mut self) -> Result<(), StoreError>;
    /// Takes back what was appended since the last sync and never committed; a saving of room, no more.
    fn undo_appends(&mut self) -> Result<(), StoreError>;
    /// The segment that is being appended to.
    fn current_segment(&self) -> Option<u32>;
    fn remove_segment(&mut self, number: u32) -> Result<(), StoreError>;
    /// Frees what was put aside for a full disk. False when that gained nothing.
    fn make_room(&mut self) -> bool;
    /// Whether a body and its record would fit now. Tries it; keeps nothing.
    fn has_room(&mut self) -> bool;
    /// Between groups: checkpoints, ballast.
    fn tidy(&mut self) -> Result<(), StoreError>;
    /// No more writes; everything is already durable.
    fn close(self: Box<Self>);
}

impl RowState {
    pub(crate) fn from_i64(value: i64) -> Option<Self> {
        [Self::Queued, Self::Deferred, Self::Held, Self::Quarantined, Self::Done]
            .into_iter()
            .find(|s| *s as i64 == value)
    }
}

impl Encoded {
    pub(crate) fn of(mail: &QueuedMail) -> Self {
        // Strings, numbers and lists of them: serde_json cannot fail on these.
        let text = |r: serde_json::Result<String>| r.unwrap_or_default();
        Self {
            envelope: text(serde_json::to_string(&mail.envelope)),
            attributes: (!mail.attributes.is_empty()).then(|| text(serde_json::to_string(&mail.attributes))),
        }
    }
}

/// Those of `seqs` that can be read, and those where reading failed; one that is in neither has no sound record.
/// A damaged page of the database keeps only its own mails from being read.
pub(crate) fn read_each(medium: &dyn Medium, seqs: &[Seq]) -> (Vec<Record>, Vec<Seq>) {
    let error = match medium.records(seqs) {
        Ok(records) => return (records, Vec::new()),
        Err(error) => error,
    };
    tracing::error!(%error, "records cannot be read together: trying each by itself");
    let (mut records, mut unread) = (Vec::new(), Vec::new());
    for seq in seqs {
        match medium.records(&[*seq]) {
            Ok(mut record) => records.append(&mut record),
            Err(error) => {
                tracing::error!(seq, %error, "record cannot be read");
                unread.push(*seq);
            }
        }
    }
    (records, unread)
}

/// A body that must not be tried again as if it were a passing failure of the disk.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
}
