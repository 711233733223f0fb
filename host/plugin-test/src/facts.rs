//! Facts for one call that nobody has written a scenario for: somebody, somewhere, now.

use crate::question::Question;
use mail::{
    Attributes, Connection, Content, DeliveryFacts, Domain, Event, Failure, FailureKind, Hook, MailId, Mailbox,
    Recipient, ReversePath, SessionFacts, Timestamp, Transaction,
};
use std::{net::IpAddr, sync::Arc, time::Duration};

#[derive(Clone, Debug)]
pub struct Facts {
    pub domain: Domain,
    pub peer_ip: IpAddr,
    pub helo: Option<String>,
    pub sender: ReversePath,
    /// All of the domain; `on-recipient` asks about the last, after the others.
    pub recipients: Vec<Mailbox>,
    pub content: Content,
    pub now: Timestamp,
}

impl Facts {
    /// None where there is no recipient, and the hook is about one.
    pub fn question(&self, hook: Hook) -> Option<Question> {
        Some(match hook {
            Hook::OnConnect => Question::Connect(Connection {
                session: self.session(),
                attributes: Attributes::new(),
                calls: Vec::new(),
            }),
            Hook::OnRecipient => {
                let (asked, before) = self.recipients.split_last()?;
                Question::Recipient(Box::new(self.transaction(before)), asked.clone())
            }
            Hook::OnMessage => Question::Message(Box::new(self.transaction(&self.recipients)), self.content.clone()),
            Hook::OnRoute => Question::Route(Box::new(self.delivery()?)),
            Hook::OnOffline => {
                let failure = Failure::new(FailureKind::Connect, None, "connection refused");
                Question::Offline(Box::new(self.delivery()?), failure)
            }
            Hook::OnOnline => Question::Online { held: 1 },
            Hook::OnEvent => {
                let delivery = Some(self.delivery()?);
                Question::Event(Box::new(Event { kind: "queued", at: self.now, delivery, json: "{}".to_owned() }))
            }
        })
    }

    fn session(&self) -> Arc<SessionFacts> {
        Arc::new(SessionFacts {
            listener: "[::]:25".into(),
            peer: (self.peer_ip, 4711).into(),
            peer_name: None,
            helo: self.helo.clone(),
            tls_version: None,
            auth_user: None,
        })
    }

    fn transaction(&self, recipients: &[Mailbox]) -> Transaction {
        Transaction {
            session: self.session(),
            id: MailId::new(self.now, 1),
            domain: self.domain.clone(),
            sender: self.sender.clone(),
            mail_params: Vec::new(),
            recipients: recipients.iter().cloned().map(Recipient::new).collect(),
            authenticity: mail::Authenticity::default(),
            score: 0,
            symbols: Vec::new(),
            attributes: Attributes::new(),
            calls: Vec::new(),
        }
    }

    fn delivery(&self) -> Option<DeliveryFacts> {
        Some(DeliveryFacts {
            id: MailId::new(self.now, 1),
            domain: self.domain.clone(),
            sender: self.sender.clone(),
            recipient: self.recipients.last()?.clone(),
            queued_at: self.now,
            expires_at: self.now.plus(Duration::from_secs(30 * 86_400)),
            attempts: 0,
            offline_since: None,
            attributes: Attributes::new(),
            calls: Vec::new(),
            content: Arc::new(self.content.clone()),
        })
    }
}
