//! The commands of an on-demand session, one row each, and those of SMTP that are not for this port.

use super::{Identity, Mode, Odmr, OdmrEvent, Question};
use crate::TlsOffer;
use mail::{Domain, Reply};

struct Verb {
    name: &'static [u8],
    /// Allowed in clear text where TLS is required (RFC 3207 §4).
    in_clear: bool,
    argument: Argument,
    act: fn(&mut Odmr, &[u8]),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Argument {
    None,
    Optional,
    Required,
}

const fn verb(name: &'static str, in_clear: bool, argument: Argument, act: fn(&mut Odmr, &[u8])) -> Verb {
    Verb { name: name.as_bytes(), in_clear, argument, act }
}

#[rustfmt::skip]
const VERBS: [Verb; 9] = [
    verb("EHLO",     true,  Argument::Required, |odmr, name| odmr.hello(name, true)),
    verb("HELO",     true,  Argument::Required, |odmr, name| odmr.hello(name, false)),
    verb("AUTH",     false, Argument::Required, Odmr::auth),
    verb("ATRN",     false, Argument::Optional, Odmr::turn),
    verb("STARTTLS", true,  Argument::None,     |odmr, _| odmr.starttls()),
    verb("NOOP",     true,  Argument::Optional, |odmr, _| odmr.reply_idle(OK)),
    verb("RSET",     true,  Argument::None,     |odmr, _| odmr.reply_idle(OK)),
    verb("HELP",     true,  Argument::Optional, |odmr, _| odmr.reply_idle(HELP)),
    verb("QUIT",     true,  Argument::None,     |odmr, _| odmr.end_with(BYE)),
];

/// Known elsewhere. TURN (RFC 5321 §F.1) would give mail to whoever says a name.
const NOT_HERE: [&[u8]; 11] =
    [b"MAIL", b"RCPT", b"DATA", b"BDAT", b"VRFY", b"EXPN", b"ETRN", b"TURN", b"SEND", b"SOML", b"SAML"];

/// In one ATRN.
const MAX_DOMAINS: usize = 1000;

impl Odmr {
    /// One command line without its line end and trailing blanks.
    pub(super) fn execute(&mut self, line: &[u8]) {
        if line.iter().any(u8::is_ascii_control) {
            return self.reply_error(CONTROL);
        }
        let at = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
        let (name, rest) = line.split_at_checked(at).unwrap_or((line, b""));
        let argument = rest.trim_ascii_start();
        let Some(verb) = VERBS.iter().find(|verb| name.eq_ignore_ascii_case(verb.name)) else {
            let known = NOT_HERE.iter().any(|verb| name.eq_ignore_ascii_case(verb));
            return self.reply_error(if known { NOT_IMPLEMENTED } else { UNKNOWN });
        };
        if self.config.tls == TlsOffer::Required && !self.tls_active && !verb.in_clear {
            return self.reply_error(TLS_FIRST);
        }
        match (verb.argument, argument.is_empty()) {
            (Argument::None, false) | (Argument::Required, true) => self.reply_error(ARGUMENT),
            _ => (verb.act)(self, argument),
        }
    }

    fn hello(&mut self, name: &[u8], esmtp: bool) {
        if name.len() > 255 || !name.iter().all(u8::is_ascii_graphic) {
            return self.reply_error(HELLO_NAME);
        }
        // RFC 4954 §4: who is authenticated stays so.
        if self.identity != Identity::Authenticated {
            self.identity = Identity::Greeted { esmtp };
        }
        let mut text = self.config.hostname.to_string();
        if esmtp {
            text.push_str("\nATRN\nENHANCEDSTATUSCODES");
            let offered = self.offered();
            if (self.tls_active || self.config.tls != TlsOffer::Required) && !offered.is_empty() {
                text.push_str("\nAUTH ");
                text.push_str(&offered.join(" "));
            }
            if self.config.tls != TlsOffer::None && !self.tls_active {
                text.push_str("\nSTARTTLS");
            }
        }
        // RFC 2034 §4: no enhanced code in this reply.
        self.reply_idle(Reply { code: 250, enhanced: None, text: text.into() });
    }

    /// RFC 2645 §5.2.1.
    fn turn(&mut self, argument: &[u8]) {
        match self.identity {
            Identity::Unknown => return self.reply_error(HELLO_FIRST),
            Identity::Greeted { .. } => return self.reply_error(AUTH_FIRST),
            Identity::Authenticated => {}
        }
        match domains(argument) {
            Some(domains) => self.ask(Question::Turn, OdmrEvent::Turn(domains)),
            None => self.reply_error(ATRN_SYNTAX),
        }
    }

    fn starttls(&mut self) {
        if self.tls_active {
            return self.reply_error(TLS_ACTIVE);
        }
        if self.config.tls == TlsOffer::None {
            return self.reply_error(NOT_IMPLEMENTED);
        }
        if self.identity == Identity::Unknown {
            return self.reply_error(HELLO_FIRST);
        }
        if !self.input.is_empty() {
            return self.end_with(super::OUT_OF_TURN_TLS);
        }
        self.reply(READY_FOR_TLS);
        self.mode = Mode::Handshake;
        self.events.push_back(OdmrEvent::StartTls);
    }
}

/// `domain[,domain…]`, each once. RFC 2645's grammar has no blanks; clients that send some mean no harm.
fn domains(argument: &[u8]) -> Option<Vec<Domain>> {
    let text = str::from_utf8(argument).ok()?;
    let mut domains: Vec<Domain> = Vec::new();
    if text.is_empty() {
        return Some(domains);
    }
    for name in text.split(',').map(str::trim_ascii) {
        let domain: Domain = name.parse().ok()?;
        if domain.is_address_literal() || domains.len() == MAX_DOMAINS {
            return None;
        }
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    Some(domains)
}

const OK: Reply = Reply::fixed(250, (2, 0, 0), "OK");
const BYE: Reply = Reply::fixed(221, (2, 0, 0), "Bye");
const READY_FOR_TLS: Reply = Reply::fixed(220, (2, 0, 0), "Ready to start TLS");
const HELP: Reply = Reply::fixed(214, (2, 0, 0), "EHLO STARTTLS AUTH ATRN NOOP RSET HELP QUIT; see RFC 2645");
const UNKNOWN: Reply = Reply::fixed(500, (5, 5, 1), "Unknown command");
const CONTROL: Reply = Reply::fixed(500, (5, 5, 2), "A command must not hold control characters");
const ARGUMENT: Reply = Reply::fixed(501, (5, 5, 4), "This command takes an argument, or takes none");
const HELLO_NAME: Reply = Reply::fixed(501, (5, 5, 2), "One name of printable ASCII characters is expected");
const ATRN_SYNTAX: Reply = Reply::fixed(501, (5, 5, 4), "Syntax: ATRN [domain[,domain...]]");
const NOT_IMPLEMENTED: Reply = Reply::fixed(502, (5, 5, 1), "Not on this port: mail is collected here by ATRN");
pub(super) const HELLO_FIRST: Reply = Reply::fixed(503, (5, 5, 1), "Send EHLO first");
const TLS_ACTIVE: Reply = Reply::fixed(503, (5, 5, 1), "TLS is active");
const TLS_FIRST: Reply = Reply::fixed(530, (5, 7, 0), "Send STARTTLS first");
const AUTH_FIRST: Reply = Reply::fixed(530, (5, 7, 0), "Authentication required");
