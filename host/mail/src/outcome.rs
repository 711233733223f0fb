//! How an attempt ended for one recipient.

use crate::{NextHop, Reply};
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The next hop answered 2yz and has taken over.
    Delivered(Reply),
    /// To be tried again later.
    Deferred(Failure),
    /// Never to be tried again.
    Failed(Failure),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// For the operator: what happened, in one line.
    pub detail: String,
    pub next_hop: Option<NextHop>,
    /// What the next hop said, if it said anything.
    pub reply: Option<Reply>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    Dns,
    Connect,
    Tls,
    Identity,
    Timeout,
    TempFail,
    PermFail,
    Protocol,
    Other,
}

impl FailureKind {
    /// The next hop could not be reached or is not itself: every mail for it would fare the same.
    pub fn is_offline(self) -> bool {
        matches!(self, Self::Dns | Self::Connect | Self::Tls | Self::Identity | Self::Timeout)
    }
}

impl Failure {
    pub fn new(kind: FailureKind, next_hop: Option<&NextHop>, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), next_hop: next_hop.cloned(), reply: None }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Identity => "identity",
            Self::Timeout => "timeout",
            Self::TempFail => "tempfail",
            Self::PermFail => "permfail",
            Self::Protocol => "protocol",
            Self::Other => "other",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        self.reply.as_ref().map_or(Ok(()), |reply| write!(f, ": {reply}"))
    }
}
