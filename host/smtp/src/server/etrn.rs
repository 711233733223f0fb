//! ETRN (RFC 1985): a host asks that mail waiting for it is sent now.
//!
//! Decides the syntax of what is asked for. Whether there is such a queue, and whether it may be started, is asked of the
//! driver.

use super::{Question, Server, ServerEvent};
use mail::{Domain, Reply};

/// What to start (RFC 1985 §5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A domain's queue.
    Domain(Domain),
    /// `@`: with those of the domains under it.
    Subdomains(Domain),
}

impl Server {
    pub(super) fn etrn(&mut self, argument: &[u8]) {
        if !self.config.etrn {
            return self.reply_error(NOT_IMPLEMENTED);
        }
        // RFC 1985 §5.1: an extension, and so only for who has asked for extensions.
        if !self.is_esmtp() {
            return self.reply_error(EHLO_FIRST);
        }
        match parse(argument) {
            Err(reply) => self.reply_error(reply),
            // It starts work and brings no mail by itself: a client has so many of them.
            Ok(_) if self.is_idling() => self.end_with(TOO_MANY),
            Ok(node) => self.ask(Question::Etrn, ServerEvent::Etrn(node)),
        }
    }
}

fn parse(argument: &[u8]) -> Result<Node, Reply> {
    let text = str::from_utf8(argument).map_err(|_| SYNTAX)?;
    let domain = |name: &str| {
        let parsed = name.parse::<Domain>().ok().filter(|domain| !domain.is_address_literal());
        parsed.ok_or(SYNTAX)
    };
    match text.split_at_checked(1) {
        Some(("@", name)) => domain(name).map(Node::Subdomains),
        // §5.3: a queue by a name of the server's own; there are none here.
        Some(("#", name)) if !name.is_empty() && !name.contains(' ') => Err(NO_SUCH_QUEUE),
        _ => domain(text).map(Node::Domain),
    }
}

const NOT_IMPLEMENTED: Reply = Reply::fixed(502, (5, 5, 1), "Command not implemented");
const EHLO_FIRST: Reply = Reply::fixed(503, (5, 5, 1), "Send EHLO first");
const SYNTAX: Reply = Reply::fixed(501, (5, 5, 4), "Syntax: ETRN example.org, or ETRN @example.org");
const NO_SUCH_QUEUE: Reply = Reply::fixed(458, (4, 3, 0), "There are no queues but those of domains");
const TOO_MANY: Reply = Reply::fixed(421, (4, 7, 0), "Too many commands without mail");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_a_domain_or_a_domain_and_those_under_it() {
        let domain: Domain = "example.org".parse().unwrap();
        assert_eq!(parse(b"Example.ORG"), Ok(Node::Domain(domain.clone())));
        assert_eq!(parse(b"@example.org"), Ok(Node::Subdomains(domain)));
        assert_eq!(parse(b"#uunet").unwrap_err().code, 458);
        for wrong in ["@", "#", "", "a b", "@@example.org", "[192.0.2.1]", "example.org extra", "# a"] {
            assert_eq!(parse(wrong.as_bytes()).unwrap_err().code, 501, "{wrong}");
        }
        assert_eq!(parse(&[0xff]).unwrap_err().code, 501);
    }
}
