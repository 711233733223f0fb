//! A client whose next hop says what a test tells it to.

use crate::relay::{client_config, envelope};
use bytes::Bytes;
use mail::{Content, Envelope, Failure, Outcome};
use smtp::{Client, ClientConfig, ClientEvent, ClientTls};

pub(crate) const HELLO: &str = "250-mx.example.net\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 1000\r\n";
pub(crate) const MAIL: &str = "MAIL FROM:<ann@client.example> SIZE=15\r\n";
pub(crate) const CONTENT: &str = "Subject: hi\r\n\r\n";

pub(crate) struct Session(pub(crate) Client);

impl Session {
    pub(crate) fn new(config: ClientConfig) -> Self {
        Self(Client::new(config))
    }

    /// Greeted and ready, with this reply to EHLO.
    pub(crate) fn ready(hello: &str) -> Self {
        let mut session = Self::new(ClientConfig { tls: ClientTls::None, ..client_config() });
        assert_eq!(session.hear("220 mx.example.net ESMTP\r\n"), []);
        assert_eq!(session.said(), "EHLO relay.example\r\n");
        assert_eq!(session.hear(hello), [ClientEvent::Ready]);
        session
    }

    pub(crate) fn hear(&mut self, bytes: impl AsRef<[u8]>) -> Vec<ClientEvent> {
        self.0.receive(bytes.as_ref());
        self.events()
    }

    pub(crate) fn events(&mut self) -> Vec<ClientEvent> {
        std::iter::from_fn(|| self.0.next_event()).collect()
    }

    pub(crate) fn end(&mut self) -> Vec<ClientEvent> {
        self.0.eof();
        self.events()
    }

    pub(crate) fn said(&mut self) -> String {
        let mut said = Vec::new();
        while !self.0.output().is_empty() {
            said.extend_from_slice(&self.0.output().split());
        }
        String::from_utf8(said).unwrap()
    }

    pub(crate) fn send(&mut self, envelope: &Envelope, content: &'static str) {
        self.0.send(envelope, &envelope.recipients, &Content::new(Bytes::from_static(content.as_bytes()))).unwrap();
    }

    pub(crate) fn send_to(&mut self, recipients: &[&str]) {
        self.send(&envelope(recipients), CONTENT);
    }
}

pub(crate) fn closed(events: &[ClientEvent]) -> &Failure {
    match events {
        [.., ClientEvent::Closed(failure)] => failure,
        other => panic!("not closed: {other:?}"),
    }
}

/// A letter for each outcome: Delivered, defeRred as Temporary or by another kind, Failed.
pub(crate) fn outcomes(events: &[ClientEvent]) -> Vec<String> {
    let Some(ClientEvent::Done(outcomes)) = events.first() else { panic!("not done: {events:?}") };
    let describe = |outcome: &Outcome| match outcome {
        Outcome::Delivered(reply) => format!("delivered {}", reply.code),
        Outcome::Deferred(failure) => format!("deferred {}", failure.kind),
        Outcome::Failed(failure) => format!("failed {}", failure.kind),
    };
    outcomes.iter().map(describe).collect()
}
