//! AUTH at the wire (RFC 4954): which mechanism, base64 in and out, how an exchange ends.
//!
//! Never looks into what is exchanged.

use super::{Identity, Mode, Odmr, OdmrEvent, Question};
use base64::{Engine, prelude::BASE64_STANDARD};
use mail::Reply;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// RFC 7677.
    ScramSha256,
    /// RFC 2195; RFC 2645 §5.1.2 asks for it.
    CramMd5,
}

/// What may be offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mechanisms {
    pub plain: bool,
    pub scram_sha_256: bool,
    pub cram_md5: bool,
}

impl Mechanism {
    pub const ALL: [Self; 3] = [Self::ScramSha256, Self::CramMd5, Self::Plain];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::CramMd5 => "CRAM-MD5",
        }
    }
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| name.eq_ignore_ascii_case(mechanism.as_str().as_bytes()))
    }

    /// Whoever listens in clear text would have the password, or what to guess it from at leisure.
    pub fn needs_tls(self) -> bool {
        match self {
            Self::Plain | Self::ScramSha256 => true,
            Self::CramMd5 => false,
        }
    }
    fn client_first(self) -> bool {
        self != Self::CramMd5
    }
}

impl Mechanisms {
    pub fn has(self, mechanism: Mechanism) -> bool {
        match mechanism {
            Mechanism::Plain => self.plain,
            Mechanism::ScramSha256 => self.scram_sha_256,
            Mechanism::CramMd5 => self.cram_md5,
        }
    }
}

impl Odmr {
    /// Goes on with the exchange: the client answers with [`OdmrEvent::Response`].
    pub fn challenge(&mut self, bytes: &[u8]) {
        if self.mode == Mode::Asked(Question::Auth) {
            self.mode = Mode::Response;
            self.reply(Reply { code: 334, enhanced: None, text: BASE64_STANDARD.encode(bytes).into() });
        }
    }

    /// Ends the exchange with 235: the client may turn the connection.
    pub fn authenticated(&mut self) {
        if self.mode == Mode::Asked(Question::Auth) {
            self.mode = Mode::Commands;
            self.identity = Identity::Authenticated;
            self.reply(AUTHENTICATED);
        }
    }

    /// Ends the exchange with a 4yz or 5yz.
    pub fn refuse(&mut self, reply: Reply) {
        if self.mode == Mode::Asked(Question::Auth) {
            self.auth_failed(reply);
        }
    }

    /// In the order of preference; none that this session could not use now.
    pub(super) fn offered(&self) -> Vec<&'static str> {
        let usable =
            |mechanism: &Mechanism| self.mechanisms.has(*mechanism) && (self.tls_active || !mechanism.needs_tls());
        Mechanism::ALL.into_iter().filter(usable).map(Mechanism::as_str).collect()
    }

    pub(super) fn auth(&mut self, argument: &[u8]) {
        match self.identity {
            Identity::Greeted { esmtp: true } => {}
            // RFC 4954 §4: no second AUTH after one that succeeded.
            Identity::Authenticated => return self.reply_error(TWICE),
            Identity::Unknown | Identity::Greeted { esmtp: false } => {
                return self.reply_error(super::verbs::HELLO_FIRST);
            }
        }
        let at = argument.iter().position(|b| *b == b' ').unwrap_or(argument.len());
        let (name, rest) = argument.split_at_checked(at).unwrap_or((argument, b""));
        let Some(mechanism) = Mechanism::from_name(name).filter(|mechanism| self.mechanisms.has(*mechanism)) else {
            return self.reply_error(NO_MECHANISM);
        };
        if mechanism.needs_tls() && !self.tls_active {
            return self.reply_error(ENCRYPT);
        }
        let initial = match rest.strip_prefix(b" ") {
            None => None,
            Some(_) if !mechanism.client_first() => return self.reply_error(NO_INITIAL),
            // RFC 4954 §4: an initial response of no octets.
            Some(b"=") => Some(Vec::new()),
            Some(text) => match BASE64_STANDARD.decode(text) {
                Ok(bytes) => Some(bytes),
                Err(_) => return self.reply_error(NOT_BASE64),
            },
        };
        self.ask(Question::Auth, OdmrEvent::Auth { mechanism, initial });
    }

    pub(super) fn response(&mut self, line: &[u8]) {
        let decoded = if line == b"*" { Err(CANCELLED) } else { BASE64_STANDARD.decode(line).map_err(|_| NOT_BASE64) };
        match decoded {
            Ok(bytes) => self.ask(Question::Auth, OdmrEvent::Response(bytes)),
            Err(reply) => {
                self.events.push_back(OdmrEvent::AuthAborted);
                self.auth_failed(reply);
            }
        }
    }

    fn auth_failed(&mut self, reply: Reply) {
        self.mode = Mode::Commands;
        self.auth_failures += 1;
        if reply.code == 421 {
            return self.end_with(reply);
        }
        self.reply(reply);
        if self.auth_failures >= self.config.max_auth_failures {
            self.end_with(TOO_MANY_FAILURES);
        }
    }
}

const AUTHENTICATED: Reply = Reply::fixed(235, (2, 7, 0), "Authenticated");
const TWICE: Reply = Reply::fixed(503, (5, 5, 1), "Already authenticated");
const NO_MECHANISM: Reply = Reply::fixed(504, (5, 5, 4), "This mechanism is not offered");
const ENCRYPT: Reply = Reply::fixed(538, (5, 7, 11), "This mechanism needs TLS: send STARTTLS first");
const NO_INITIAL: Reply = Reply::fixed(501, (5, 7, 0), "The server speaks first in this mechanism");
const NOT_BASE64: Reply = Reply::fixed(501, (5, 5, 2), "This is not base64");
const CANCELLED: Reply = Reply::fixed(501, (5, 7, 0), "Authentication cancelled");
const TOO_MANY_FAILURES: Reply = Reply::fixed(421, (4, 7, 0), "Too many failed logins");
