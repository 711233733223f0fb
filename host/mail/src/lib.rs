//! The field's words as types.
//!
//! Everything here is a value: no I/O, no clock, no global. Other crates parse once at the edge
//! into these types, so later code cannot hold an unchecked domain, address or reply.

mod address;
mod authenticity;
mod call;
mod content;
mod edit;
mod envelope;
mod id;
mod kv;
mod next_hop;
mod no_plugins;
mod outcome;
mod outline;
mod plugin;
mod quantity;
mod reply;
mod timestamp;

pub use address::{AddressError, Domain, Mailbox, ReversePath};
pub use authenticity::{AuthResult, Authenticity};
pub use call::{CallFailure, CallRecord, Event, Hook, Spent};
pub use content::{Content, HeaderField};
pub use edit::{Edit, EditError};
pub use envelope::{BodyKind, Envelope, Notify, Recipient, Ret};
pub use id::{MailId, ParseIdError};
pub use kv::{KvError, KvSpace, KvStore};
pub use next_hop::{NextHop, NextHopError, Protocol, TlsMode};
pub use no_plugins::NoPlugins;
pub use outcome::{Failure, FailureKind, Outcome};
pub use outline::{Outline, Survey};
pub use plugin::{
    Attributes, Binding, BoxFuture, Chain, ChainSource, Connection, ContentSource, DeliveryFacts, HookSet, Isolation,
    LoadError, Mode, OfflineAction, OnFailure, OpenContent, Routing, SessionFacts, Transaction, Verdict,
};
pub use quantity::{ParseQuantityError, parse_duration, parse_size};
pub use reply::{EnhancedCode, Reply, ReplyError};
pub use timestamp::Timestamp;
