//! Recipients of one mail on their way to one list of next hops.

use super::in_flight::Flight;
use crate::{dsn, memory::Share};
use mail::{Attributes, CallRecord, DeliveryFacts, Mailbox, NextHop, Notify, Recipient, Timestamp, TlsMode};
use queue::{Claim, ClaimedRecipient, QueuedMail};
use std::{collections::BTreeMap, sync::Arc};

pub struct Job {
    pub claim: Claim,
    /// Tried in order.
    pub hops: Vec<NextHop>,
    pub at: usize,
    /// The domain's `tls`, where a next hop says nothing itself.
    pub tls: TlsMode,
    pub stage: Stage,
    pub hold: Arc<Held>,
    pub notes: Notes,
}

/// What plugins have changed about the mail on its way; written with the outcome.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    pub attributes: Option<Attributes>,
    pub expires_at: Option<Timestamp>,
    /// By `ClaimedRecipient::index`, for this attempt only: the queue keeps the address that was accepted.
    pub readdressed: BTreeMap<u32, Mailbox>,
    /// For the journal.
    pub calls: Vec<CallRecord>,
    /// Of this attempt: whoever took the mail notifies its sender.
    pub passed_on: bool,
    /// The next hop was spoken to.
    pub tried: bool,
    /// It refused everything then: whoever is held waits until it takes something.
    pub closed: bool,
}

impl Notes {
    /// As the next hop is told. Whom the mail was for when it came goes with it (RFC 3461 §5.2.1), unless
    /// nobody is ever to be told of it.
    pub fn addressed(&self, recipient: &ClaimedRecipient, mail: &QueuedMail) -> Recipient {
        let mut told = recipient.recipient.clone();
        if told.orcpt.is_none() && told.notify != Some(Notify::NEVER) {
            let accepted = mail.envelope.recipients.get(recipient.index as usize);
            told.orcpt = accepted.map(|accepted| dsn::original_recipient_param(&accepted.address));
        }
        if let Some(address) = self.readdressed.get(&recipient.index) {
            told.address = address.clone();
        }
        told
    }

    /// After a hook: what it changed holds for this attempt too.
    pub fn take_from(&mut self, mut facts: DeliveryFacts, mail: &QueuedMail, recipient: &mut ClaimedRecipient) {
        self.calls.append(&mut facts.calls);
        if facts.attributes != *self.attributes.as_ref().unwrap_or(&mail.attributes) {
            self.attributes = Some(facts.attributes);
        }
        if facts.expires_at != recipient.expires_at {
            recipient.expires_at = facts.expires_at;
            self.expires_at = Some(facts.expires_at);
        }
    }
}

/// What a mail keeps busy while any of its jobs lives.
pub struct Held {
    pub flight: Flight,
    pub memory: Option<Share>,
}

/// Whether the next hop's absence has been answered already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    Routed,
    /// Sent elsewhere while this next hop is away: if that is away too, the mail waits for this one.
    Redirected {
        away: NextHop,
    },
}

impl Job {
    pub fn hop(&self) -> Option<&NextHop> {
        self.hops.get(self.at)
    }
    /// It could go elsewhere than to what it waits for, which may be back first.
    pub fn has_alternatives(&self) -> bool {
        self.hops.len() > 1 || self.stage != Stage::Routed
    }
    /// What it waits for when nothing can be reached.
    pub fn awaited(&self) -> Option<&NextHop> {
        match &self.stage {
            Stage::Redirected { away } => Some(away),
            Stage::Routed => self.hops.first(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::{Content, Envelope, MailId, ReversePath};

    #[test]
    fn what_a_plugin_notes_is_kept_and_an_unchanged_mail_is_not_written() {
        let mail = QueuedMail {
            id: MailId::from_u128(1),
            domain: "example.org".parse().unwrap(),
            envelope: Envelope::default(),
            attributes: Attributes::new(),
            received_at: Timestamp::from_secs(1),
            expires_at: Timestamp::from_secs(100),
            size: 0,
        };
        let mut recipient = ClaimedRecipient {
            index: 0,
            recipient: Recipient::new("ann@example.org".parse().unwrap()),
            attempts: 0,
            offline_since: None,
            expires_at: mail.expires_at,
            waiting_for: None,
            last_failure: None,
            delay_told: false,
        };
        let facts = DeliveryFacts {
            id: mail.id,
            domain: mail.domain.clone(),
            sender: ReversePath::Null,
            recipient: recipient.recipient.address.clone(),
            queued_at: mail.received_at,
            expires_at: mail.expires_at,
            attempts: 0,
            offline_since: None,
            attributes: Attributes::new(),
            calls: Vec::new(),
            content: std::sync::Arc::new(Content::default()),
        };
        let mut notes = Notes::default();
        notes.take_from(facts.clone(), &mail, &mut recipient);
        assert!(notes.attributes.is_none() && notes.expires_at.is_none());

        let changed = DeliveryFacts {
            attributes: [("seen".to_owned(), "1".to_owned())].into(),
            expires_at: Timestamp::from_secs(50),
            ..facts
        };
        notes.take_from(changed, &mail, &mut recipient);
        assert_eq!(notes.attributes.unwrap().get("seen").map(String::as_str), Some("1"));
        assert_eq!(
            (notes.expires_at, recipient.expires_at),
            (Some(Timestamp::from_secs(50)), Timestamp::from_secs(50))
        );
    }
}
