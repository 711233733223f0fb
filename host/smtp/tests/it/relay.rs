//! The client speaks to the server, in memory: what one accepts, the other relays unchanged.

use crate::gateway::{Accepted, Gateway, config};
use bytes::Bytes;
use mail::{Content, Envelope, Outcome, Protocol, Recipient};
use smtp::{Client, ClientConfig, ClientEvent, ClientTls, ServerConfig};

pub(crate) fn client_config() -> ClientConfig {
    ClientConfig {
        helo: "relay.example".parse().unwrap(),
        protocol: Protocol::Smtp,
        tls: ClientTls::IfOffered,
        tls_active: false,
        next_hop: Some("mx.example.net:25".parse().unwrap()),
    }
}

struct Link {
    client: Client,
    gateway: Gateway,
    random: fastrand::Rng,
    /// Not offered, as far as the client can see.
    hidden: &'static str,
    /// The largest piece that the client had ready.
    largest: usize,
    writes: usize,
}

impl Link {
    fn new(config: ServerConfig, hidden: &'static str) -> Self {
        let mut gateway = Gateway::new(config);
        let mut client = Client::new(client_config());
        client.receive(&std::mem::take(&mut gateway.output));
        let random = fastrand::Rng::with_seed(11);
        Self { client, gateway, random, hidden, largest: 0, writes: 0 }
    }

    /// Moves bytes in random pieces until the client tells something.
    fn event(&mut self, whole: bool) -> ClientEvent {
        loop {
            match self.client.next_event() {
                Some(ClientEvent::StartTls) => self.client.tls_started(),
                Some(event) => return event,
                None => {}
            }
            let output = self.client.output();
            self.largest = self.largest.max(output.len());
            let len = if whole { output.len() } else { self.random.usize(..=output.len()) };
            let piece = output.split_to(len);
            self.writes += usize::from(!piece.is_empty());
            let replies = String::from_utf8(self.gateway.feed(&piece).to_vec()).unwrap();
            self.client.receive(replies.replace(self.hidden, "").as_bytes());
        }
    }

    fn send(&mut self, envelope: &Envelope, content: &Content, whole: bool) -> Vec<Outcome> {
        self.client.send(envelope, &envelope.recipients, content).unwrap();
        match self.event(whole) {
            ClientEvent::Done(outcomes) => outcomes,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn envelope(recipients: &[&str]) -> Envelope {
    Envelope {
        sender: "ann@client.example".parse().unwrap(),
        recipients: recipients.iter().map(|r| Recipient::new(r.parse().unwrap())).collect(),
        ..Envelope::default()
    }
}

fn random_content(random: &mut fastrand::Rng) -> Content {
    let mut text = Vec::new();
    if random.bool() {
        text.extend_from_slice(b"Subject: .\r\n\r\n");
    }
    for _ in 0..random.usize(..20) {
        for _ in 0..random.usize(..6) {
            text.push(*random.choice(b"...ab\xe9 \t").unwrap());
        }
        text.extend_from_slice(b"\r\n");
    }
    Content::new(text.into())
}

fn move_random_mails(hidden: &'static str) {
    let mut link = Link::new(config(), hidden);
    assert_eq!(link.event(true), ClientEvent::Ready);
    let mut random = fastrand::Rng::with_seed(3);
    for nth in 0..1000 {
        let content = random_content(&mut random);
        let envelope = envelope(&["bob@example.org", "unknown@example.org", "later@example.org", "eve@example.org"]);
        let outcomes = link.send(&envelope, &content, nth % 2 == 0);
        assert!(matches!(
            outcomes[..],
            [Outcome::Delivered(_), Outcome::Failed(_), Outcome::Deferred(_), Outcome::Delivered(_)]
        ));
        let Accepted { envelope, content: received } = link.gateway.accepted.pop().unwrap();
        assert_eq!(received, content.to_bytes());
        assert_eq!(envelope.recipients.len(), 2);
    }
    link.client.quit();
    assert_eq!(link.event(true), ClientEvent::Ended);
}

#[test]
fn mails_arrive_as_they_were_with_pipelining() {
    move_random_mails("\0");
}

#[test]
fn mails_arrive_as_they_were_in_lock_step() {
    move_random_mails("250-PIPELINING\r\n");
}

#[test]
fn a_small_mail_goes_in_two_writes_and_its_dot_with_its_data() {
    let mut link = Link::new(config(), "\0");
    link.event(true);
    link.writes = 0;
    let content = Content::new(Bytes::from("Subject: hi\r\n\r\n".to_owned() + &"x\r\n".repeat(1300)));
    link.send(&envelope(&["a@example.org", "b@example.org"]), &content, true);
    assert_eq!(link.writes, 2);
}

#[test]
fn a_large_mail_goes_in_pieces_and_comes_in_as_many() {
    let mut config = config();
    config.max_message_size = 64 << 20;
    let mut link = Link::new(config, "\0");
    link.event(true);
    link.writes = 0;
    let content = Content::new(Bytes::from("Subject: hi\r\n\r\n".to_owned() + &".dots\r\n".repeat(1 << 20)));
    let outcomes = link.send(&envelope(&["a@example.org"]), &content, true);
    assert!(matches!(outcomes[..], [Outcome::Delivered(_)]));
    assert_eq!(link.gateway.accepted.pop().unwrap().content, content.to_bytes());
    assert!(link.largest <= 128 * 1024, "{}", link.largest);
    assert!((100..300).contains(&link.writes), "{}", link.writes);
}

#[test]
fn everything_an_envelope_asks_for_arrives() {
    let mut link = Link::new(config(), "\0");
    link.event(true);
    let mut sent = envelope(&["bob@example.org", "grün@example.org"]);
    sent.smtputf8 = true;
    sent.body = mail::BodyKind::EightBitMime;
    sent.ret = Some(mail::Ret::Headers);
    sent.envid = Some("QQ+2B1".to_owned());
    sent.recipients[0].notify = Some(mail::Notify { success: true, failure: false, delay: true });
    sent.recipients[1].orcpt = Some("rfc822;b+2Bc@example.org".to_owned());
    link.send(&sent, &Content::new(Bytes::from_static(b"Subject: x\r\n\r\n")), true);
    assert_eq!(link.gateway.accepted.pop().unwrap().envelope, sent);
}
