//! What plugins in shadow mode would have changed. Pure.

use mail::{CallRecord, Mode};
use serde::{Deserialize, Serialize};

/// So often one plugin of one domain would have answered this where the chain did that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    pub plugin: String,
    pub domain: String,
    pub hook: String,
    /// The first word of its answer, `, edits` where it asked for some; `failed: trap` where it failed.
    pub would: String,
    pub did: String,
    pub count: u64,
    /// Some of the mails, the latest first.
    pub samples: Vec<String>,
}

impl Difference {
    /// With the same answer and no edits it would have changed nothing.
    pub fn is_none(&self) -> bool {
        self.would == self.did
    }
}

/// Of those that were asked one question: each shadow's call with what it would have done, and what the chain did.
pub(crate) fn compare(calls: &[CallRecord]) -> Vec<(&CallRecord, String, String)> {
    let mut shadows = calls.iter().filter(|call| call.mode == Mode::Shadow).peekable();
    if shadows.peek().is_none() {
        return Vec::new();
    }
    // A chain ends with the plugin that decides.
    let active = calls.iter().rfind(|call| call.mode == Mode::Active);
    let none = || if is_delivery(calls) { "default" } else { "pass" }.to_owned();
    let did = active.map_or_else(none, |call| word(&call.answer));
    shadows.map(|call| (call, would(call), did.clone())).collect()
}

fn is_delivery(calls: &[CallRecord]) -> bool {
    use mail::Hook::{OnOffline, OnRoute};
    calls.first().is_some_and(|call| matches!(call.hook, OnRoute | OnOffline))
}

fn would(call: &CallRecord) -> String {
    match &call.failure {
        Some(failure) => format!("failed: {}", failure.kind),
        None if call.edits.is_empty() => word(&call.answer),
        None => format!("{}, edits", word(&call.answer)),
    }
}

fn word(answer: &str) -> String {
    let word = answer.split(' ').next().unwrap_or_default();
    // `accept` only ends the chain: to the mail it is the same.
    if word == "accept" { "pass" } else { word }.to_owned()
}
