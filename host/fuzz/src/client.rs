//! What a hostile next hop says to the client.

use crate::{
    oracle,
    pieces::{knob, pieces},
};
use bytes::{Bytes, BytesMut};
use mail::{Content, Envelope, Outcome, Protocol, Recipient, Reply};
use smtp::{Client, ClientConfig, ClientEvent, ClientTls};

/// One reply to a command, cut: read as a naive reader reads it, or an error; never a guess.
pub fn reply(data: &[u8]) {
    let (cut, text) = knob(data);
    let expected = naive_reply(text);
    let mut client = ready();
    client.ask("NOOP").expect("it is ready");
    client.output().clear();
    let mut heard = None;
    for piece in pieces(cut, text) {
        client.receive(piece);
        while let Some(event) = client.next_event() {
            assert!(heard.is_none() || client.is_closed(), "{heard:?} and then {event:?}");
            heard.get_or_insert(event);
        }
        let kept = client.input().len();
        assert!(kept <= 4096, "{kept} octets are kept");
        if heard.is_some() {
            break;
        }
    }
    match (heard, expected) {
        (Some(ClientEvent::Answered(reply)), Naive::Reply { code, lines }) => {
            assert_eq!((reply.code, reply.text.split('\n').count()), (code, lines));
            check_reply(&reply);
        }
        (Some(ClientEvent::Closed(failure)), Naive::Reply { code, .. }) => {
            // Waiting for more of us, or hanging up: no answers.
            assert!(matches!(code, 300..=399 | 421), "{failure:?}");
            if let Some(reply) = failure.reply {
                check_reply(&reply);
            }
        }
        (Some(ClientEvent::Closed(_)), Naive::Malformed) | (None, Naive::Incomplete) => {}
        (heard, expected) => panic!("heard {heard:?}, expected {expected:?}"),
    }
}

/// A whole session with a next hop that says anything, STARTTLS and two mails included.
///
/// Each recipient has one outcome. A mail counts as delivered only where its whole data was written and a 2yz came
/// behind it. Nothing is sent in clear text where TLS is required, nor believed from before the handshake.
pub fn client(data: &[u8]) {
    let (choice, rest) = knob(data);
    let (cut, script) = knob(rest);
    let tls = [ClientTls::None, ClientTls::IfOffered, ClientTls::Required][usize::from(choice % 3)];
    let protocol = if choice & 8 == 0 { Protocol::Smtp } else { Protocol::Lmtp };
    let mut session = Session::new(tls, protocol, choice & 16 == 0);
    for piece in pieces(cut, script) {
        session.client.receive(piece);
        session.turn();
        if session.over {
            break;
        }
    }
    session.client.eof();
    session.turn();
    assert!(session.over, "the connection has ended and the session has not");
    assert_eq!(session.sent, session.done, "a mail without outcomes");
}

struct Session {
    client: Client,
    envelope: Envelope,
    content: Content,
    tls: ClientTls,
    in_pieces: bool,
    written: Vec<u8>,
    tls_from: Option<usize>,
    sent: usize,
    done: usize,
    over: bool,
}

impl Session {
    fn new(tls: ClientTls, protocol: Protocol, in_pieces: bool) -> Self {
        let recipients =
            ["a@x.example", "b@x.example"].map(|address| Recipient::new(address.parse().expect("a mailbox")));
        Self {
            client: Client::new(config(tls, protocol)),
            envelope: Envelope { recipients: recipients.to_vec(), ..Envelope::default() },
            content: Content::new(Bytes::from_static(b"A: b\r\n\r\n.\r\nend\r\n")),
            tls,
            in_pieces,
            written: Vec::new(),
            tls_from: None,
            sent: 0,
            done: 0,
            over: false,
        }
    }

    /// Everything that can be done now.
    fn turn(&mut self) {
        loop {
            self.write();
            let Some(event) = self.client.next_event() else { break };
            assert!(!self.over, "{event:?} behind the end");
            self.on_event(event);
        }
        let kept = self.client.input().len();
        assert!(kept <= 4096, "{kept} octets are kept");
        assert!(self.client.transcript().to_string().len() <= 16 * 1024);
    }

    fn write(&mut self) {
        loop {
            let output = self.client.output().split();
            self.written.extend_from_slice(&output);
            if self.client.wants_content() {
                let at = usize::try_from(self.fed()).unwrap_or_default();
                let piece = self.content.read(at as u64, 5);
                self.client.feed(piece.into());
            } else if output.is_empty() {
                break;
            }
        }
        if self.tls == ClientTls::Required && self.tls_from.is_none() {
            let clear = String::from_utf8_lossy(&self.written);
            assert!(
                !clear.contains("MAIL FROM") && !clear.contains("A: b"),
                "clear text where TLS is required: {clear}"
            );
        }
    }

    /// Of the content, by what has been written behind the last DATA.
    fn fed(&self) -> u64 {
        let at = memchr::memmem::rfind(&self.written, b"DATA\r\n").map_or(0, |at| at + 6);
        let data = &self.written[at..];
        data.len() as u64 - u64::from(memchr::memmem::find(data, b"..").is_some())
    }

    fn on_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::StartTls => {
                self.tls_from = Some(self.written.len());
                self.client.tls_started();
                assert_eq!(self.client.capabilities(), &smtp::Capabilities::default(), "believed from clear text");
            }
            ClientEvent::Ready if self.sent == 0 => self.send(),
            ClientEvent::Done(outcomes) => {
                self.done += 1;
                self.check_outcomes(&outcomes);
                if self.client.is_ready() && self.sent < 2 {
                    self.send();
                } else if self.client.is_ready() {
                    self.client.quit();
                }
            }
            ClientEvent::Ready | ClientEvent::Answered(_) => panic!("{event:?} again"),
            ClientEvent::Closed(failure) => {
                failure.reply.iter().for_each(check_reply);
                self.over = true;
            }
            ClientEvent::Ended => self.over = true,
        }
    }

    fn send(&mut self) {
        self.sent += 1;
        let recipients = self.envelope.recipients.clone();
        let begun = match self.in_pieces {
            true => self.client.send_in_pieces(&self.envelope, &recipients, &self.content.outline()),
            false => self.client.send(&self.envelope, &recipients, &self.content),
        };
        begun.expect("it is ready");
    }

    fn check_outcomes(&self, outcomes: &[Outcome]) {
        assert_eq!(outcomes.len(), self.envelope.recipients.len());
        for outcome in outcomes {
            match outcome {
                Outcome::Delivered(reply) => {
                    assert!(reply.is_positive());
                    check_reply(reply);
                    assert!(self.written.ends_with(b"\r\n.\r\n"), "delivered before it was written");
                    let at = memchr::memmem::rfind(&self.written, b"DATA\r\n").expect("DATA") + 6;
                    assert_eq!(oracle::end_of_data(&self.written[at..]), Some(self.written.len() - at));
                    assert_eq!(oracle::unstuffed(&self.written[at..]), self.content.to_bytes());
                }
                Outcome::Deferred(failure) | Outcome::Failed(failure) => failure.reply.iter().for_each(check_reply),
            }
        }
    }
}

/// Any content, by DATA and in pieces of any size: the other side reads the same content, and nothing behind it.
pub fn stuffing(data: &[u8]) {
    let (cut, rest) = knob(data);
    let bytes = Bytes::copy_from_slice(rest);
    let content = Content::new(bytes.clone());
    let envelope =
        Envelope { recipients: vec![Recipient::new("a@x.example".parse().expect("a mailbox"))], ..Envelope::default() };
    let mut client = ready();
    client.send_in_pieces(&envelope, &envelope.recipients, &content.outline()).expect("it is ready");
    if oracle::first_fault(rest).is_some() || rest.ends_with(b"\r") {
        assert!(matches!(client.next_event(), Some(ClientEvent::Done(_))), "what is not lines was sent");
        assert!(client.output().is_empty());
        return;
    }
    client.output().clear();
    client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n");
    assert_eq!(client.next_event(), None);
    let mut wire = BytesMut::new();
    let mut pieces = pieces(cut, rest);
    loop {
        let output = client.output().split();
        wire.extend_from_slice(&output);
        if client.wants_content() {
            client.feed(Bytes::copy_from_slice(pieces.next().expect("it wants more than there is")));
        } else if output.is_empty() {
            break;
        }
    }
    assert_eq!(oracle::end_of_data(&wire), Some(wire.len()), "it ends twice, or not at all");
    let mut expected = rest.to_vec();
    if !expected.is_empty() && !expected.ends_with(b"\r\n") {
        expected.extend_from_slice(b"\r\n");
    }
    assert_eq!(oracle::unstuffed(&wire), expected);
    client.receive(b"250 taken\r\n");
    assert!(
        matches!(client.next_event(), Some(ClientEvent::Done(outcomes)) if matches!(outcomes[..], [Outcome::Delivered(_)]))
    );
}

fn config(tls: ClientTls, protocol: Protocol) -> ClientConfig {
    ClientConfig {
        helo: "relay.example".parse().expect("a domain"),
        protocol,
        tls,
        tls_active: false,
        next_hop: Some("mx.example.net:25".parse().expect("a next hop")),
    }
}

/// Greeted by a next hop that offers PIPELINING and 8BITMIME.
fn ready() -> Client {
    let mut client = Client::new(config(ClientTls::None, Protocol::Smtp));
    client.receive(b"220 x\r\n");
    assert_eq!(client.next_event(), None);
    client.output().clear();
    client.receive(b"250-x\r\n250-PIPELINING\r\n250 8BITMIME\r\n");
    assert_eq!(client.next_event(), Some(ClientEvent::Ready));
    client
}

/// Nothing in it breaks a log line, a DSN or a reply of ours.
fn check_reply(reply: &Reply) {
    assert!((200..=559).contains(&reply.code));
    assert!(!reply.text.contains(|c: char| c.is_control() && c != '\n'), "{:?}", reply.text);
    assert!(reply.text.len() <= 64 * 1024 * 3, "{} octets", reply.text.len());
    assert!(reply.enhanced.is_none_or(|code| u16::from(code.class) == reply.code / 100));
}

#[derive(Debug, PartialEq)]
enum Naive {
    Incomplete,
    Malformed,
    Reply { code: u16, lines: usize },
}

/// RFC 5321 §4.2 to the letter, within the client's bounds.
fn naive_reply(text: &[u8]) -> Naive {
    let (mut first_code, mut lines, mut octets, mut rest) = (None, 0, 0, text);
    loop {
        let Some(end) = rest.iter().position(|b| *b == b'\n') else {
            return if rest.len() < 2048 { Naive::Incomplete } else { Naive::Malformed };
        };
        let Some(line) = rest[..end].strip_suffix(b"\r").filter(|_| end < 2048) else { return Naive::Malformed };
        rest = &rest[end + 1..];
        let digits = line.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit));
        let Some(code) = digits.and_then(|d| std::str::from_utf8(d).ok()?.parse::<u16>().ok()) else {
            return Naive::Malformed;
        };
        lines += 1;
        octets += line.len().saturating_sub(4);
        let is_known = (200..=559).contains(&code) && *first_code.get_or_insert(code) == code;
        match line.get(3) {
            _ if !is_known || lines > 128 || octets > 64 * 1024 => return Naive::Malformed,
            None | Some(b' ') => return Naive::Reply { code, lines },
            Some(b'-') => {}
            Some(_) => return Naive::Malformed,
        }
    }
}
