//! A claim: the right to make one attempt for some recipients of a mail.
//!
//! Decides that a claim always ends: settled, given back, or, if it is dropped, due again soon.

use crate::model::QueuedMail;
use crate::shared::Shared;
use crate::store::{self, Details, Location, Record, Row, Seq};
use mail::{BoxFuture, Content, ContentSource, Failure, NextHop, OpenContent, Recipient, Timestamp};
use std::{io, sync::Arc};

/// Recipients of one mail, handed out for one attempt.
pub struct Claim {
    pub mail: Arc<QueuedMail>,
    /// Empty for a mail that was enqueued as held or quarantined.
    pub recipients: Vec<ClaimedRecipient>,
    /// In memory for a mail that was just enqueued, else read and checked when it is asked for.
    pub content: Arc<dyn ContentSource>,
    pub(crate) guard: Guard,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedRecipient {
    /// Its place in the envelope as accepted.
    pub index: u32,
    /// Under its present address.
    pub recipient: Recipient,
    /// Attempts made before.
    pub attempts: u32,
    /// Since when its next hop cannot be reached.
    pub offline_since: Option<Timestamp>,
    pub expires_at: Timestamp,
    pub waiting_for: Option<NextHop>,
    pub last_failure: Option<Failure>,
    /// Its sender knows that it is late.
    pub delay_told: bool,
}

/// Gives back what is still claimed when it goes.
pub(crate) struct Guard {
    pub(crate) shared: Arc<Shared>,
    pub(crate) seq: Seq,
    pub(crate) indexes: Vec<u32>,
}

/// The content of a mail that has waited.
struct Spooled {
    shared: Arc<Shared>,
    seq: Seq,
    mail: Arc<QueuedMail>,
}

impl Claim {
    /// A claim of its own for the recipients that `wanted` picks; none if it picks none.
    pub fn split_off(&mut self, mut wanted: impl FnMut(&ClaimedRecipient) -> bool) -> Option<Self> {
        let (off, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut self.recipients).into_iter().partition(&mut wanted);
        self.recipients = stay;
        if off.is_empty() {
            return None;
        }
        let indexes: Vec<u32> = off.iter().map(|r| r.index).collect();
        self.guard.indexes.retain(|index| !indexes.contains(index));
        let guard = Guard::new(self.guard.shared.clone(), self.guard.seq, indexes);
        Some(Self { mail: self.mail.clone(), recipients: off, content: self.content.clone(), guard })
    }

    /// The content of a mail that was just enqueued is let go: it is read when it is asked for.
    pub fn leave_on_disk(&mut self) {
        let Guard { shared, seq, .. } = &self.guard;
        self.content = Arc::new(Spooled { shared: shared.clone(), seq: *seq, mail: self.mail.clone() });
    }

    /// For a mail that was just enqueued: its recipients are claimed in the index already.
    pub(crate) fn fresh(
        shared: &Arc<Shared>,
        seq: Seq,
        mail: Arc<QueuedMail>,
        content: Content,
        claimed: bool,
    ) -> Self {
        let recipients: Vec<_> = match claimed {
            true => {
                (0..).zip(&mail.envelope.recipients).map(|(i, r)| ClaimedRecipient::new(&mail, i, r, None)).collect()
            }
            false => Vec::new(),
        };
        let indexes = recipients.iter().map(|r| r.index).collect();
        let guard = Guard::new(shared.clone(), seq, indexes);
        Self { mail, recipients, content: Arc::new(content), guard }
    }

    /// For a mail that was read back. None of its recipients may be left.
    pub(crate) fn from_record(guard: Guard, record: Record) -> Self {
        let row = |index| record.rows.iter().find(|(i, _)| *i == index).map(|(_, row)| row);
        let recipient = |index: &u32| {
            let recipient = record.mail.envelope.recipients.get(*index as usize)?;
            Some(ClaimedRecipient::new(&record.mail, *index, recipient, row(*index)))
        };
        let recipients = guard.indexes.iter().filter_map(recipient).collect();
        let content = Spooled { shared: guard.shared.clone(), seq: record.seq, mail: record.mail.clone() };
        Self { mail: record.mail, recipients, content: Arc::new(content), guard }
    }
}

impl ClaimedRecipient {
    pub(crate) fn new(mail: &QueuedMail, index: u32, accepted: &Recipient, row: Option<&Row>) -> Self {
        let details = row.map(|row| row.details.clone()).unwrap_or_default();
        let Details { attempts, offline_since, expires_at, address, last_failure, delay_told, .. } = details;
        let mut recipient = accepted.clone();
        if let Some(address) = address {
            recipient.address = address;
        }
        let waiting_for = row.and_then(|row| row.waiting_for.clone());
        let expires_at = expires_at.unwrap_or(mail.expires_at);
        Self { index, recipient, attempts, offline_since, expires_at, waiting_for, last_failure, delay_told }
    }
}

impl Guard {
    pub(crate) fn new(shared: Arc<Shared>, seq: Seq, indexes: Vec<u32>) -> Self {
        shared.outstanding(1);
        Self { shared, seq, indexes }
    }

    /// Takes the recipients out: whoever does this answers for them.
    pub(crate) fn disarm(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.indexes)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.outstanding(-1);
        let indexes = self.disarm();
        if !indexes.is_empty() {
            let due = (self.shared.options.clock)().plus(self.shared.options.give_back_delay);
            self.shared.give_back(self.seq, &indexes, due);
        }
    }
}

impl ContentSource for Spooled {
    fn len(&self) -> u64 {
        self.mail.size
    }

    fn load(&self) -> io::Result<Content> {
        self.read(|at| self.shared.medium.body(at, self.mail.id))
    }

    fn fetch(self: Arc<Self>) -> BoxFuture<'static, io::Result<Content>> {
        Box::pin(async move { tokio::task::spawn_blocking(move || self.load()).await.map_err(io::Error::other)? })
    }

    fn open(&self) -> io::Result<Arc<dyn OpenContent>> {
        self.read(|at| self.shared.medium.open_body(at, self.mail.id))
    }
}

impl Spooled {
    fn read<T>(&self, read: impl Fn(Location) -> io::Result<T>) -> io::Result<T> {
        // The writer may move a body while it is being read: then it is found at its new place.
        for _ in 0..3 {
            let Some(at) = self.shared.index().location(self.seq) else {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the mail is no longer in the queue"));
            };
            match read(at) {
                Ok(content) => return Ok(content),
                Err(_) if self.shared.index().location(self.seq).is_some_and(|now| now != at) => {}
                Err(error) => {
                    if store::is_damage(&error) && self.shared.index().mark_damaged(self.seq) {
                        tracing::error!(queue_id = %self.mail.id, %error, "body damaged: the mail will be held");
                    }
                    return Err(error);
                }
            }
        }
        Err(io::Error::other("the body keeps moving"))
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim").field("mail", &self.mail.id).field("recipients", &self.recipients).finish()
    }
}
