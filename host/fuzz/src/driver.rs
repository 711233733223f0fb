//! A server with a trivial policy, in memory: what the targets talk to, and what they look at afterwards.
//!
//! Checks as it goes what must hold whatever comes: what is buffered is bounded, mail data is lines, replies are
//! well-formed, and events come in an order that a gateway can follow.

use crate::oracle;
use bytes::Bytes;
use mail::{Envelope, Mailbox, Recipient, Reply};
use smtp::{Server, ServerConfig, ServerEvent, TlsOffer, Told};
use std::sync::Arc;

/// One reply as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: u16,
    pub(crate) lines: Vec<String>,
}

/// A mail that was answered 250.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) envelope: Envelope,
    pub(crate) content: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) server: Server,
    pub(crate) accepted: Vec<Mail>,
    pub(crate) aborted: usize,
    pub(crate) hellos: Vec<String>,
    pub(crate) recipients: Vec<(Recipient, smtp::RawParams)>,
    pub(crate) closed: bool,
    trusted: bool,
    output: Vec<u8>,
    open: Option<Mail>,
}

/// A read of the driver's own is never longer.
const MOST_BUFFERED: usize = 2048;

/// Small limits, so that a short input reaches them.
pub(crate) fn config() -> ServerConfig {
    ServerConfig {
        max_message_size: 1000,
        max_recipients: 5,
        tls: TlsOffer::Optional,
        etrn: true,
        max_errors: 10,
        max_idle_commands: 20,
        ..ServerConfig::new("mx.example.net".parse().expect("a domain"))
    }
}

impl Driver {
    pub(crate) fn new(config: ServerConfig) -> Self {
        let mut server = Server::new(Arc::new(config), false);
        server.greet();
        let output = server.output().split().to_vec();
        Self {
            server,
            accepted: Vec::new(),
            aborted: 0,
            hellos: Vec::new(),
            recipients: Vec::new(),
            closed: false,
            trusted: false,
            output,
            open: None,
        }
    }

    /// May speak for others.
    pub(crate) fn trusted(config: ServerConfig) -> Self {
        let mut driver = Self::new(config);
        driver.server.trust_as_proxy();
        driver.trusted = true;
        driver
    }

    /// The rest of a session: `pieces`, and the end of the connection.
    pub(crate) fn run<'a>(mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        pieces.into_iter().for_each(|piece| self.feed(piece));
        self.eof();
        self
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.closed {
            return;
        }
        self.server.receive(bytes);
        self.pump();
        let buffered = self.server.input().len();
        assert!(buffered <= MOST_BUFFERED, "{buffered} octets are kept");
    }

    pub(crate) fn eof(&mut self) {
        self.server.eof();
        self.pump();
        assert!(self.open.is_none(), "a transaction is left over");
        let transcript = self.server.transcript().to_string();
        assert!(transcript.len() <= 16 * 1024, "a transcript of {} octets", transcript.len());
    }

    /// Every reply so far, each checked.
    pub(crate) fn said(&self) -> Vec<Said> {
        replies(&self.output)
    }

    fn pump(&mut self) {
        while let Some(event) = self.server.next_event() {
            assert!(!self.closed, "told after the end: {event:?}");
            self.on_event(event);
        }
        assert!(!self.server.is_asking(), "asked and did not tell");
        self.output.extend_from_slice(&self.server.output().split());
    }

    fn on_event(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Hello { name, .. } => self.hellos.push(name),
            ServerEvent::Mail { sender, params } => {
                let reply = about_sender(sender.mailbox());
                if reply.is_positive() {
                    let smtp::MailParams { body, smtputf8, require_tls, ret, envid, .. } = params;
                    let envelope = Envelope { sender, recipients: vec![], body, smtputf8, require_tls, ret, envid };
                    let before = self.open.replace(Mail { envelope, content: Vec::new() });
                    assert!(before.is_none(), "a transaction inside a transaction");
                }
                self.server.answer(reply);
            }
            ServerEvent::Recipient(recipient, raw) => {
                let reply = about_recipient(&recipient.address);
                if reply.is_positive() {
                    self.open().envelope.recipients.push(recipient.clone());
                }
                self.recipients.push((recipient, raw));
                self.server.answer(reply);
            }
            ServerEvent::DataStart => self.data_start(),
            ServerEvent::Body(bytes) => self.body(&bytes),
            ServerEvent::EndOfMessage => self.end_of_message(),
            ServerEvent::Etrn(_) => self.server.answer(Reply::fixed(251, (2, 0, 0), "Nothing waits")),
            ServerEvent::Xclient(client) => {
                let is_known = |told: &Option<Told<String>>, fits: fn(&u8) -> bool| match told {
                    Some(Told::Known(text)) => (1..=255).contains(&text.len()) && text.as_bytes().iter().all(fits),
                    _ => true,
                };
                let is_word = |told| is_known(told, u8::is_ascii_graphic);
                assert!(is_word(&client.name) && is_word(&client.helo), "{client:?}");
                assert!(is_known(&client.login, |byte| !byte.is_ascii_control()), "{client:?}");
                assert!(self.trusted, "it speaks for others and may not");
                self.server.answer(Reply::fixed(220, (2, 0, 0), "Go on"));
            }
            ServerEvent::Aborted => {
                self.aborted += 1;
                assert!(self.open.take().is_some(), "nothing to abort");
            }
            ServerEvent::StartTls => self.server.tls_started(),
            ServerEvent::Quit => self.closed = true,
        }
    }

    fn data_start(&mut self) {
        let is_refused = self.open().envelope.sender.mailbox().is_some_and(|m| m.local_part().starts_with('n'));
        assert!(!self.open().envelope.recipients.is_empty(), "data for nobody");
        if is_refused {
            self.open = None;
            return self.server.answer(Reply::fixed(451, (4, 7, 1), "No data now"));
        }
        self.server.answer(Reply { code: 354, enhanced: None, text: "Go ahead".into() });
    }

    fn body(&mut self, bytes: &Bytes) {
        assert!(!bytes.is_empty() && !bytes.ends_with(b"\r"), "a piece ends between CR and LF");
        let content = &mut self.open().content;
        content.extend_from_slice(bytes);
    }

    fn end_of_message(&mut self) {
        let mail = self.open.take().expect("a transaction is open");
        assert_eq!(oracle::first_fault(&mail.content), None, "a bare CR, LF or a NUL came through");
        assert!(mail.content.is_empty() || mail.content.ends_with(b"\r\n"), "the last line is open");
        if memchr::memmem::find(&mail.content, b"X-Reject").is_some() {
            return self.server.answer(Reply::fixed(550, (5, 7, 1), "Refused"));
        }
        self.accepted.push(mail);
        self.server.answer(Reply::fixed(250, (2, 0, 0), "Queued"));
    }

    fn open(&mut self) -> &mut Mail {
        self.open.as_mut().expect("a transaction is open")
    }
}

fn about_sender(sender: Option<&Mailbox>) -> Reply {
    match sender.is_some_and(|sender| sender.local_part().starts_with('s')) {
        true => Reply::fixed(550, (5, 7, 1), "Refused"),
        false => Reply::fixed(250, (2, 1, 0), "Sender OK"),
    }
}

fn about_recipient(address: &Mailbox) -> Reply {
    match address.local_part().starts_with('u') {
        true => Reply::fixed(550, (5, 1, 1), "No such mailbox"),
        false => Reply::fixed(250, (2, 1, 5), "Recipient OK"),
    }
}

/// Reads what a server has written; panics on what RFC 5321 §4.2 or RFC 2034 §4 does not allow.
pub(crate) fn replies(mut output: &[u8]) -> Vec<Said> {
    let mut replies = Vec::new();
    let mut lines = Vec::new();
    while !output.is_empty() {
        let end = memchr::memmem::find(output, b"\r\n").expect("a reply without its end");
        let (line, rest) = output.split_at(end + 2);
        // RFC 5321 §4.5.3.1.5.
        assert!(line.len() <= 512, "a reply line of {} octets", line.len());
        assert!(!line[..end].iter().any(u8::is_ascii_control), "a control character in a reply: {line:?}");
        let text = std::str::from_utf8(&line[..end]).expect("replies are text");
        let code: u16 = text.get(..3).and_then(|digits| digits.parse().ok()).expect("a code");
        assert!((200..=559).contains(&code), "{code}");
        let text_part = text.get(4..).unwrap_or_default();
        let is_plain = matches!(code, 220 | 334 | 354) || (code == 250 && !text_part.starts_with("2."));
        assert!(is_plain || text_part.starts_with(&format!("{}.", code / 100)), "no enhanced code: {text}");
        lines.push(text_part.to_owned());
        match text.as_bytes().get(3) {
            Some(b'-') => {}
            Some(b' ') => replies.push(Said { code, lines: std::mem::take(&mut lines) }),
            other => panic!("{other:?} behind the code"),
        }
        output = rest;
    }
    assert!(lines.is_empty(), "a reply without its last line");
    replies
}
