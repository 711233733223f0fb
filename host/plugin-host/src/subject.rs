//! What a call is about, and what becomes of it when the plugin's changes are let through.

use crate::lines::DiffLines;
use mail::{
    Attributes, Connection, Content, DeliveryFacts, Edit, Event, Failure, MailId, Mailbox, Recipient, ReversePath,
    SessionFacts, Timestamp, Transaction,
};
use std::net::IpAddr;

#[derive(Clone, Default)]
pub(crate) enum Subject {
    /// `setup`, and between calls.
    #[default]
    Nothing,
    Connect {
        connection: Box<Connection>,
    },
    Recipient {
        transaction: Box<Transaction>,
        asked: Mailbox,
    },
    Message {
        transaction: Box<Transaction>,
        content: Content,
    },
    Route {
        delivery: Box<DeliveryFacts>,
    },
    Offline {
        delivery: Box<DeliveryFacts>,
        failure: Box<Failure>,
    },
    Online {
        held: u64,
    },
    Event {
        event: Box<Event>,
    },
}

/// By what a plugin's share of the mail is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SampleKey {
    Mail(MailId),
    Peer(IpAddr),
}

impl Subject {
    pub(crate) fn session(&self) -> Option<&SessionFacts> {
        match self {
            Self::Connect { connection } => Some(&connection.session),
            Self::Recipient { transaction, .. } | Self::Message { transaction, .. } => Some(&transaction.session),
            Self::Nothing | Self::Route { .. } | Self::Offline { .. } | Self::Online { .. } | Self::Event { .. } => {
                None
            }
        }
    }
    pub(crate) fn transaction(&self) -> Option<&Transaction> {
        match self {
            Self::Recipient { transaction, .. } | Self::Message { transaction, .. } => Some(transaction),
            _ => None,
        }
    }
    /// For reading.
    pub(crate) fn delivery(&self) -> Option<&DeliveryFacts> {
        match self {
            Self::Event { event } => event.delivery.as_ref(),
            _ => self.attempt(),
        }
    }
    /// A delivery that is about to be tried, or has just failed: it can be changed, and its mail can be read.
    pub(crate) fn attempt(&self) -> Option<&DeliveryFacts> {
        match self {
            Self::Route { delivery } | Self::Offline { delivery, .. } => Some(delivery),
            _ => None,
        }
    }
    pub(crate) fn attributes(&self) -> Option<&Attributes> {
        match self {
            Self::Connect { connection } => Some(&connection.attributes),
            Self::Recipient { transaction, .. } | Self::Message { transaction, .. } => Some(&transaction.attributes),
            Self::Route { .. } | Self::Offline { .. } | Self::Event { .. } => Some(&self.delivery()?.attributes),
            Self::Nothing | Self::Online { .. } => None,
        }
    }
    pub(crate) fn content(&self) -> Option<&Content> {
        match self {
            Self::Message { content, .. } => Some(content),
            _ => None,
        }
    }
    /// None: everybody is asked.
    pub(crate) fn sample_key(&self) -> Option<SampleKey> {
        match self {
            Self::Connect { connection } => Some(SampleKey::Peer(connection.session.peer.ip().to_canonical())),
            Self::Recipient { transaction, .. } | Self::Message { transaction, .. } => {
                Some(SampleKey::Mail(transaction.id))
            }
            Self::Route { .. } | Self::Offline { .. } | Self::Event { .. } => {
                Some(SampleKey::Mail(self.delivery()?.id))
            }
            Self::Nothing | Self::Online { .. } => None,
        }
    }

    /// Applies what the plugin staged, and tells it line by line.
    pub(crate) fn keep(&mut self, staged: Staged) -> Vec<String> {
        let mut lines = DiffLines::default();
        match self {
            Self::Connect { connection } => keep_attributes(&mut connection.attributes, staged.attributes, &mut lines),
            Self::Recipient { transaction, .. } => {
                staged.keep_in_transaction(transaction, &mut lines);
            }
            Self::Message { transaction, content } => {
                for edit in staged.keep_in_transaction(transaction, &mut lines) {
                    edit.diff(content).into_iter().for_each(|line| lines.push(&line));
                    *content = content.edited(std::slice::from_ref(&edit));
                }
            }
            Self::Route { delivery } | Self::Offline { delivery, .. } => {
                keep_attributes(&mut delivery.attributes, staged.attributes, &mut lines);
                if let Some(at) = staged.expires_at.filter(|at| *at != delivery.expires_at) {
                    lines.push(&format!("expires {}", at.as_secs()));
                    delivery.expires_at = at;
                }
            }
            Self::Nothing | Self::Online { .. } | Self::Event { .. } => {}
        }
        lines.finish()
    }
}

/// What the plugin has asked to change; applied only when its verdict lets the mail go on.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    pub(crate) score: i32,
    pub(crate) symbols: Vec<(String, i32)>,
    pub(crate) sender: Option<ReversePath>,
    /// The whole list, copied at the first change.
    pub(crate) recipients: Option<Vec<Recipient>>,
    pub(crate) attributes: Attributes,
    pub(crate) edits: Vec<Edit>,
    /// Bytes that the edits brought along.
    pub(crate) edit_bytes: usize,
    pub(crate) expires_at: Option<Timestamp>,
}

impl Staged {
    fn keep_in_transaction(self, transaction: &mut Transaction, lines: &mut DiffLines) -> Vec<Edit> {
        self.tell_score(lines);
        transaction.score = transaction.score.saturating_add(self.score);
        transaction.symbols.extend(self.symbols);
        if let Some(sender) = self.sender {
            lines.push(&format!("sender - {}", in_brackets(&transaction.sender)));
            lines.push(&format!("sender + {}", in_brackets(&sender)));
            transaction.sender = sender;
        }
        if let Some(recipients) = self.recipients {
            tell_recipients(&transaction.recipients, &recipients, lines);
            transaction.recipients = recipients;
        }
        keep_attributes(&mut transaction.attributes, self.attributes, lines);
        self.edits
    }

    fn tell_score(&self, lines: &mut DiffLines) {
        let named = self.symbols.iter().fold(0_i32, |sum, (_, points)| sum.saturating_add(*points));
        for (symbol, points) in &self.symbols {
            lines.push(&format!("score {} {symbol}", points_text(*points)));
        }
        // Points of symbols that cannot be written.
        if named != self.score {
            lines.push(&format!("score {}", points_text(self.score.saturating_sub(named))));
        }
    }
}

/// Hundredths: `+1.50`.
fn points_text(points: i32) -> String {
    let (sign, points) = (if points < 0 { '-' } else { '+' }, points.unsigned_abs());
    format!("{sign}{}.{:02}", points / 100, points % 100)
}

fn in_brackets(path: &ReversePath) -> String {
    format!("<{}>", path.mailbox().map_or("", Mailbox::as_str))
}

fn tell_recipients(before: &[Recipient], after: &[Recipient], lines: &mut DiffLines) {
    let is_in = |list: &[Recipient], recipient: &Recipient| list.iter().any(|other| other.address == recipient.address);
    for gone in before.iter().filter(|recipient| !is_in(after, recipient)) {
        lines.push(&format!("rcpt - {}", gone.address));
    }
    for new in after.iter().filter(|recipient| !is_in(before, recipient)) {
        lines.push(&format!("rcpt + {}", new.address));
    }
}

fn keep_attributes(kept: &mut Attributes, staged: Attributes, lines: &mut DiffLines) {
    for (name, value) in staged {
        if kept.get(&name) != Some(&value) {
            lines.push(&format!("note {name}: {value}"));
            kept.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_written_with_their_sign() {
        assert_eq!([points_text(150), points_text(-5), points_text(0)], ["+1.50", "-0.05", "+0.00"]);
    }
}
