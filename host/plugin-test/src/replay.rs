//! Asks a plugin about recorded mail again, and tells where it would answer or change something else.
//!
//! The plugin sees each mail as it came in, without what other plugins of the chain had changed. State begins empty and
//! fills in the order of the mails; the clock is that of each mail.

use crate::{
    bench::Plugin,
    question::{Answer, Question},
};
use journal::recorded::{Recorded, RecordedRecipient};
use mail::{CallRecord, Content, Hook, MailId, Mode, SessionFacts, Transaction};
use serde::Serialize;
use std::{collections::BTreeSet, sync::Arc};

/// With what a plugin's answers are compared.
pub enum Against<'a> {
    /// With what was recorded of the plugin of this name.
    Recorded { plugin: &'a str },
    /// With those of another component, asked about the same mail.
    Other(&'a Plugin),
}

/// One call, before and now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    pub id: MailId,
    pub hook: Hook,
    /// In on-recipient: whom it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// None: there was no such call.
    pub was: Option<Said>,
    pub now: Option<Said>,
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    pub answer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<String>,
}

impl Compared {
    pub fn differs(&self) -> bool {
        self.was != self.now
    }
    /// Not in its edits alone.
    pub fn answer_differs(&self) -> bool {
        let answer = |said: &Option<Said>| said.as_ref().map(|said| (said.answer.clone(), said.failure.clone()));
        answer(&self.was) != answer(&self.now)
    }
}

impl From<&CallRecord> for Said {
    fn from(record: &CallRecord) -> Self {
        Self {
            answer: record.answer.clone(),
            failure: record.failure.as_ref().map(|failure| format!("{}: {}", failure.kind, failure.text)),
            edits: record.edits.clone(),
        }
    }
}

/// As the gateway asks: about each recipient in turn, then about the mail if there is a recipient left.
pub async fn replay(plugin: &Plugin, against: &Against<'_>, recorded: &Recorded, content: &Content) -> Vec<Compared> {
    let whom = whom(against, recorded);
    let now = ask(plugin, recorded, content, &whom).await;
    let was = match against {
        Against::Other(other) => ask(other, recorded, content, &whom).await,
        Against::Recorded { plugin } => said_then(plugin, recorded),
    };
    pair(recorded.id, was, now)
}

type Call = (Hook, Option<String>, Said);

/// The recipients that the plugin is asked about: those of then, where that is known, and otherwise all whom
/// the gateway asks about.
fn whom(against: &Against<'_>, recorded: &Recorded) -> BTreeSet<String> {
    let then: BTreeSet<String> = match against {
        Against::Recorded { plugin } => calls_of(plugin, recorded).filter_map(|call| call.about.clone()).collect(),
        Against::Other(_) => BTreeSet::new(),
    };
    if !then.is_empty() {
        return then;
    }
    let addresses = recorded.recipients.iter().map(|one| &one.recipient.address);
    addresses
        .filter(|address| !address.local_part().eq_ignore_ascii_case("postmaster"))
        .map(ToString::to_string)
        .collect()
}

/// Of a plugin that stands in the chain both ways, those that decided.
fn calls_of<'a>(plugin: &'a str, recorded: &'a Recorded) -> impl Iterator<Item = &'a CallRecord> {
    let decides = recorded.calls.iter().any(|call| call.plugin == plugin && call.mode == Mode::Active);
    recorded.calls.iter().filter(move |call| call.plugin == plugin && (!decides || call.mode == Mode::Active))
}

async fn ask(plugin: &Plugin, recorded: &Recorded, content: &Content, whom: &BTreeSet<String>) -> Vec<Call> {
    let mut transaction = transaction(recorded);
    // Before there is content, the client alone has been checked.
    let checked = std::mem::take(&mut transaction.authenticity);
    transaction.authenticity.spf = checked.spf;
    let mut calls = Vec::new();
    for RecordedRecipient { recipient, .. } in &recorded.recipients {
        let mut taken = true;
        if !whom.contains(recipient.address.as_str()) {
            transaction.recipients.push(recipient.clone());
            continue;
        }
        let question = Question::Recipient(Box::new(transaction.clone()), recipient.address.clone());
        if let Some(answered) = plugin.ask(question, recorded.received_at).await {
            let address = recipient.address.to_string();
            calls.push((Hook::OnRecipient, Some(address), Said::from(&answered.record)));
            taken = lets_through(&answered.answer);
            if let crate::After::Transaction(after) = answered.after {
                transaction = *after;
            }
        }
        if taken {
            transaction.recipients.push(recipient.clone());
        }
    }
    // What the gateway or another plugin refused then is not what this plugin was asked about.
    transaction.recipients.retain(|kept| {
        let then = recorded.recipients.iter().find(|one| one.recipient.address == kept.address);
        then.is_none_or(|one| one.reply.is_positive())
    });
    transaction.authenticity = checked;
    if !transaction.recipients.is_empty() {
        let question = Question::Message(Box::new(transaction), content.clone());
        if let Some(answered) = plugin.ask(question, recorded.received_at).await {
            calls.push((Hook::OnMessage, None, Said::from(&answered.record)));
        }
    }
    calls
}

fn lets_through(answer: &Answer) -> bool {
    matches!(answer.word(), "pass" | "accept")
}

fn transaction(recorded: &Recorded) -> Transaction {
    Transaction {
        session: Arc::new(SessionFacts::from(&recorded.session)),
        id: recorded.id,
        domain: recorded.domain.clone(),
        sender: recorded.sender.clone(),
        mail_params: recorded.mail_params.clone(),
        recipients: Vec::new(),
        authenticity: recorded.authenticity.clone(),
        score: 0,
        symbols: Vec::new(),
        attributes: recorded.attributes.clone(),
        calls: Vec::new(),
    }
}

/// A record that doesn't say whom it is about is about the next one.
fn said_then(plugin: &str, recorded: &Recorded) -> Vec<Call> {
    let mut recipients = recorded.recipients.iter().map(|one| one.recipient.address.to_string());
    let call = |call: &CallRecord| match call.hook {
        Hook::OnRecipient => Some((call.hook, call.about.clone().or_else(|| recipients.next()), Said::from(call))),
        Hook::OnMessage => Some((call.hook, None, Said::from(call))),
        _ => None,
    };
    calls_of(plugin, recorded).filter_map(call).collect()
}

/// In the order of now; what has no partner follows.
fn pair(id: MailId, mut was: Vec<Call>, now: Vec<Call>) -> Vec<Compared> {
    let mut compared = Vec::new();
    for (hook, recipient, said) in now {
        let partner = was.iter().position(|(other, whom, _)| *other == hook && *whom == recipient);
        let partner = partner.map(|index| was.remove(index).2);
        compared.push(Compared { id, hook, recipient, was: partner, now: Some(said) });
    }
    compared.extend(was.into_iter().map(|(hook, recipient, said)| Compared {
        id,
        hook,
        recipient,
        was: Some(said),
        now: None,
    }));
    compared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answer: &str) -> Said {
        Said { answer: answer.to_owned(), failure: None, edits: Vec::new() }
    }

    #[test]
    fn calls_are_compared_with_those_about_the_same() {
        let about = |whom: &str, answer: &str| (Hook::OnRecipient, Some(whom.to_owned()), said(answer));
        let was = vec![about("a", "pass"), about("b", "pass"), (Hook::OnMessage, None, said("pass"))];
        let now = vec![about("b", "reject 550"), about("a", "pass")];
        let compared = pair(MailId::from_u128(1), was, now);
        let differing: Vec<(Option<&str>, bool)> =
            compared.iter().map(|one| (one.recipient.as_deref(), one.differs())).collect();
        assert_eq!(differing, [(Some("b"), true), (Some("a"), false), (None, true)]);
        assert!(compared[0].answer_differs() && compared[2].now.is_none());
    }
}
