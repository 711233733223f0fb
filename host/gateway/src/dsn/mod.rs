//! Delivery status notifications (RFC 3461, RFC 3464, RFC 6533): who is told what, in which words and how often. Pure.
//!
//! Nobody is told at the null reverse-path, or against their wish, or about a notification.

mod caps;
mod duty;
mod encoding;
mod explanation;
mod fields;
mod report;
mod returned;

#[cfg(test)]
mod tests;

pub use caps::{Caps, Limits};
pub use duty::{DELAY_NOTICE, action, bring_forward, notice_at};
pub use encoding::original_recipient_param;
pub use report::Report;

use mail::{Failure, NextHop, Recipient, Reply, Timestamp};

/// A recipient, and what its sender is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub recipient: Recipient,
    pub action: Action,
}

/// RFC 3464 §2.3.3.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Failed(Failure),
    Delayed {
        failure: Option<Failure>,
        until: Timestamp,
    },
    /// To a next hop that does not notify, so that nobody knows how it went on.
    Relayed {
        reply: Reply,
        next_hop: NextHop,
    },
    /// Into the mailbox: an LMTP next hop has it.
    Delivered {
        reply: Reply,
        next_hop: NextHop,
    },
}

impl Action {
    pub const NAMES: [&str; 4] = ["failed", "delayed", "relayed", "delivered"];

    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Failed(_) => "failed",
            Self::Delayed { .. } => "delayed",
            Self::Relayed { .. } => "relayed",
            Self::Delivered { .. } => "delivered",
        }
    }

    fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Failed(failure) | Self::Delayed { failure: Some(failure), .. } => failure.reply.as_ref(),
            Self::Delayed { failure: None, .. } => None,
            Self::Relayed { reply, .. } | Self::Delivered { reply, .. } => Some(reply),
        }
    }

    fn next_hop(&self) -> Option<&NextHop> {
        match self {
            Self::Failed(failure) | Self::Delayed { failure: Some(failure), .. } => failure.next_hop.as_ref(),
            Self::Delayed { failure: None, .. } => None,
            Self::Relayed { next_hop, .. } | Self::Delivered { next_hop, .. } => Some(next_hop),
        }
    }
}
