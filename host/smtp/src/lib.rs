//! The SMTP protocol (RFC 5321 and its extensions) as values: bytes in, events out.
//!
//! Decides what is legal at the wire and in which order. It never opens a socket, reads a clock or
//! waits: a driver moves the bytes, answers what [`Server`] asks and does what [`Client`] tells.
//!
//! Strict where leniency has been exploited: only CRLF ends a line, only CRLF.CRLF ends DATA, and
//! no byte of clear text survives STARTTLS.

mod client;
mod line;
mod odmr;
mod server;
mod stuff;
mod text;
mod transcript;
mod xtext;

pub use client::{CannotAsk, Capabilities, Client, ClientConfig, ClientEvent, ClientTls, NotReady, Wait};
pub use odmr::{Mechanism, Mechanisms, Odmr, OdmrConfig, OdmrEvent};
pub use server::{MailParams, Node, RawParams, Server, ServerConfig, ServerEvent, TlsOffer, Told, Xclient};
pub use text::BareLineEnds;
pub use transcript::Transcript;
