//! A server with a trivial policy: what the dialogues talk to. The policy is described in
//! dialogues/README.md.

use bytes::{Bytes, BytesMut};
use mail::{Envelope, Mailbox, Reply};
use smtp::{Node, Server, ServerConfig, ServerEvent, TlsOffer, Told, Xclient};
use std::sync::Arc;

pub(crate) fn config() -> ServerConfig {
    ServerConfig {
        max_message_size: 1 << 20,
        tls: TlsOffer::Optional,
        etrn: true,
        ..ServerConfig::new("mx.example.net".parse().unwrap())
    }
}

/// A mail that was answered 250.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) envelope: Envelope,
    pub(crate) content: Vec<u8>,
}

pub(crate) struct Gateway {
    pub(crate) server: Server,
    pub(crate) accepted: Vec<Accepted>,
    /// All that was written.
    pub(crate) output: Vec<u8>,
    pub(crate) tls_started: bool,
    pub(crate) closed: bool,
    pub(crate) aborted: usize,
    open: Option<Accepted>,
}

impl Gateway {
    pub(crate) fn new(config: ServerConfig) -> Self {
        let mut server = Server::new(Arc::new(config), false);
        server.greet();
        let (accepted, output) = (Vec::new(), server.output().split().to_vec());
        Self { server, accepted, output, tls_started: false, closed: false, aborted: 0, open: None }
    }

    /// Gives `bytes` to the server, does what it says, and returns what it wrote.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> BytesMut {
        assert!(!self.closed || bytes.is_empty(), "the session is closed");
        self.server.receive(bytes);
        self.pump()
    }

    pub(crate) fn eof(&mut self) -> BytesMut {
        self.server.eof();
        self.closed = true;
        self.pump()
    }

    fn pump(&mut self) -> BytesMut {
        while let Some(event) = self.server.next_event() {
            self.on_event(event);
        }
        assert!(!self.server.is_asking());
        let written = self.server.output().split();
        self.output.extend_from_slice(&written);
        written
    }

    fn on_event(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Hello { .. } => {}
            ServerEvent::Mail { sender, params } => {
                let reply = about_sender(sender.mailbox());
                if reply.is_positive() {
                    let (body, smtputf8, require_tls) = (params.body, params.smtputf8, params.require_tls);
                    let (ret, envid) = (params.ret, params.envid);
                    let envelope = Envelope { sender, recipients: vec![], body, smtputf8, require_tls, ret, envid };
                    assert!(self.open.replace(Accepted { envelope, content: Vec::new() }).is_none());
                }
                self.server.answer(reply);
            }
            ServerEvent::Recipient(recipient, _) => {
                let reply = about_recipient(&recipient.address);
                if reply.is_positive() {
                    self.open().envelope.recipients.push(recipient);
                }
                self.server.answer(reply);
            }
            ServerEvent::DataStart => {
                let reply = match self.open().envelope.sender.mailbox().map(Mailbox::local_part) {
                    Some("nodata") => Reply::fixed(451, (4, 7, 1), "No data now"),
                    _ => Reply { code: 354, enhanced: None, text: "Go ahead".into() },
                };
                if !reply.is_intermediate() {
                    self.open = None;
                }
                self.server.answer(reply);
            }
            ServerEvent::Body(bytes) => self.take(&bytes),
            ServerEvent::EndOfMessage => {
                let mail = self.open.take().unwrap();
                let reply = about_message(&mail);
                if reply.is_positive() {
                    self.accepted.push(mail);
                }
                self.server.answer(reply);
            }
            ServerEvent::Etrn(node) => self.server.answer(about_node(&node)),
            ServerEvent::Xclient(client) => self.server.answer(about_client(&client)),
            ServerEvent::Aborted => {
                self.aborted += 1;
                assert!(self.open.take().is_some(), "nothing to abort");
            }
            ServerEvent::StartTls => {
                self.tls_started = true;
                self.server.tls_started();
            }
            ServerEvent::Quit => self.closed = true,
        }
    }

    fn open(&mut self) -> &mut Accepted {
        self.open.as_mut().expect("a transaction is open")
    }

    fn take(&mut self, bytes: &Bytes) {
        assert!(!bytes.is_empty());
        let content = &mut self.open().content;
        let start = content.len();
        content.extend_from_slice(bytes);
        assert!(!content.ends_with(b"\r"), "a piece ends between CR and LF");
        let bare = memchr::memchr3_iter(b'\r', b'\n', 0, bytes).map(|at| start + at).any(|at| match content[at] {
            b'\n' => at == 0 || content[at - 1] != b'\r',
            b'\r' => content.get(at + 1) != Some(&b'\n'),
            _ => true,
        });
        assert!(!bare, "a bare CR, LF or a NUL came through");
    }
}

fn about_sender(sender: Option<&Mailbox>) -> Reply {
    match sender.map(Mailbox::local_part) {
        Some("spammer") => Reply::fixed(550, (5, 7, 1), "Refused"),
        Some("grey") => Reply::fixed(451, (4, 7, 1), "Try later"),
        _ => Reply::fixed(250, (2, 1, 0), "Sender OK"),
    }
}

fn about_recipient(address: &Mailbox) -> Reply {
    match (address.local_part(), address.domain_str()) {
        ("unknown" | "|sh" | "/dev/null", "example.org") => Reply::fixed(550, (5, 1, 1), "No such mailbox"),
        ("later", "example.org") => Reply::fixed(450, (4, 2, 1), "Try later"),
        (local_part, _) if local_part.contains(['%', '!', '@']) => Reply::fixed(550, (5, 7, 1), "Relaying denied"),
        (_, "example.org" | "mx.example.net") => Reply::fixed(250, (2, 1, 5), "Recipient OK"),
        _ => Reply::fixed(550, (5, 7, 1), "Relaying denied"),
    }
}

fn about_node(node: &Node) -> Reply {
    let (Node::Domain(domain) | Node::Subdomains(domain)) = node;
    match domain.as_str() {
        "example.org" | "mx.example.net" => Reply::fixed(251, (2, 0, 0), "Nothing waits"),
        _ => Reply::fixed(459, (4, 7, 1), "Not allowed"),
    }
}

fn about_client(client: &Xclient) -> Reply {
    match client.address {
        Some(Told::Known(address)) if address.to_string() == "192.0.2.66" => Reply::fixed(554, (5, 7, 1), "Unwelcome"),
        _ => Reply::fixed(220, (2, 0, 0), "Go on"),
    }
}

fn about_message(mail: &Accepted) -> Reply {
    if memchr::memmem::find(&mail.content, b"X-Reject: yes").is_some() {
        Reply::fixed(550, (5, 7, 1), "Refused by policy")
    } else if memchr::memmem::find(&mail.content, b"X-Shutdown: yes").is_some() {
        Reply::fixed(421, (4, 3, 2), "Shutting down")
    } else {
        Reply::fixed(250, (2, 0, 0), "Queued")
    }
}
