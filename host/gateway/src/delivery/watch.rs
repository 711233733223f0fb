//! What is told of a connection while it opens, step by step, and how long each step may take. Changes nothing.

use crate::stream::Stream;
use mail::Failure;
use smtp::{Client, Wait};
use std::{net::SocketAddr, time::Duration};

pub trait Watch: Send + Sync {
    fn told(&self, told: Told<'_>);
}

pub enum Told<'a> {
    /// Where the next hop is; tried in order.
    Addresses(&'a [SocketAddr]),
    /// A TCP connection to one of them.
    Tried { address: SocketAddr, failure: Option<&'a Failure> },
    /// A reply, and what it was to; the client knows what follows from it.
    Heard { answered: Wait, client: &'a Client },
    /// The handshake is done.
    Secured(&'a Stream),
    /// TLS was worth a try, and is gone on without.
    FellBack(&'a Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    pub connect: Duration,
    /// From the greeting to the end of EHLO, each step.
    pub step: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(30), step: Duration::from_secs(60) }
    }
}
