//! One connection's place among all: what it takes is counted where it belongs, and given back at its end.

use super::{Cut, EVERYBODY, Limits, Refusal, of_client, table::Counted, table::Key, table::Whose};
use std::{net::IpAddr, sync::Arc};

/// Given back when dropped.
pub struct Place {
    limits: Arc<Limits>,
    listener: u16,
    /// None while nobody knows who the client is.
    address: Option<IpAddr>,
}

impl Place {
    pub(super) fn new(limits: Arc<Limits>, listener: u16, address: Option<IpAddr>) -> Self {
        Self { limits, listener, address }
    }

    /// The connection is this client's, as somebody who is believed has told. Where it is refused it is nobody's.
    pub fn belongs_to(&mut self, address: IpAddr) -> Result<(), Refusal> {
        let before = self.address.take();
        self.limits.leave(&self.of_client(before));
        self.limits.claim(&of_client(self.listener, address), Some(Counted::Connections))?;
        self.address = Some(address);
        match before {
            // Who it is was not known when it entered, so the listener has not counted it by the minute yet.
            None => self.limits.count(&[self.of_listener()], Counted::Connections, 1),
            Some(_) => Ok(()),
        }
    }

    /// One more message is begun.
    pub fn message(&self) -> Result<(), Refusal> {
        self.limits.count(&self.keys(), Counted::Messages, 1)
    }

    /// One more recipient is asked for.
    pub fn recipient(&self) -> Result<(), Refusal> {
        self.limits.count(&self.keys(), Counted::Recipients, 1)
    }

    pub fn errors(&self, more: u32) -> Result<(), Refusal> {
        self.limits.count(&self.keys(), Counted::Errors, more)
    }

    pub fn is_crowded(&self) -> bool {
        self.limits.is_crowded()
    }

    pub fn cut(&self, cut: Cut) {
        self.limits.cut(cut);
    }

    fn keys(&self) -> Vec<Key> {
        let mut keys = self.of_client(self.address);
        keys.push(self.of_listener());
        keys
    }

    fn of_client(&self, address: Option<IpAddr>) -> Vec<Key> {
        address.into_iter().flat_map(|address| of_client(self.listener, address)).collect()
    }

    fn of_listener(&self) -> Key {
        Key { listener: Some(self.listener), whose: Whose::Everybody }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut keys = self.keys();
        keys.push(EVERYBODY);
        self.limits.leave(&keys);
    }
}
