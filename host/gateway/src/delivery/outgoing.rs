//! A mail's data on its way out: from memory, or a piece at a time from the spool.
//!
//! A connection holds a piece of a mail, never a large one: a next hop that takes a byte each second keeps no
//! other's mail waiting for memory.

use super::deliver::Deliverer;
use crate::read_back::InTurn;
use bytes::Bytes;
use mail::{Content, ContentSource, Envelope, OpenContent, Recipient};
use queue::Claim;
use smtp::{Client, NotReady};
use std::{io, sync::Arc};

/// In bytes; what is no larger is read at once.
const PIECE: usize = 32 << 10;

#[derive(Clone)]
pub enum Outgoing {
    Whole(Content),
    Spooled(Arc<dyn OpenContent>),
}

/// How far a mail has been handed to the client.
pub struct Reading<'a> {
    content: &'a Outgoing,
    at: u64,
}

impl From<&Content> for Outgoing {
    fn from(content: &Content) -> Self {
        Self::Whole(content.clone())
    }
}

impl Outgoing {
    /// Begins the mail.
    pub fn send(
        &self,
        client: &mut Client,
        envelope: &Envelope,
        recipients: &[Recipient],
    ) -> Result<Reading<'_>, NotReady> {
        match self {
            Self::Whole(content) => client.send(envelope, recipients, content)?,
            Self::Spooled(open) => client.send_in_pieces(envelope, recipients, &open.outline())?,
        }
        Ok(Reading { content: self, at: 0 })
    }
}

impl Reading<'_> {
    /// What the client wants next.
    pub async fn next(&mut self) -> io::Result<Bytes> {
        let Outgoing::Spooled(open) = self.content else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        let (open, at) = (open.clone(), self.at);
        let read = tokio::task::spawn_blocking(move || open.read_at(at, PIECE)).await;
        let piece = read.map_err(io::Error::other)??;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += piece.len() as u64;
        Ok(piece)
    }
}

impl Deliverer {
    /// A mail that is found damaged only when it is under way is cut off, and never ends with a dot: so it is read
    /// once before.
    pub(super) async fn outgoing(&self, claim: &Claim) -> io::Result<Outgoing> {
        if let Some(content) = claim.content.in_memory() {
            return Ok(Outgoing::Whole(content));
        }
        let source = claim.content.clone();
        let read = move || match source.len() <= PIECE as u64 {
            true => source.load().map(Outgoing::Whole),
            false => source.open().map(Outgoing::Spooled),
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }

    /// For plugins.
    pub(super) fn in_turn(&self, claim: &Claim) -> Arc<dyn ContentSource> {
        let (source, domain) = (claim.content.clone(), claim.mail.domain.clone());
        Arc::new(InTurn { source, domain, read_back: self.budget.read_back.clone() })
    }

    /// All of it in memory, once it has its turn.
    pub(super) async fn content(&self, claim: &Claim) -> io::Result<Content> {
        match claim.content.in_memory() {
            Some(content) => Ok(content),
            None => self.budget.read_back.load(claim.content.clone(), &claim.mail.domain).await,
        }
    }
}
