//! What a plugin's call leaves behind for the journal, and what plugins are told after the fact.

use crate::{DeliveryFacts, Mode, Timestamp};
use serde::{Deserialize, Serialize};

/// One call of one plugin. Everything a guest said is printable and bounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    pub plugin: String,
    /// As the component says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub hook: Hook,
    /// The recipient that it was asked about, in on-recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    #[serde(default)]
    pub mode: Mode,
    pub at: Timestamp,
    /// `pass`, `reject 550 5.7.1 no`, `relay b.example:25`; for a call that failed, what its policy made of it.
    pub answer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<CallFailure>,
    /// One line for each change that took effect (in shadow mode: would have), as in a diff:
    /// `+ X-Tag: 1`, `- Subject: old`, `score +1.50 SPAM`, `rcpt + a@b.example`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<String>,
    pub spent: Spent,
    /// How often each function of the host was called, for instance `kv.get`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_calls: Vec<(String, u32)>,
}

/// Why a call has no answer of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFailure {
    /// A closed set of words: `trap`, `time`, `cpu`, `memory`, `tables`, `nonsense`, `breaker`, `busy`.
    pub kind: String,
    pub text: String,
    /// The guest's functions, innermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backtrace: Vec<String>,
}

/// What a call cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Waiting and host calls included, in microseconds.
    pub wall_us: u64,
    /// Of a processor, for guest code and what the host did on its behalf, in microseconds.
    pub cpu_us: u64,
    /// Of linear memory, in bytes.
    pub peak_memory: u64,
    /// Instructions, where the host counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

/// Where on the way of a mail a plugin is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    OnConnect,
    OnRecipient,
    OnMessage,
    OnRoute,
    OnOffline,
    OnOnline,
    OnEvent,
}

impl Hook {
    pub const ALL: [Self; 7] = [
        Self::OnConnect,
        Self::OnRecipient,
        Self::OnMessage,
        Self::OnRoute,
        Self::OnOffline,
        Self::OnOnline,
        Self::OnEvent,
    ];

    /// The name of its interface in WIT.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnConnect => "on-connect",
            Self::OnRecipient => "on-recipient",
            Self::OnMessage => "on-message",
            Self::OnRoute => "on-route",
            Self::OnOffline => "on-offline",
            Self::OnOnline => "on-online",
            Self::OnEvent => "on-event",
        }
    }
}

/// Something that has happened to a mail or to a next hop.
#[derive(Clone)]
pub struct Event {
    /// `queued`, `delivered`, `delayed`, `failed`, `expired`, `held`, `released`, `redirected`, `discarded`,
    /// `offline` or `online`; more may come.
    pub kind: &'static str,
    pub at: Timestamp,
    /// None for what happens to a next hop.
    pub delivery: Option<DeliveryFacts>,
    /// The rest, an object.
    pub json: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_written_in_records_as_in_wit() {
        for hook in Hook::ALL {
            assert_eq!(serde_json::to_value(hook).unwrap(), hook.as_str());
        }
    }
}
