//! Counts what a client asks for, and refuses what is over its limits before anybody else is asked.

use super::{
    origin,
    receiver::{MailFacts, Receiver},
    replies,
};
use crate::limits::{Cut, Place, Refusal};
use bytes::Bytes;
use mail::{Recipient, Reply};
use smtp::{Node, Xclient};
use std::net::SocketAddr;
use tracing::info;

pub struct Limited<R> {
    place: Place,
    peer: SocketAddr,
    inner: R,
}

impl<R: Receiver> Limited<R> {
    pub fn new(place: Place, peer: SocketAddr, inner: R) -> Self {
        Self { place, peer, inner }
    }

    fn refused(&self, refusal: Refusal) -> Reply {
        let reply = refusal.reply();
        info!(peer = %self.peer, outcome = "refused", %reply);
        reply
    }
}

impl<R: Receiver> Receiver for Limited<R> {
    fn hello(&mut self, name: String) {
        self.inner.hello(name);
    }

    fn tls(&mut self, version: Option<String>) {
        self.inner.tls(version);
    }

    fn mail(&mut self, facts: MailFacts) -> Reply {
        match self.place.message() {
            Ok(()) => self.inner.mail(facts),
            Err(refusal) => self.refused(refusal),
        }
    }

    async fn recipient(&mut self, recipient: Recipient) -> Reply {
        match self.place.recipient() {
            Ok(()) => self.inner.recipient(recipient).await,
            Err(refusal) => self.refused(refusal),
        }
    }

    fn data_start(&mut self) -> Reply {
        self.inner.data_start()
    }

    async fn body(&mut self, bytes: Bytes) {
        self.inner.body(bytes).await;
    }

    async fn end_of_message(&mut self) -> Reply {
        self.inner.end_of_message().await
    }

    async fn start(&mut self, node: Node) -> Reply {
        self.inner.start(node).await
    }

    fn reset(&mut self) {
        self.inner.reset();
    }

    fn mistakes(&mut self, more: u32) -> Option<Reply> {
        self.place.errors(more).err().map(|refusal| self.refused(refusal))
    }

    fn is_crowded(&self) -> bool {
        self.place.is_crowded()
    }

    fn cut(&mut self, cut: Cut) {
        info!(peer = %self.peer, outcome = "cut", reply = %replies::too_late(cut));
        self.place.cut(cut);
    }

    async fn comes_from(&mut self, client: Xclient) -> Option<Reply> {
        self.peer = origin::address(self.peer, &client);
        match self.place.belongs_to(self.peer.ip()) {
            Ok(()) => self.inner.comes_from(client).await,
            Err(refusal) => Some(self.refused(refusal)),
        }
    }
}
