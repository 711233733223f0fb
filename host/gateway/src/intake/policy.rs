//! One transaction of one policy domain: its recipients, and what its chain has said of them so far.

use super::{receiver::MailFacts, replies};
use crate::domains::DomainState;
use mail::{Attributes, Domain, MailId, Mailbox, Recipient, Reply, SessionFacts, Transaction, Verdict};
use std::sync::Arc;
use tracing::info;

/// From the first accepted recipient on.
pub struct Policy {
    pub domain: Arc<DomainState>,
    pub transaction: Transaction,
    /// A plugin chose at RCPT that the whole mail is held.
    pub quarantine: Option<String>,
    /// A recipient was accepted that gets nothing.
    pub discarded: bool,
}

impl Policy {
    pub fn new(
        session: &Arc<SessionFacts>,
        id: MailId,
        facts: &MailFacts,
        domain: Arc<DomainState>,
        name: Domain,
        attributes: Attributes,
    ) -> Self {
        let transaction = Transaction {
            session: session.clone(),
            id,
            domain: name,
            sender: facts.sender.clone(),
            mail_params: facts.params.clone(),
            recipients: Vec::new(),
            authenticity: mail::Authenticity::default(),
            score: 0,
            symbols: Vec::new(),
            attributes,
            calls: Vec::new(),
        };
        Self { domain, transaction, quarantine: None, discarded: false }
    }

    pub async fn ask(&mut self, address: &Mailbox) -> Verdict {
        // RFC 5321 §4.5.1: postmaster must be accepted, so no plugin is asked.
        if !self.domain.chain.hooks().on_recipient || address.local_part().eq_ignore_ascii_case("postmaster") {
            return Verdict::Pass;
        }
        self.domain.chain.on_recipient(&mut self.transaction, address).await
    }

    pub fn apply(&mut self, verdict: Verdict, recipient: Recipient) -> Reply {
        match verdict {
            Verdict::Pass | Verdict::Accept => self.transaction.recipients.push(recipient),
            Verdict::Discard => self.discarded = true,
            Verdict::Quarantine(reason) => {
                self.quarantine = Some(reason);
                self.transaction.recipients.push(recipient);
            }
            Verdict::TempFail(reply) | Verdict::Reject(reply) => {
                info!(id = %self.transaction.id, domain = %self.transaction.domain, sender = %self.transaction.sender, recipient = %recipient.address,
                    peer = %self.transaction.session.peer, outcome = "refused", %reply);
                return reply;
            }
        }
        replies::RECIPIENT_OK
    }

    pub fn is_bound(&self) -> bool {
        !self.transaction.recipients.is_empty() || self.discarded
    }
}
