//! What the client is told at the start, and what it tells.
//!
//! Values only.

use mail::{Domain, Failure, NextHop, Outcome, Protocol, Reply};

#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// What we call ourselves in EHLO; an address literal will do.
    pub helo: Domain,
    pub protocol: Protocol,
    pub tls: ClientTls,
    /// The connection began with the handshake: no STARTTLS.
    pub tls_active: bool,
    /// For failures to name.
    pub next_hop: Option<NextHop>,
}

/// STARTTLS (RFC 3207).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientTls {
    None,
    /// Clear text where it is not offered or is refused.
    #[default]
    IfOffered,
    /// TLS or nothing.
    Required,
}

#[derive(Debug, PartialEq)]
pub enum ClientEvent {
    /// Shake hands, then [`super::Client::tls_started`].
    StartTls,
    /// [`super::Client::send`] may be called.
    Ready,
    /// One for each recipient given to [`super::Client::send`], in that order. The client is ready again,
    /// or [`ClientEvent::Closed`] follows.
    Done(Vec<Outcome>),
    /// To [`super::Client::ask`]. The client is ready again.
    Answered(Reply),
    /// The session cannot be used any more; close the connection.
    Closed(Failure),
    /// QUIT has been answered, or the connection ended after it.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client is not ready for a mail")]
pub struct NotReady;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotAsk {
    #[error("the client is not ready for a command")]
    NotReady,
    #[error("a command is one line")]
    NotOneLine,
}
