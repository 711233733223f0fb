//! What callers hand to the queue and get from it.

use crate::claim::Claim;
use mail::{Attributes, Content, Domain, Envelope, Failure, MailId, Mailbox, NextHop, Reply, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A mail that is about to become ours.
#[derive(Clone, Debug)]
pub struct NewMail {
    pub id: MailId,
    /// The domain whose policy it follows, and in whose lane it waits.
    pub domain: Domain,
    pub envelope: Envelope,
    pub content: Content,
    pub attributes: Attributes,
    pub received_at: Timestamp,
    /// After this a deferral becomes a failure; the gateway decides.
    pub expires_at: Timestamp,
    pub state: InitialState,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InitialState {
    #[default]
    Queued,
    /// Kept until a person releases it.
    Held {
        reason: String,
    },
    Quarantined {
        reason: String,
    },
}

/// A mail without its content. `envelope` is as accepted, all recipients included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedMail {
    pub id: MailId,
    pub domain: Domain,
    pub envelope: Envelope,
    pub attributes: Attributes,
    pub received_at: Timestamp,
    pub expires_at: Timestamp,
    /// Of the content, in bytes.
    pub size: u64,
}

/// Where a recipient stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Queued,
    Deferred,
    Held,
    Quarantined,
    /// An attempt is being made.
    Claimed,
}

/// What became of a claim.
pub struct Settlement {
    pub claim: Claim,
    /// By `ClaimedRecipient::index`. Recipients that are left out are given back untried.
    pub outcomes: Vec<(u32, Settled)>,
    /// Becomes durable in the same commit, so it is neither lost nor doubled.
    pub dsn: Option<NewMail>,
    /// The mail's new attributes, if they changed.
    pub attributes: Option<Attributes>,
    /// A new end of the lifetime for the recipients that stay.
    pub expires_at: Option<Timestamp>,
    /// Recipients of whose delay the DSN tells, by `ClaimedRecipient::index`: not to be told again.
    pub delay_told: Vec<u32>,
}

/// One recipient's outcome. Where `failure` is given, an attempt was made and is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    Delivered {
        reply: Reply,
        next_hop: NextHop,
    },
    Failed(Failure),
    Deferred {
        until: Timestamp,
        failure: Failure,
        waiting_for: Option<NextHop>,
    },
    /// Due again at `until`, when `waiting_for` is back, or when released, whatever comes first. With
    /// neither it waits for a person, else it is due at the latest when it expires.
    Held {
        reason: String,
        waiting_for: Option<NextHop>,
        until: Option<Timestamp>,
        failure: Option<Failure>,
    },
    /// Due now, under another address.
    Rewritten {
        to: Mailbox,
    },
    Discarded,
}

/// What was found at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub mails: u64,
    /// That have an outcome to come.
    pub recipients: u64,
    /// Mails whose record or body is damaged; those with a readable record are held.
    pub set_aside: u64,
    /// Where an unreadable database was moved, with its segments.
    pub set_aside_store: Option<PathBuf>,
    /// Segments without mail that were removed.
    pub dropped_segments: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Healthy,
    /// The disk is full: new mail is refused until there is room.
    Full,
    /// New mail is refused until the files could be opened again.
    Unhealthy {
        reason: String,
        since: Timestamp,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{dir} is in use by another process, pid {pid}")]
    Locked { dir: PathBuf, pid: String },
    #[error("the queue in {dir} has format {found}, this program knows up to {known}: use a newer one")]
    Newer { dir: PathBuf, found: i64, known: i64 },
    #[error("cannot open the queue in {dir}: {source}")]
    Io {
        dir: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot open the queue in {dir}: {reason}")]
    Store { dir: PathBuf, reason: String },
}

/// The mail is not ours: the client must hear 4yz.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnqueueError {
    /// For `452 4.3.1`.
    #[error("the disk is full")]
    Full,
    /// For `451 4.3.0`.
    #[error("the queue cannot be written: {0}")]
    Unhealthy(String),
    #[error("the queue is closed")]
    Closed,
    #[error("the mail is larger than 4 GiB")]
    TooLarge,
    #[error("the mail has no recipients")]
    NoRecipients,
}

/// The outcome is not known to be durable: after a restart the recipients may be tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    #[error("the queue is closed")]
    Closed,
}

impl Settlement {
    /// The outcomes alone.
    pub fn new(claim: Claim, outcomes: Vec<(u32, Settled)>) -> Self {
        Self { claim, outcomes, dsn: None, attributes: None, expires_at: None, delay_told: Vec::new() }
    }
}

impl QueuedMail {
    pub(crate) fn split(new: NewMail) -> (Self, Content, InitialState) {
        let NewMail { id, domain, envelope, content, attributes, received_at, expires_at, state } = new;
        let size = content.len() as u64;
        (Self { id, domain, envelope, attributes, received_at, expires_at, size }, content, state)
    }
}

impl Settled {
    /// The one word for logs and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Failed(_) => "failed",
            Self::Deferred { .. } => "deferred",
            Self::Held { .. } => "held",
            Self::Rewritten { .. } => "rewritten",
            Self::Discarded => "discarded",
        }
    }
}

impl State {
    pub const ALL: [Self; 5] = [Self::Queued, Self::Deferred, Self::Held, Self::Quarantined, Self::Claimed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Deferred => "deferred",
            Self::Held => "held",
            Self::Quarantined => "quarantined",
            Self::Claimed => "claimed",
        }
    }
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}
