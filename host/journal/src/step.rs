//! The steps of a mail, as they are written and read: each is complete in itself.

use crate::recorded::RecordedSession;
use mail::{Authenticity, CallRecord, MailId, Timestamp};
use serde::{Deserialize, Serialize};

/// All that is known of one mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    pub id: MailId,
    /// In order of time.
    pub steps: Vec<Told>,
}

/// A step and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// In milliseconds since the Unix epoch.
    pub at: Timestamp,
    #[serde(flatten)]
    pub step: Step,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Step {
    /// MAIL to the last answer.
    Intake(Box<Intake>),
    /// Plugins that were asked after it was accepted.
    Calls { domain: String, calls: Vec<CallRecord> },
    /// A connection's part in it, whatever came of it.
    Attempt { next_hop: String, took_ms: u64, transcript: String },
    /// What became of a recipient.
    Outcome(Outcome),
    /// Told in words: a notification, a person's act.
    Note { text: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Intake {
    pub domain: String,
    /// None for a notification of our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<RecordedSession>,
    /// Empty is the null reverse-path.
    pub sender: String,
    pub recipients: Vec<Asked>,
    /// Of the content as received, in bytes; none where it never came to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Of where the mail comes from; nothing where it was not checked.
    #[serde(default, skip_serializing_if = "Authenticity::is_none")]
    pub authenticity: Authenticity,
    /// `queued`, `quarantined`, `discarded`, `rejected`, `tempfailed`, or `left`: the client gave up.
    pub outcome: String,
    /// What the client was told last.
    pub reply: String,
    /// Of on-connect and on-message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallRecord>,
}

/// One RCPT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Asked {
    pub address: String,
    pub reply: String,
    /// Of on-recipient.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    pub recipient: String,
    /// `delivered`, `failed`, `deferred`, `held`, `rewritten` or `discarded`.
    pub outcome: String,
    /// From 1.
    pub attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<String>,
    /// The next hop's reply, or why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it is due again (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl Step {
    /// In bytes of memory, roughly.
    pub(crate) fn weight(&self) -> usize {
        let call = |call: &CallRecord| {
            let failure =
                call.failure.as_ref().map_or(0, |f| f.text.len() + f.backtrace.iter().map(String::len).sum::<usize>());
            256 + call.answer.len() + call.edits.iter().map(|edit| edit.len() + 24).sum::<usize>() + failure
        };
        let calls = |calls: &[CallRecord]| calls.iter().map(call).sum::<usize>();
        128 + match self {
            Self::Intake(intake) => {
                let asked = |asked: &Asked| 96 + asked.address.len() + asked.reply.len() + calls(&asked.calls);
                256 + calls(&intake.calls) + intake.recipients.iter().map(asked).sum::<usize>()
            }
            Self::Calls { calls: made, .. } => calls(made),
            Self::Attempt { transcript, .. } => transcript.len(),
            Self::Outcome(outcome) => outcome.reason.as_ref().map_or(0, String::len),
            Self::Note { text } => text.len(),
        }
    }

    /// The calls, in groups of those that were asked the same question.
    pub(crate) fn questions(&self) -> Vec<&[CallRecord]> {
        let groups: Vec<&[CallRecord]> = match self {
            Self::Intake(intake) => {
                let by_hook = intake.calls.chunk_by(|a, b| a.hook == b.hook);
                by_hook.chain(intake.recipients.iter().map(|asked| asked.calls.as_slice())).collect()
            }
            Self::Calls { calls, .. } => calls.chunk_by(|a, b| a.hook == b.hook).collect(),
            Self::Attempt { .. } | Self::Outcome(_) | Self::Note { .. } => Vec::new(),
        };
        groups.into_iter().filter(|calls| !calls.is_empty()).collect()
    }
}
