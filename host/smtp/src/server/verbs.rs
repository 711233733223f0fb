//! The commands: one row for each verb says when it is legal and what it does.
//!
//! Decides sequence and syntax. Policy is asked of the driver.

use super::{Chunk, Mode, Question, Server, ServerEvent, State, TlsOffer, params, path};
use mail::{Recipient, Reply};
use std::fmt::Write as _;

struct Verb {
    name: &'static [u8],
    legal: When,
    /// Allowed in clear text where TLS is required (RFC 3207 §4).
    in_clear: bool,
    argument: Argument,
    act: fn(&mut Server, &[u8]),
}

/// RFC 5321 §4.1.4.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// Identified or not, no transaction is open.
    NoTransaction,
    Identified,
    /// Identified, and no transaction is open.
    BetweenMails,
    Transaction,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Argument {
    None,
    Optional,
    Required,
}

const fn verb(
    name: &'static str,
    legal: When,
    in_clear: bool,
    argument: Argument,
    act: fn(&mut Server, &[u8]),
) -> Verb {
    Verb { name: name.as_bytes(), legal, in_clear, argument, act }
}

#[rustfmt::skip]
const VERBS: [Verb; 19] = [
    verb("MAIL",     When::BetweenMails, false, Argument::Required, Server::mail),
    verb("RCPT",     When::Transaction,  false, Argument::Required, Server::rcpt),
    verb("DATA",     When::Transaction,  false, Argument::None,     |server, _| server.start_data()),
    verb("EHLO",     When::Always,       true,  Argument::Required, Server::ehlo),
    verb("HELO",     When::Always,       true,  Argument::Required, Server::helo),
    verb("RSET",     When::Always,       true,  Argument::None,     Server::rset),
    verb("NOOP",     When::Always,       true,  Argument::Optional, |server, _| server.reply_idle(OK)),
    verb("QUIT",     When::Always,       true,  Argument::None,     |server, _| server.end_with(BYE)),
    verb("STARTTLS", When::BetweenMails, true,  Argument::None,     Server::starttls),
    verb("VRFY",     When::Always,       false, Argument::Required, |server, _| server.reply_idle(CANNOT_VERIFY)),
    verb("HELP",     When::Always,       true,  Argument::Optional, |server, _| server.reply_idle(HELP)),
    verb("AUTH",     When::Identified,   false, Argument::Optional, |server, _| server.reply_error(NOT_IMPLEMENTED)),
    verb("EXPN",     When::Always,       false, Argument::Optional, |server, _| server.reply_error(NOT_IMPLEMENTED)),
    verb("ETRN",     When::BetweenMails, false, Argument::Required, Server::etrn),
    verb("XCLIENT",  When::NoTransaction, false, Argument::Required, Server::xclient),
    verb("TURN",     When::Always,       false, Argument::Optional, |server, _| server.reply_error(NOT_IMPLEMENTED)),
    verb("SEND",     When::Always,       false, Argument::Optional, |server, _| server.reply_error(NOT_IMPLEMENTED)),
    verb("SOML",     When::Always,       false, Argument::Optional, |server, _| server.reply_error(NOT_IMPLEMENTED)),
    verb("SAML",     When::Always,       false, Argument::Optional, |server, _| server.reply_error(NOT_IMPLEMENTED)),
];

impl Server {
    /// One command line without its line end and trailing blanks.
    pub(super) fn execute(&mut self, line: &[u8]) {
        let at = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
        let (name, rest) = line.split_at_checked(at).unwrap_or((line, b""));
        let argument = rest.strip_prefix(b" ").unwrap_or(rest);
        // BDAT first: its bytes follow, whatever else is wrong.
        if name.eq_ignore_ascii_case(b"BDAT") {
            return self.bdat(argument);
        }
        // A bare CR or LF is a line end to others; no other control character has business here either.
        if line.iter().any(u8::is_ascii_control) {
            return self.reply_error(CONTROL);
        }
        let Some(verb) = VERBS.iter().find(|verb| name.eq_ignore_ascii_case(verb.name)) else {
            return self.reply_error(UNKNOWN);
        };
        let refusal = match (verb.argument, argument.is_empty()) {
            (Argument::None, false) | (Argument::Required, true) => Err(ARGUMENT),
            _ => self.check(verb.legal, verb.in_clear),
        };
        match refusal {
            Ok(()) => (verb.act)(self, argument),
            Err(reply) if verb.name == b"DATA" => self.refuse_data(reply, true),
            Err(reply) => self.reply_error(reply),
        }
    }

    fn check(&self, legal: When, in_clear: bool) -> Result<(), Reply> {
        if self.config.tls == TlsOffer::Required && !self.tls_active && !in_clear {
            return Err(TLS_FIRST);
        }
        match (legal, &self.state) {
            (When::Always, _)
            | (When::NoTransaction, State::Greeted | State::Identified { .. })
            | (When::Identified, State::Identified { .. } | State::Collecting { .. })
            | (When::BetweenMails, State::Identified { .. })
            | (When::Transaction, State::Collecting { .. }) => Ok(()),
            (_, State::Greeted) => Err(HELLO_FIRST),
            (When::BetweenMails | When::NoTransaction, State::Collecting { .. }) => Err(NESTED),
            (When::Transaction, State::Identified { .. }) => Err(MAIL_FIRST),
        }
    }

    fn ehlo(&mut self, name: &[u8]) {
        let Some(name) = self.hello(name, true) else { return };
        let mut text =
            format!("{} greets {name}\nPIPELINING\nSIZE {}", self.config.hostname, self.config.max_message_size);
        text.push_str("\n8BITMIME\nSMTPUTF8\nCHUNKING\nENHANCEDSTATUSCODES\nDSN");
        if self.config.etrn {
            text.push_str("\nETRN");
        }
        if self.config.tls != TlsOffer::None && !self.tls_active {
            text.push_str("\nSTARTTLS");
        }
        if self.tls_active {
            text.push_str("\nREQUIRETLS");
        }
        if self.is_proxy {
            text.push_str("\nXCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT");
        }
        write!(text, "\nLIMITS RCPTMAX={}", self.config.max_recipients).ok();
        // RFC 2034 §4: no enhanced code in this reply.
        self.reply_idle(Reply { code: 250, enhanced: None, text: text.into() });
    }

    fn helo(&mut self, name: &[u8]) {
        if self.hello(name, false).is_some() {
            let text = self.config.hostname.to_string().into();
            self.reply_idle(Reply { code: 250, enhanced: None, text });
        }
    }

    /// The name is what the client calls itself, for the log and for policy: any printable word.
    fn hello(&mut self, name: &[u8], esmtp: bool) -> Option<String> {
        let name = str::from_utf8(name).ok().filter(|n| n.len() <= 255 && n.bytes().all(|b| b.is_ascii_graphic()));
        let Some(name) = name.map(str::to_owned) else {
            self.reply_error(HELLO_NAME);
            return None;
        };
        // RFC 5321 §4.1.4: as RSET.
        self.abort();
        self.state = State::Identified { esmtp };
        self.events.push_back(ServerEvent::Hello { name: name.clone(), esmtp });
        Some(name)
    }

    fn mail(&mut self, argument: &[u8]) {
        let parsed = path::split_path(argument, b"FROM:").and_then(|(path, given)| {
            if !self.is_esmtp() && !given.is_empty() {
                return Err(EHLO_FIRST);
            }
            let params = params::mail_params(given)?;
            // RFC 8689 §2: it is offered under TLS only.
            if params.require_tls && !self.tls_active {
                return Err(TLS_NEEDED);
            }
            Ok((path::reverse_path(path, params.smtputf8)?, params))
        });
        match parsed {
            Err(reply) => self.reply_error(reply),
            Ok((_, params)) if params.size.is_some_and(|size| size > self.config.max_message_size) => {
                self.reply(TOO_LARGE);
            }
            Ok((sender, params)) => {
                if self.is_idling() {
                    return self.end_with(TOO_MANY_IDLE);
                }
                let question = Question::Mail { smtputf8: params.smtputf8 };
                self.ask(question, ServerEvent::Mail { sender, params });
            }
        }
    }

    fn rcpt(&mut self, argument: &[u8]) {
        let (max, esmtp) = (self.config.max_recipients, self.is_esmtp());
        let Some(transaction) = self.transaction() else { return };
        // Refused ones count too, at half the price: a list of guesses ends somewhere.
        let is_full = transaction.recipients >= max || transaction.asked >= max.saturating_mul(2);
        let (is_chunked, smtputf8) = (transaction.chunks.is_some(), transaction.smtputf8);
        if is_chunked {
            return self.reply_error(DATA_STARTED);
        }
        let parsed = path::split_path(argument, b"TO:").and_then(|(path, given)| {
            if !esmtp && !given.is_empty() {
                return Err(EHLO_FIRST);
            }
            let params = params::rcpt_params(given)?;
            let address = path::forward_path(path, smtputf8, &self.config.hostname)?;
            let recipient = Recipient { notify: params.notify, orcpt: params.orcpt, ..Recipient::new(address) };
            Ok((recipient, params.raw))
        });
        match parsed {
            Err(reply) => self.reply_error(reply),
            Ok(_) if is_full => self.reply(TOO_MANY_RECIPIENTS),
            Ok((recipient, raw)) => {
                if let Some(transaction) = self.transaction() {
                    transaction.asked += 1;
                }
                self.ask(Question::Recipient, ServerEvent::Recipient(recipient, raw));
            }
        }
    }

    /// RFC 3030 §2. A size that cannot be read, or that nobody would wait for, leaves open where
    /// the chunk ends and the commands go on: the session ends.
    fn bdat(&mut self, argument: &[u8]) {
        let Some(chunk) = parse_chunk(argument, self.config.max_message_size) else {
            self.reply(CHUNK_SIZE);
            return self.end_with(OUT_OF_STEP);
        };
        match self.check(When::Transaction, false) {
            Err(reply) => self.mode = Mode::RefusedChunk { left: chunk.size, reply },
            Ok(()) => self.start_chunk(chunk),
        }
    }

    fn rset(&mut self, _: &[u8]) {
        self.abort();
        self.reply_idle(OK);
    }

    fn starttls(&mut self, _: &[u8]) {
        if self.tls_active {
            return self.reply_error(TLS_ACTIVE);
        }
        if self.config.tls == TlsOffer::None {
            return self.reply_error(NOT_IMPLEMENTED);
        }
        if !self.input.is_empty() {
            return self.end_with(super::OUT_OF_TURN_TLS);
        }
        self.reply(READY_FOR_TLS);
        self.mode = Mode::Handshake;
        self.events.push_back(ServerEvent::StartTls);
    }

    fn reply_idle(&mut self, reply: Reply) {
        self.reply(reply);
        if self.is_idling() {
            self.end_with(TOO_MANY_IDLE);
        }
    }

    /// Counts a command that by itself brings no mail; true when there were too many since the last one.
    pub(super) fn is_idling(&mut self) -> bool {
        self.idle_commands += 1;
        self.idle_commands > self.config.max_idle_commands
    }
}

/// `size [LAST]`. Sizes up to 32 bits, or up to the limit for a mail, can be read over.
fn parse_chunk(argument: &[u8], max_message_size: u64) -> Option<Chunk> {
    let text = str::from_utf8(argument).ok()?;
    let (size, last) = text.split_once(' ').map_or((text, None), |(size, last)| (size, Some(last)));
    if size.is_empty() || !size.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = size.parse().ok().filter(|size| *size <= max_message_size.max(u32::MAX.into()))?;
    match last {
        None => Some(Chunk { size, last: false }),
        Some(word) if word.eq_ignore_ascii_case("LAST") => Some(Chunk { size, last: true }),
        Some(_) => None,
    }
}

const OK: Reply = Reply::fixed(250, (2, 0, 0), "OK");
const BYE: Reply = Reply::fixed(221, (2, 0, 0), "Bye");
const READY_FOR_TLS: Reply = Reply::fixed(220, (2, 0, 0), "Ready to start TLS");
const CANNOT_VERIFY: Reply = Reply::fixed(252, (2, 0, 0), "Cannot verify; send mail and it will be tried");
const HELP: Reply =
    Reply::fixed(214, (2, 0, 0), "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT STARTTLS VRFY HELP ETRN; see RFC 5321");
const UNKNOWN: Reply = Reply::fixed(500, (5, 5, 1), "Unknown command");
const CONTROL: Reply = Reply::fixed(500, (5, 5, 2), "A command must not hold control characters");
const ARGUMENT: Reply = Reply::fixed(501, (5, 5, 4), "This command takes an argument, or takes none");
const HELLO_NAME: Reply = Reply::fixed(501, (5, 5, 2), "One name of printable ASCII characters is expected");
const CHUNK_SIZE: Reply = Reply::fixed(501, (5, 5, 4), "Syntax: BDAT size [LAST]");
const OUT_OF_STEP: Reply = Reply::fixed(421, (4, 7, 0), "Cannot tell where the chunk ends");
const NOT_IMPLEMENTED: Reply = Reply::fixed(502, (5, 5, 1), "Command not implemented");
const HELLO_FIRST: Reply = Reply::fixed(503, (5, 5, 1), "Send EHLO first");
const NESTED: Reply = Reply::fixed(503, (5, 5, 1), "A transaction is open");
const MAIL_FIRST: Reply = Reply::fixed(503, (5, 5, 1), "Send MAIL first");
const DATA_STARTED: Reply = Reply::fixed(503, (5, 5, 1), "The data has begun");
const TLS_ACTIVE: Reply = Reply::fixed(503, (5, 5, 1), "TLS is active");
const TLS_FIRST: Reply = Reply::fixed(530, (5, 7, 0), "Send STARTTLS first");
const TLS_NEEDED: Reply = Reply::fixed(530, (5, 7, 10), "REQUIRETLS needs TLS: send STARTTLS first");
const EHLO_FIRST: Reply = Reply::fixed(555, (5, 5, 4), "Parameters need EHLO");
const TOO_LARGE: Reply = Reply::fixed(552, (5, 3, 4), "The message is too large");
const TOO_MANY_RECIPIENTS: Reply =
    Reply::fixed(452, (4, 5, 3), "Too many recipients; send the rest in another transaction");
const TOO_MANY_IDLE: Reply = Reply::fixed(421, (4, 7, 0), "Too many commands without mail");
