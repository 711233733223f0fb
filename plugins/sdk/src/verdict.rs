//! Short ways to make an answer. The gateway checks what they hold: code, enhanced code, text and hops.

use crate::{Action, Reply, Routing, Verdict};

impl Reply {
    /// `Reply::new(451, "4.7.1", "Try again in 5 minutes")`: one line of printable text.
    pub fn new(code: u16, enhanced: &str, text: impl Into<String>) -> Self {
        Self { code, enhanced: Some(enhanced.to_owned()), text: text.into() }
    }
}

impl Verdict {
    /// 5yz, an RFC 3463 code of class 5, and what the sender reads.
    pub fn reject(code: u16, enhanced: &str, text: impl Into<String>) -> Self {
        Self::Reject(Reply::new(code, enhanced, text))
    }
    /// 4yz, an RFC 3463 code of class 4, and what the sender reads.
    pub fn tempfail(code: u16, enhanced: &str, text: impl Into<String>) -> Self {
        Self::Tempfail(Reply::new(code, enhanced, text))
    }
    /// 250, then held under this reason until a person releases it.
    pub fn quarantine(reason: impl Into<String>) -> Self {
        Self::Quarantine(reason.into())
    }
}

impl Routing {
    /// Tried in this order; each is written as in the configuration.
    pub fn relay<T: Into<String>>(next_hops: impl IntoIterator<Item = T>) -> Self {
        Self::Relay(next_hops.into_iter().map(Into::into).collect())
    }
}

impl Action {
    /// Tried in this order; each is written as in the configuration.
    pub fn redirect<T: Into<String>>(next_hops: impl IntoIterator<Item = T>) -> Self {
        Self::Redirect(next_hops.into_iter().map(Into::into).collect())
    }
    /// Until the next hop is back or someone releases it.
    pub fn hold(reason: impl Into<String>) -> Self {
        Self::Hold(reason.into())
    }
}
