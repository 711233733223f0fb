//! The provider's side of On-Demand Mail Relay (RFC 2645), up to the moment when the roles turn.
//!
//! Decides the order of commands, their syntax, and how the steps of AUTH (RFC 4954) look at the wire. It
//! never sees a password checked and knows no domain's owner: the driver answers what is asked. After the
//! 250 to ATRN nothing more is read here: what comes next is for a [`crate::Client`].

mod auth;
mod verbs;

use crate::{
    TlsOffer,
    line::{self, Line},
};
pub use auth::{Mechanism, Mechanisms};
use bytes::BytesMut;
use mail::{Domain, Reply};
use std::collections::VecDeque;

#[derive(Clone, Debug)]
pub struct OdmrConfig {
    /// In the greeting.
    pub hostname: Domain,
    pub tls: TlsOffer,
    /// 421 after so many commands that were refused for syntax or sequence.
    pub max_errors: u32,
    /// 421 after so many commands that lead nowhere by themselves.
    pub max_idle_commands: u32,
    /// 421 after so many AUTH that did not succeed.
    pub max_auth_failures: u32,
}

impl OdmrConfig {
    pub fn new(hostname: Domain) -> Self {
        Self { hostname, tls: TlsOffer::None, max_errors: 20, max_idle_commands: 50, max_auth_failures: 3 }
    }
}

/// Those that *ask* wait for an answer; the others are told.
#[derive(Debug, PartialEq, Eq)]
pub enum OdmrEvent {
    /// Asks for [`Odmr::challenge`], [`Odmr::authenticated`] or [`Odmr::refuse`]. The initial response is
    /// decoded; none where the client sent none.
    Auth { mechanism: Mechanism, initial: Option<Vec<u8>> },
    /// Asks likewise: the response to a challenge, decoded.
    Response(Vec<u8>),
    /// The exchange is over without a result: `*`, a response that is no base64, the end of the session.
    AuthAborted,
    /// Asks for [`Odmr::answer_turn`]: the domains whose mail is wanted; none named are all that may be collected.
    Turn(Vec<Domain>),
    /// Flush the output, shake hands, then [`Odmr::tls_started`].
    StartTls,
    /// Flush the output and close.
    Quit,
    /// Flush the output; the driver is the SMTP client from now on.
    Turned,
}

/// One session, from the greeting to the turn.
#[derive(Debug)]
pub struct Odmr {
    config: OdmrConfig,
    /// That some domain can be proven with.
    mechanisms: Mechanisms,
    tls_active: bool,
    identity: Identity,
    mode: Mode,
    input: BytesMut,
    output: BytesMut,
    events: VecDeque<OdmrEvent>,
    errors: u32,
    idle_commands: u32,
    auth_failures: u32,
}

/// How far the client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    Unknown,
    /// HELO knows no extensions, and so no AUTH.
    Greeted {
        esmtp: bool,
    },
    Authenticated,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Commands,
    /// One line of base64.
    Response,
    /// The rest of a line that was too long.
    OverlongLine,
    /// Not looked at until the driver has answered.
    Asked(Question),
    /// Not ours: the TLS handshake.
    Handshake,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Auth,
    Turn,
}

/// RFC 4954 §4: a line of an exchange, and AUTH with its initial response, may have so many octets.
const MAX_LINE: usize = 12_288;

impl Odmr {
    /// `tls_active` for a listener that begins with the handshake.
    pub fn new(config: OdmrConfig, mechanisms: Mechanisms, tls_active: bool) -> Self {
        Self {
            config,
            mechanisms,
            tls_active,
            identity: Identity::Unknown,
            mode: Mode::Commands,
            input: BytesMut::new(),
            output: BytesMut::new(),
            events: VecDeque::new(),
            errors: 0,
            idle_commands: 0,
            auth_failures: 0,
        }
    }

    /// Queues the 220.
    pub fn greet(&mut self) {
        let text = format!("{} Waypost on-demand mail relay", self.config.hostname);
        self.reply(Reply { code: 220, enhanced: None, text: text.into() });
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// For reading straight into it; the driver reserves room first.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Replies to write; the driver takes out what it has written.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    pub fn is_tls_active(&self) -> bool {
        self.tls_active
    }

    /// An answer is due; nothing more is told before it.
    pub fn is_asking(&self) -> bool {
        self.events.is_empty() && matches!(self.mode, Mode::Asked(_))
    }

    pub fn next_event(&mut self) -> Option<OdmrEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let advanced = match self.mode {
                Mode::Asked(_) | Mode::Handshake | Mode::Ended => false,
                Mode::Commands | Mode::Response => self.line(),
                Mode::OverlongLine => self.overlong_line(),
            };
            if !advanced && self.events.is_empty() {
                return None;
            }
        }
    }

    /// The answer to [`OdmrEvent::Turn`]. With 250 the session is over here, and [`OdmrEvent::Turned`] follows.
    pub fn answer_turn(&mut self, reply: Reply) {
        if self.mode != Mode::Asked(Question::Turn) {
            return;
        }
        self.mode = Mode::Commands;
        if !reply.is_positive() {
            return self.reply_or_close(reply);
        }
        // The client speaks again once it has read the 250. What it sent before was said in another role.
        if !self.input.is_empty() {
            return self.end_with(OUT_OF_TURN);
        }
        self.reply(reply);
        self.mode = Mode::Ended;
        self.events.push_back(OdmrEvent::Turned);
    }

    /// After the handshake. Forgets what the client said in clear text (RFC 3207 §4.2), its login included.
    /// Clear text that is still buffered was put there to be taken for encrypted: the session ends.
    pub fn tls_started(&mut self) {
        self.tls_active = true;
        self.identity = Identity::Unknown;
        self.mode = Mode::Commands;
        if !self.input.is_empty() {
            self.end_with(OUT_OF_TURN_TLS);
        }
    }

    /// The client's side of the connection has ended.
    pub fn eof(&mut self) {
        self.input.clear();
        self.mode = Mode::Ended;
    }

    /// Ends the session from the driver's side: a shutdown, a time-out. [`OdmrEvent::Quit`] follows.
    pub fn close_with(&mut self, reply: Reply) {
        if self.mode != Mode::Ended {
            self.end_with(reply);
        }
    }

    fn end_with(&mut self, reply: Reply) {
        self.reply(reply);
        self.input.clear();
        self.mode = Mode::Ended;
        self.events.push_back(OdmrEvent::Quit);
    }

    fn ask(&mut self, question: Question, event: OdmrEvent) {
        self.mode = Mode::Asked(question);
        self.events.push_back(event);
    }

    fn reply(&mut self, reply: Reply) {
        reply.write_to(&mut self.output);
    }

    fn reply_or_close(&mut self, reply: Reply) {
        if reply.code == 421 { self.end_with(reply) } else { self.reply(reply) }
    }

    /// For what the client did wrong at the protocol's level; too much of it ends the session.
    fn reply_error(&mut self, reply: Reply) {
        self.reply(reply);
        self.errors += 1;
        if self.errors >= self.config.max_errors {
            self.end_with(TOO_MANY_ERRORS);
        }
    }

    fn reply_idle(&mut self, reply: Reply) {
        self.reply(reply);
        self.idle_commands += 1;
        if self.idle_commands > self.config.max_idle_commands {
            self.end_with(TOO_MANY_IDLE);
        }
    }

    /// One command or one response, if its line is complete.
    fn line(&mut self) -> bool {
        let is_response = self.mode == Mode::Response;
        match line::take(&mut self.input, MAX_LINE) {
            Line::Incomplete => return false,
            Line::TooLong => {
                if is_response {
                    self.events.push_back(OdmrEvent::AuthAborted);
                }
                self.mode = Mode::OverlongLine;
            }
            Line::Complete(line) if is_response => self.response(&line),
            Line::Complete(line) => self.execute(line::without_blanks(&line)),
        }
        true
    }

    fn overlong_line(&mut self) -> bool {
        let ended = line::skip(&mut self.input);
        if ended {
            self.mode = Mode::Commands;
            self.reply_error(LINE_TOO_LONG);
        }
        ended
    }
}

const OUT_OF_TURN: Reply = Reply::fixed(421, (4, 7, 0), "Nothing may follow ATRN before its reply");
const OUT_OF_TURN_TLS: Reply = Reply::fixed(421, (4, 7, 0), "Nothing may follow STARTTLS before the handshake");
const TOO_MANY_ERRORS: Reply = Reply::fixed(421, (4, 7, 0), "Too many errors");
const TOO_MANY_IDLE: Reply = Reply::fixed(421, (4, 7, 0), "Too many commands that lead nowhere");
const LINE_TOO_LONG: Reply = Reply::fixed(500, (5, 5, 2), "Line too long");
