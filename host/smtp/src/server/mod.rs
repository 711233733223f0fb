//! The server's side of a session.
//!
//! Decides the order of commands, their syntax and everything that needs no policy; asks the
//! driver for the rest. It never blocks: [`Server::next_event`] gives `None` when it needs more
//! input or an answer.
//!
//! The driver's loop: read into [`Server::input`], take events until there are none, answer those
//! that ask, write [`Server::output`] when there are none or an answer takes long, read again. Nothing is
//! read while an answer is due, so what is buffered is bounded by one read and one line.

mod body;
mod etrn;
mod params;
mod path;
mod verbs;
mod xclient;

use crate::{
    line::{self, Line},
    text::{BareLineEnds, ChunkText, DataText},
    transcript::Transcript,
};
use bytes::{Bytes, BytesMut};
pub use etrn::Node;
use mail::{Domain, Recipient, Reply, ReversePath};
pub use params::{MailParams, RawParams};
use std::{collections::VecDeque, sync::Arc};
pub use xclient::{Told, Xclient};

#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// In the greeting; the domain of a bare `<postmaster>`.
    pub hostname: Domain,
    /// In octets, as RFC 1870 counts.
    pub max_message_size: u64,
    /// Accepted in one transaction; 452 beyond it, and beyond twice as many that were asked for.
    pub max_recipients: usize,
    pub tls: TlsOffer,
    /// ETRN (RFC 1985) is offered.
    pub etrn: bool,
    pub bare_line_ends: BareLineEnds,
    /// 421 after so many commands that were refused for syntax or sequence.
    pub max_errors: u32,
    /// 421 after so many commands since the last mail that bring none by themselves: NOOP, RSET,
    /// VRFY, HELP, EHLO, HELO, MAIL, ETRN.
    pub max_idle_commands: u32,
}

impl ServerConfig {
    pub fn new(hostname: Domain) -> Self {
        Self {
            hostname,
            max_message_size: 50 << 20,
            max_recipients: 1000,
            tls: TlsOffer::None,
            etrn: false,
            bare_line_ends: BareLineEnds::default(),
            max_errors: 20,
            max_idle_commands: 100,
        }
    }
}

/// STARTTLS (RFC 3207), as long as TLS is not active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsOffer {
    #[default]
    None,
    Optional,
    /// 530 to mail in clear text.
    Required,
}

/// Those that *ask* wait for [`Server::answer`]; the others are told.
#[derive(Debug, PartialEq)]
pub enum ServerEvent {
    /// EHLO or HELO; the server has replied.
    Hello { name: String, esmtp: bool },
    /// Asks. A 2yz begins the transaction.
    Mail { sender: ReversePath, params: MailParams },
    /// Asks, with the parameters as given. A 2yz adds the recipient.
    Recipient(Recipient, RawParams),
    /// Asks, before the first byte of data. 354 (or 2yz) goes on; anything else ends the
    /// transaction. With BDAT a refusal is the reply to the chunk, whose bytes are dropped.
    DataStart,
    /// Canonical lines, dots unstuffed; a piece may end anywhere, but never between CR and LF. It
    /// shares the input's memory: whoever keeps a small one for long should copy it.
    ///
    /// Octets over 127 come as they were sent, with or without BODY=8BITMIME.
    Body(Bytes),
    /// Asks for the reply that decides who is responsible for the mail. Ends the transaction.
    EndOfMessage,
    /// Asks, outside a transaction: mail that waits shall be sent now.
    Etrn(Node),
    /// Asks: the client speaks for another one. A 2yz begins the session again, anything else ends it.
    Xclient(Xclient),
    /// The transaction is over without a mail: RSET, EHLO, an error in the data, the end of the
    /// session. What was collected is void.
    Aborted,
    /// Flush the output, shake hands, then [`Server::tls_started`].
    StartTls,
    /// Flush the output and close.
    Quit,
}

/// One session, from the greeting on.
#[derive(Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    tls_active: bool,
    is_proxy: bool,
    state: State,
    mode: Mode,
    input: BytesMut,
    output: BytesMut,
    events: VecDeque<ServerEvent>,
    errors: u32,
    idle_commands: u32,
    transcript: Transcript,
}

/// How far the client has come.
#[derive(Debug)]
enum State {
    Greeted,
    Identified { esmtp: bool },
    Collecting { esmtp: bool, transaction: Transaction },
}

#[derive(Debug, Default)]
struct Transaction {
    smtputf8: bool,
    /// Accepted.
    recipients: usize,
    /// Accepted and refused.
    asked: usize,
    /// From the first BDAT on.
    chunks: Option<ChunkText>,
}

/// What the next bytes are.
#[derive(Debug)]
enum Mode {
    Commands,
    /// The rest of a line that was too long.
    OverlongLine,
    /// Not looked at until the driver has answered.
    Asked(Question),
    Data(DataText),
    Chunk {
        left: u64,
        chunk: Chunk,
    },
    /// The rest of a chunk that was refused with this reply.
    RefusedChunk {
        left: u64,
        reply: Reply,
    },
    /// Not ours: the TLS handshake.
    Handshake,
    Ended,
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    size: u64,
    last: bool,
}

#[derive(Clone, Copy, Debug)]
enum Question {
    Mail { smtputf8: bool },
    Recipient,
    Data,
    FirstChunk(Chunk),
    EndOfMessage,
    Etrn,
    Xclient,
}

/// RFC 5321 §4.5.3.1.4 asks for 512 octets; MAIL and RCPT with every extension offered here need
/// up to 512 + 1,000.
const MAX_COMMAND_LINE: usize = 2048;

impl Server {
    /// `tls_active` for a listener that begins with the handshake.
    pub fn new(config: Arc<ServerConfig>, tls_active: bool) -> Self {
        Self {
            config,
            tls_active,
            is_proxy: false,
            state: State::Greeted,
            mode: Mode::Commands,
            input: BytesMut::new(),
            output: BytesMut::new(),
            events: VecDeque::new(),
            errors: 0,
            idle_commands: 0,
            transcript: Transcript::default(),
        }
    }

    /// The client is one of those that may speak for others: XCLIENT is offered.
    pub fn trust_as_proxy(&mut self) {
        self.is_proxy = true;
    }

    /// Queues the 220. A driver that refuses the connection calls [`Self::close_with`] instead.
    pub fn greet(&mut self) {
        let text = format!("{} ESMTP Waypost", self.config.hostname);
        self.reply(Reply { code: 220, enhanced: None, text: text.into() });
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// For reading straight into it; the driver reserves room first. Not empty before [`Self::greet`]: the client talks out of turn.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Replies to write; the driver takes out what it has written.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    pub fn is_tls_active(&self) -> bool {
        self.tls_active
    }

    /// The client is sending a mail's data; for choosing a time-out (RFC 5321 §4.5.3.2).
    pub fn is_receiving(&self) -> bool {
        matches!(self.mode, Mode::Data(_) | Mode::Chunk { .. } | Mode::RefusedChunk { .. })
    }

    /// Nothing of a command is there yet; for choosing a time-out.
    pub fn is_between_commands(&self) -> bool {
        matches!(self.mode, Mode::Commands) && self.input.is_empty()
    }

    /// Commands so far that were refused for syntax or sequence.
    pub fn errors(&self) -> u32 {
        self.errors
    }

    /// An answer is due; nothing more is told before it.
    pub fn is_asking(&self) -> bool {
        self.events.is_empty() && matches!(self.mode, Mode::Asked(_))
    }

    pub fn next_event(&mut self) -> Option<ServerEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let advanced = match &self.mode {
                Mode::Asked(_) | Mode::Handshake | Mode::Ended => false,
                Mode::Commands => self.command_line(),
                Mode::OverlongLine => self.overlong_line(),
                Mode::Data(_) => self.data(),
                Mode::Chunk { .. } => self.chunk(),
                Mode::RefusedChunk { .. } => self.refused_chunk(),
            };
            if !advanced && self.events.is_empty() {
                return None;
            }
        }
    }

    /// The answer to the last event that asked. Ignored when none is due. A 421 ends the session.
    pub fn answer(&mut self, reply: Reply) {
        let Mode::Asked(question) = self.mode else { return };
        self.mode = Mode::Commands;
        match question {
            Question::Mail { smtputf8 } if reply.is_positive() => {
                let transaction = Transaction { smtputf8, ..Transaction::default() };
                self.state = State::Collecting { esmtp: self.is_esmtp(), transaction };
            }
            Question::Recipient if reply.is_positive() => {
                if let Some(transaction) = self.transaction() {
                    transaction.recipients += 1;
                }
            }
            Question::Mail { .. } | Question::Recipient | Question::Etrn => {}
            Question::Xclient => return self.xclient_answered(reply),
            Question::Data => return self.data_answered(reply),
            Question::FirstChunk(chunk) => return self.first_chunk_answered(chunk, reply),
            Question::EndOfMessage => {
                self.idle_commands = 0;
                self.leave_transaction();
            }
        }
        self.reply_or_close(reply);
    }

    /// After the handshake. Forgets what the client said in clear text (RFC 3207 §4.2). Clear text
    /// that is still buffered was put there to be taken for encrypted: it is dropped, and the
    /// session ends.
    pub fn tls_started(&mut self) {
        self.tls_active = true;
        self.state = State::Greeted;
        self.mode = Mode::Commands;
        self.transcript.tls();
        if !self.input.is_empty() {
            self.end_with(OUT_OF_TURN_TLS);
        }
    }

    /// The client's side of the connection has ended.
    pub fn eof(&mut self) {
        if !matches!(self.mode, Mode::Asked(Question::EndOfMessage)) {
            self.abort();
        }
        self.input.clear();
        self.mode = Mode::Ended;
    }

    /// Ends the session from the driver's side: 421 for a shutdown or a time-out, 554 in place of a
    /// greeting. [`ServerEvent::Quit`] follows.
    pub fn close_with(&mut self, reply: Reply) {
        if !matches!(self.mode, Mode::Ended) {
            self.end_with(reply);
        }
    }

    fn end_with(&mut self, reply: Reply) {
        self.abort();
        self.reply(reply);
        self.input.clear();
        self.mode = Mode::Ended;
        self.events.push_back(ServerEvent::Quit);
    }

    /// The client has said EHLO.
    pub fn is_esmtp(&self) -> bool {
        matches!(self.state, State::Identified { esmtp: true } | State::Collecting { esmtp: true, .. })
    }

    fn transaction(&mut self) -> Option<&mut Transaction> {
        match &mut self.state {
            State::Collecting { transaction, .. } => Some(transaction),
            State::Greeted | State::Identified { .. } => None,
        }
    }

    fn leave_transaction(&mut self) {
        if matches!(self.state, State::Collecting { .. }) {
            self.state = State::Identified { esmtp: self.is_esmtp() };
        }
    }

    /// Leaves the transaction, if there is one, and tells.
    fn abort(&mut self) {
        if matches!(self.state, State::Collecting { .. }) {
            self.leave_transaction();
            self.events.push_back(ServerEvent::Aborted);
        }
    }

    fn ask(&mut self, question: Question, event: ServerEvent) {
        self.mode = Mode::Asked(question);
        self.events.push_back(event);
    }

    fn reply(&mut self, reply: Reply) {
        self.transcript.server(&reply);
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

    /// One command, if its line is complete.
    fn command_line(&mut self) -> bool {
        match line::take(&mut self.input, MAX_COMMAND_LINE) {
            Line::Incomplete => return false,
            Line::TooLong => self.mode = Mode::OverlongLine,
            Line::Complete(line) => {
                self.transcript.client(&line);
                self.execute(line::without_blanks(&line));
            }
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

const OUT_OF_TURN_TLS: Reply = Reply::fixed(421, (4, 7, 0), "Nothing may follow STARTTLS before the handshake");
const TOO_MANY_ERRORS: Reply = Reply::fixed(421, (4, 7, 0), "Too many errors");
const LINE_TOO_LONG: Reply = Reply::fixed(500, (5, 5, 2), "Line too long");
