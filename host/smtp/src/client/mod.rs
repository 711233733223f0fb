//! The client's side of a session with a next hop, SMTP or LMTP.
//!
//! Decides what to say and what the replies mean. It never falls back to clear text where TLS is
//! required, never believes what was offered before the handshake, and never tells Delivered
//! without a 2yz that followed the final dot.
//!
//! The driver's loop: write [`Client::output`] until it is empty (it fills up again while a mail's
//! data goes out; where [`Client::wants_content`], feed it), read into [`Client::input`] at the same time, take
//! events until there are none.

mod ask;
mod capabilities;
mod event;
mod reply;
mod transfer;
mod wait;

use crate::{stuff::Stuffer, transcript::Transcript};
use bytes::{BufMut, Bytes, BytesMut};
pub use capabilities::Capabilities;
pub use event::{CannotAsk, ClientConfig, ClientEvent, ClientTls, NotReady};
use mail::{Content, Envelope, Failure, FailureKind, Outcome, Outline, Protocol, Recipient, Reply};
use reply::ReplyReader;
use std::collections::VecDeque;
use transfer::{Progress, Transfer, Wire};
pub use wait::Wait;

/// One session.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    state: State,
    offered: Capabilities,
    server_proven: bool,
    reset_due: bool,
    eof: bool,
    progress: u64,
    reader: ReplyReader,
    input: BytesMut,
    output: BytesMut,
    events: VecDeque<ClientEvent>,
    transcript: Transcript,
}

/// Whose reply comes next.
#[derive(Debug)]
enum State {
    Greeting,
    /// EHLO or LHLO.
    Ehlo,
    Helo,
    StartTls,
    /// Not ours: the TLS handshake.
    Handshake,
    Ready,
    /// A single command, outside of any mail.
    Asking,
    Sending(Box<Transfer>),
    Quitting,
    Closed,
}

/// Of mail data in the output at a time.
const OUTPUT_LIMIT: usize = 64 * 1024;

impl Client {
    pub fn new(config: ClientConfig) -> Self {
        Self {
            config,
            state: State::Greeting,
            offered: Capabilities::default(),
            server_proven: false,
            reset_due: false,
            eof: false,
            progress: 0,
            reader: ReplyReader::default(),
            input: BytesMut::new(),
            output: BytesMut::new(),
            events: VecDeque::new(),
            transcript: Transcript::default(),
        }
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// For reading straight into it.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// What to write; the driver takes out what it has written. Mail data comes in pieces of about
    /// 64 KiB, a new one whenever this is called and the last one is gone; the final dot is in the
    /// same piece as the end of the data.
    pub fn output(&mut self) -> &mut BytesMut {
        if let State::Sending(transfer) = &mut self.state {
            self.progress += u64::from(transfer.fill(&mut self.output, OUTPUT_LIMIT));
        }
        &mut self.output
    }

    /// Grows with each whole reply and each piece of data that has been written: a byte now and then is none.
    pub fn progress(&self) -> u64 {
        self.progress
    }

    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }
    /// What was said since the last time.
    pub fn take_transcript(&mut self) -> Transcript {
        std::mem::take(&mut self.transcript)
    }

    /// What the next hop offers, as of the last EHLO.
    pub fn capabilities(&self) -> &Capabilities {
        &self.offered
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready) && self.events.is_empty()
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    pub fn is_tls_active(&self) -> bool {
        self.config.tls_active
    }

    /// For choosing a time-out.
    pub fn waits_for(&self) -> Wait {
        match &self.state {
            State::Greeting => Wait::Greeting,
            State::Ehlo | State::Helo => Wait::Ehlo,
            State::StartTls => Wait::StartTls,
            State::Handshake => Wait::Handshake,
            State::Ready => Wait::NextMail,
            State::Asking => Wait::Answer,
            State::Sending(transfer) => transfer.wait(&self.output),
            State::Quitting => Wait::Quit,
            State::Closed => Wait::Closed,
        }
    }

    /// The final dot has been written and not been answered.
    pub fn is_in_doubt(&self) -> bool {
        matches!(&self.state, State::Sending(transfer) if transfer.is_in_doubt(&self.output))
    }

    pub fn next_event(&mut self) -> Option<ClientEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if matches!(self.state, State::Closed | State::Handshake) && !self.eof {
                return None;
            }
            match self.reader.next(&mut self.input) {
                Ok(Some(reply)) => {
                    self.transcript.server(&reply);
                    self.progress += 1;
                    self.on_reply(reply);
                }
                Ok(None) if self.eof => {
                    self.eof = false;
                    self.connection_ended();
                }
                Ok(None) => return None,
                Err(fault) => self.close(self.failure(FailureKind::Protocol, fault.to_string())),
            }
        }
    }

    /// The next hop's side of the connection has ended. Replies that are buffered still count.
    pub fn eof(&mut self) {
        self.eof = !matches!(self.state, State::Closed);
    }

    /// Ends the session from the driver's side (a time-out, a read error, a failed handshake). A
    /// mail under way is deferred for this reason.
    pub fn close_with(&mut self, failure: Failure) {
        if !self.is_closed() {
            self.close(failure);
        }
    }

    /// The server behind the handshake is the next hop: mail that requires TLS may go to it (RFC 8689 §4.2.1).
    pub fn server_proven(&mut self) {
        self.server_proven = true;
    }

    /// After the handshake: what was offered in clear text is forgotten (RFC 3207 §4.2).
    pub fn tls_started(&mut self) {
        self.config.tls_active = true;
        self.transcript.tls();
        self.offered = Capabilities::default();
        if self.input.is_empty() {
            self.hello();
        } else {
            self.close(self.failure(FailureKind::Tls, "the next hop sent clear text behind its reply to STARTTLS"));
        }
    }

    /// Says QUIT; nothing more can be sent.
    pub fn quit(&mut self) {
        if matches!(self.state, State::Ready) {
            self.command("QUIT");
            self.state = State::Quitting;
        }
    }

    /// Begins a mail for some of the envelope's recipients; ends with [`ClientEvent::Done`], at once
    /// where the next hop lacks something that the mail needs.
    pub fn send<'a>(
        &mut self,
        envelope: &Envelope,
        recipients: impl IntoIterator<Item = &'a Recipient>,
        content: &Content,
    ) -> Result<(), NotReady> {
        self.begin(envelope, recipients, &content.outline(), Stuffer::new(content))
    }

    /// As `send`, with content that need not be in memory: it is fed whenever the client wants some.
    pub fn send_in_pieces<'a>(
        &mut self,
        envelope: &Envelope,
        recipients: impl IntoIterator<Item = &'a Recipient>,
        content: &Outline,
    ) -> Result<(), NotReady> {
        self.begin(envelope, recipients, content, Stuffer::fed(content.len))
    }

    /// All that was fed has been written, and the content goes on: nothing happens before [`Client::feed`].
    pub fn wants_content(&self) -> bool {
        matches!(&self.state, State::Sending(transfer) if transfer.wants_content(&self.output))
    }

    /// The next piece, of any length but none. Who has no more where some is wanted closes the connection.
    pub fn feed(&mut self, piece: Bytes) {
        if let State::Sending(transfer) = &mut self.state {
            transfer.feed(piece);
        }
    }

    fn begin<'a>(
        &mut self,
        envelope: &Envelope,
        recipients: impl IntoIterator<Item = &'a Recipient>,
        content: &Outline,
        body: Stuffer,
    ) -> Result<(), NotReady> {
        if !matches!(self.state, State::Ready) {
            return Err(NotReady);
        }
        let recipients: Vec<&Recipient> = recipients.into_iter().collect();
        let utf8 = envelope.sender.mailbox().is_some_and(mail::Mailbox::needs_smtputf8)
            || (envelope.smtputf8 && content.header_is_8bit);
        let obstacle = self.obstacle(envelope, content, utf8);
        let outcome = |recipient: &&Recipient| match &obstacle {
            Some(failure) => Some(Outcome::Failed(failure.clone())),
            None if recipient.address.needs_smtputf8() && !self.offered.smtputf8 => {
                Some(Outcome::Failed(self.lacks(SMTPUTF8)))
            }
            None => None,
        };
        let outcomes: Vec<Option<Outcome>> = recipients.iter().map(outcome).collect();
        if outcomes.iter().all(Option::is_some) {
            self.events.push_back(ClientEvent::Done(outcomes.into_iter().flatten().collect()));
            return Ok(());
        }
        let named: Vec<&Recipient> =
            recipients.iter().zip(&outcomes).filter(|(_, o)| o.is_none()).map(|(r, _)| *r).collect();
        let utf8 = utf8 || named.iter().any(|r| r.address.needs_smtputf8());
        let mail = transfer::mail_command(envelope, content, utf8, &self.offered);
        let mut transfer = Transfer::new(body, content.len, outcomes, self.config.protocol);
        let reset = std::mem::take(&mut self.reset_due);
        let mut wire = Wire { output: &mut self.output, transcript: &mut self.transcript, hop: None };
        transfer.start(&mail, named.iter().copied(), &self.offered, reset, &mut wire);
        self.state = State::Sending(Box::new(transfer));
        Ok(())
    }

    /// Why this mail cannot go to this next hop at all.
    fn obstacle(&self, envelope: &Envelope, content: &Outline, utf8: bool) -> Option<Failure> {
        if let Some(reply) = self.in_the_way_of_tls(envelope) {
            return Some(self.lacks(reply));
        }
        // Canonical by construction; a plugin or a damaged spool must not smuggle.
        if !content.is_lines {
            return Some(self.lacks(Reply::fixed(550, (5, 6, 0), "the message holds a bare CR or LF, or a NUL")));
        }
        match self.offered.size {
            Some(limit) if limit > 0 && content.len > limit => {
                let text = format!("the message has {} octets, the next hop takes {limit}", content.len);
                return Some(self.lacks(Reply::new(552, (5, 3, 4), text)));
            }
            _ => {}
        }
        if utf8 && !self.offered.smtputf8 {
            return Some(self.lacks(SMTPUTF8));
        }
        (content.is_8bit && !self.offered.eight_bit_mime)
            .then(|| self.lacks(Reply::fixed(550, (5, 6, 3), "the message is 8-bit, the next hop takes 7-bit only")))
    }

    /// RFC 8689 §4.2.1: under TLS, to a server that is proven and promises the same, or not at all.
    fn in_the_way_of_tls(&self, envelope: &Envelope) -> Option<Reply> {
        let refused = |why| Some(Reply::fixed(550, (5, 7, 30), why));
        match envelope.require_tls {
            false => None,
            true if !self.config.tls_active => refused("the sender requires TLS, the next hop is reached without"),
            true if !self.server_proven => {
                refused("the sender requires TLS to a proven server, the next hop has not shown who it is")
            }
            true if !self.offered.require_tls => {
                refused("the sender requires TLS all the way, the next hop does not offer REQUIRETLS")
            }
            true => None,
        }
    }

    /// A refusal of our own, in the form that a DSN reports. No next hop has said it, so none is named.
    fn lacks(&self, reply: Reply) -> Failure {
        let detail = reply.text.to_string();
        Failure { reply: Some(reply), ..Failure::new(FailureKind::PermFail, None, detail) }
    }

    fn failure(&self, kind: FailureKind, detail: impl Into<String>) -> Failure {
        Failure::new(kind, self.config.next_hop.as_ref(), detail)
    }

    fn refused(&self, reply: Reply) -> Failure {
        let kind = match reply.code / 100 {
            4 => FailureKind::TempFail,
            5 => FailureKind::PermFail,
            _ => FailureKind::Protocol,
        };
        let detail = format!("the next hop refused the session instead of {}", self.waits_for());
        Failure { reply: Some(transfer::bounded(reply)), ..self.failure(kind, detail) }
    }

    fn command(&mut self, line: &str) {
        self.transcript.client(line.as_bytes());
        self.output.put_slice(line.as_bytes());
        self.output.put_slice(b"\r\n");
    }

    fn hello(&mut self) {
        let verb = match self.config.protocol {
            Protocol::Smtp => "EHLO",
            Protocol::Lmtp => "LHLO",
        };
        self.command(&format!("{verb} {}", self.config.helo));
        self.state = State::Ehlo;
    }

    fn on_reply(&mut self, reply: Reply) {
        // RFC 5321 §3.8: 421 may come in place of any reply.
        if reply.code == 421 && !matches!(self.state, State::Quitting) {
            return self.close(self.refused(reply));
        }
        match &mut self.state {
            State::Greeting if reply.code == 220 => self.hello(),
            State::Ehlo if reply.is_positive() => {
                self.offered = Capabilities::parse(&reply.text);
                self.identified();
            }
            State::Ehlo if reply.is_permanent() && self.config.protocol == Protocol::Smtp => {
                self.command(&format!("HELO {}", self.config.helo));
                self.state = State::Helo;
            }
            State::Helo if reply.is_positive() => self.identified(),
            State::StartTls if reply.code == 220 => self.start_tls(),
            State::StartTls if self.config.tls != ClientTls::Required => self.ready(),
            State::StartTls => {
                let failure = self.failure(FailureKind::Tls, "the next hop refused STARTTLS, which is required");
                self.close(Failure { reply: Some(transfer::bounded(reply)), ..failure });
            }
            State::Greeting | State::Ehlo | State::Helo => self.close(self.refused(reply)),
            State::Sending(transfer) => {
                let hop = self.config.next_hop.as_ref();
                let mut wire = Wire { output: &mut self.output, transcript: &mut self.transcript, hop };
                let progress = transfer.on_reply(reply, &mut wire);
                self.on_progress(progress);
            }
            State::Asking => self.answered(reply),
            State::Quitting => {
                self.state = State::Closed;
                self.events.push_back(ClientEvent::Ended);
            }
            State::Ready => {
                let failure = self.failure(FailureKind::Protocol, "the next hop spoke without being asked");
                self.close(Failure { reply: Some(transfer::bounded(reply)), ..failure });
            }
            State::Handshake | State::Closed => {}
        }
    }

    fn on_progress(&mut self, progress: Progress) {
        match progress {
            Progress::Waiting => {}
            Progress::Broken(failure) => self.close(failure),
            Progress::Done { open } => {
                if let State::Sending(transfer) = std::mem::replace(&mut self.state, State::Ready) {
                    self.events.push_back(ClientEvent::Done(transfer.finish(None)));
                }
                self.reset_due = open;
            }
        }
    }

    /// After EHLO or HELO: TLS first, where it is wanted.
    fn identified(&mut self) {
        if self.config.tls_active || self.config.tls == ClientTls::None {
            return self.ready();
        }
        match (self.offered.starttls, self.config.tls) {
            (true, _) => {
                self.command("STARTTLS");
                self.state = State::StartTls;
            }
            (false, ClientTls::Required) => {
                self.close(self.failure(FailureKind::Tls, "the next hop does not offer STARTTLS, which is required"));
            }
            (false, _) => self.ready(),
        }
    }

    fn start_tls(&mut self) {
        // Whoever put it there, it is not from the other end of the TLS session to come.
        if !self.input.is_empty() {
            return self
                .close(self.failure(FailureKind::Tls, "the next hop sent clear text behind its reply to STARTTLS"));
        }
        self.state = State::Handshake;
        self.events.push_back(ClientEvent::StartTls);
    }

    fn ready(&mut self) {
        self.state = State::Ready;
        self.events.push_back(ClientEvent::Ready);
    }

    fn connection_ended(&mut self) {
        match &self.state {
            State::Closed => {}
            State::Quitting => {
                self.state = State::Closed;
                self.events.push_back(ClientEvent::Ended);
            }
            State::Sending(transfer) if transfer.is_in_doubt(&self.output) => self.close(self.failure(
                FailureKind::Other,
                "the connection ended after the end of the data and before its reply: the mail may be delivered twice",
            )),
            _ => {
                let detail = format!("the connection ended while waiting for {}", self.waits_for());
                self.close(self.failure(FailureKind::Connect, detail));
            }
        }
    }

    fn close(&mut self, failure: Failure) {
        if let State::Sending(transfer) = std::mem::replace(&mut self.state, State::Closed) {
            self.events.push_back(ClientEvent::Done(transfer.finish(Some(&failure))));
        }
        self.input.clear();
        self.output.clear();
        self.events.push_back(ClientEvent::Closed(failure));
    }
}

const SMTPUTF8: Reply = Reply::fixed(553, (5, 6, 7), "the message needs SMTPUTF8, which the next hop does not offer");
