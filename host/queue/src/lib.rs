//! The promise: what was answered 250 survives.
//!
//! Decides when a mail is safe, whose turn it is, and what is found again after a crash. It never
//! speaks SMTP, never picks a next hop, never gives up on a mail: that is the gateway's.
//! `DESIGN.md` lists every state on disk and the moves between them.

mod admin;
mod backoff;
mod claim;
mod expiring;
pub mod fail_point;
mod inbox;
mod index;
mod kv;
mod model;
mod options;
mod plan;
mod queue;
mod recover;
mod settle;
mod shared;
mod store;
mod writer;

#[cfg(test)]
mod tests;

/// A body as it stands in a segment, for whoever checks what damage does to it.
#[doc(hidden)]
pub mod body_record {
    pub use crate::store::{decode, encode};
}

pub use admin::{Filter, Listed, Listing};
pub use backoff::backoff;
pub use claim::{Claim, ClaimedRecipient};
pub use expiring::Expiring;
pub use index::Counts;
pub use model::{
    EnqueueError, Health, InitialState, NewMail, OpenError, QueuedMail, Recovered, SettleError, Settled, Settlement,
    State,
};
pub use options::{Clock, KvLimits, Options};
pub use queue::{Queue, Round};
