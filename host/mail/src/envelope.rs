//! Reverse-path, recipients and what the client asked for with them.

use crate::{Mailbox, ReversePath};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    pub sender: ReversePath,
    pub recipients: Vec<Recipient>,
    /// `BODY=` of MAIL (RFC 6152).
    #[serde(default)]
    pub body: BodyKind,
    /// `SMTPUTF8` of MAIL (RFC 6531).
    #[serde(default)]
    pub smtputf8: bool,
    /// `REQUIRETLS` of MAIL (RFC 8689): only to servers that are proven, under TLS, and promise the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_tls: bool,
    /// `RET=` of MAIL (RFC 3461 §4.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<Ret>,
    /// `ENVID=` of MAIL (RFC 3461 §4.4), still in xtext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envid: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    pub address: Mailbox,
    /// `NOTIFY=` of RCPT (RFC 3461 §4.1); none where the client said nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// `ORCPT=` of RCPT (RFC 3461 §4.2): `rfc822;` and the address, still in xtext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orcpt: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyKind {
    #[default]
    SevenBit,
    EightBitMime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ret {
    Full,
    Headers,
}

/// All false is `NEVER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    pub success: bool,
    pub failure: bool,
    pub delay: bool,
}

impl Notify {
    pub const NEVER: Self = Self { success: false, failure: false, delay: false };

    /// As the value of `NOTIFY=`.
    pub fn to_param(self) -> String {
        let names = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let asked: Vec<&str> = names.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        if asked.is_empty() { "NEVER".to_owned() } else { asked.join(",") }
    }
}

impl Recipient {
    pub fn new(address: Mailbox) -> Self {
        Self { address, notify: None, orcpt: None }
    }
    /// RFC 3461 §4.1: without NOTIFY, failure and delay may be reported.
    pub fn wants_failure(&self) -> bool {
        self.notify.is_none_or(|notify| notify.failure)
    }
}

impl Envelope {
    /// An address in it needs RFC 6531 at the next hop.
    pub fn has_utf8_address(&self) -> bool {
        self.sender.mailbox().is_some_and(Mailbox::needs_smtputf8)
            || self.recipients.iter().any(|r| r.address.needs_smtputf8())
    }
}
