//! The `<path>` of MAIL and RCPT, and what else stands in a command line.
//!
//! Decides where a path ends and which mailbox it names. Whether that mailbox exists is not asked
//! here.

use mail::{Domain, Mailbox, Reply, ReversePath};

/// RFC 5321 §4.5.3.1.3, brackets included.
const MAX_PATH: usize = 256;

/// The path of `FROM:<path> parameters` and the parameters. One space after the colon is let
/// through: many clients send it, and nothing can be read two ways.
pub(super) fn split_path<'a>(argument: &'a [u8], keyword: &[u8]) -> Result<(&'a [u8], &'a [u8]), Reply> {
    let rest = match argument.split_at_checked(keyword.len()) {
        Some((name, rest)) if name.eq_ignore_ascii_case(keyword) => rest,
        _ => return Err(PATH_SYNTAX),
    };
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let end = path_end(rest).ok_or(PATH_SYNTAX)?;
    let (path, parameters) = rest.split_at_checked(end).ok_or(PATH_SYNTAX)?;
    if path.len() > MAX_PATH {
        return Err(PATH_TOO_LONG);
    }
    let inner = path.strip_prefix(b"<").and_then(|p| p.strip_suffix(b">")).ok_or(PATH_SYNTAX)?;
    match parameters.first() {
        None | Some(b' ') => Ok((inner, parameters)),
        Some(_) => Err(PATH_SYNTAX),
    }
}

/// The length up to and including the closing bracket, which may also stand inside quotes.
fn path_end(bytes: &[u8]) -> Option<usize> {
    let mut quoted = false;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
    None
}

pub(super) fn reverse_path(path: &[u8], smtputf8: bool) -> Result<ReversePath, Reply> {
    if path.is_empty() {
        return Ok(ReversePath::Null);
    }
    mailbox(path, smtputf8, BAD_SENDER).map(ReversePath::Mailbox)
}

pub(super) fn forward_path(path: &[u8], smtputf8: bool, hostname: &Domain) -> Result<Mailbox, Reply> {
    // RFC 5321 §4.5.1: without a domain, postmaster is ours.
    if path.eq_ignore_ascii_case(b"postmaster") {
        let local_part = str::from_utf8(path).map_err(|_| BAD_RECIPIENT)?;
        return Mailbox::new(local_part, hostname).map_err(|_| BAD_RECIPIENT);
    }
    mailbox(path, smtputf8, BAD_RECIPIENT)
}

fn mailbox(path: &[u8], smtputf8: bool, wrong: Reply) -> Result<Mailbox, Reply> {
    if !path.is_ascii() && !smtputf8 {
        return Err(NEEDS_SMTPUTF8);
    }
    let Ok(path) = str::from_utf8(path) else { return Err(wrong) };
    match without_source_route(path).and_then(|address| address.parse().ok()) {
        Some(mailbox) => Ok(mailbox),
        None => Err(wrong),
    }
}

/// RFC 5321 §4.1.1.3 and appendix C: a source route is checked and dropped.
fn without_source_route(path: &str) -> Option<&str> {
    if !path.starts_with('@') {
        return Some(path);
    }
    // A literal IPv6 hop holds colons of its own.
    let mut in_literal = false;
    let colon = path.find(|c| {
        match c {
            '[' => in_literal = true,
            ']' => in_literal = false,
            _ => {}
        }
        c == ':' && !in_literal
    })?;
    let (route, address) = (path.get(..colon)?, path.get(colon + 1..)?);
    let is_hop = |hop: &str| hop.strip_prefix('@').is_some_and(|name| name.parse::<Domain>().is_ok());
    route.split(',').all(is_hop).then_some(address)
}

const PATH_SYNTAX: Reply = Reply::fixed(501, (5, 5, 2), "Syntax: MAIL FROM:<address> or RCPT TO:<address>");
const PATH_TOO_LONG: Reply = Reply::fixed(501, (5, 1, 3), "Path too long");
const BAD_SENDER: Reply = Reply::fixed(501, (5, 1, 7), "Bad sender address syntax");
const BAD_RECIPIENT: Reply = Reply::fixed(501, (5, 1, 3), "Bad recipient address syntax");
const NEEDS_SMTPUTF8: Reply = Reply::fixed(553, (5, 6, 7), "A non-ASCII address needs SMTPUTF8");

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient(argument: &str) -> Result<String, u16> {
        let hostname = "mx.example.net".parse().unwrap();
        let (path, _) = split_path(argument.as_bytes(), b"TO:").map_err(|r| r.code)?;
        forward_path(path, true, &hostname).map(String::from).map_err(|r| r.code)
    }

    #[test]
    fn a_path_names_one_mailbox() {
        for (argument, address) in [
            ("TO:<a@b.example>", "a@b.example"),
            ("to: <a@b.example> X=1", "a@b.example"),
            ("TO:<\"a>b\"@c.example>", "\"a>b\"@c.example"),
            ("TO:<\"a\\\">b\"@c.example>", "\"a\\\">b\"@c.example"),
            ("TO:<@x.example,@[IPv6:::1]:a@b.example>", "a@b.example"),
            ("TO:<a@[192.0.2.1]>", "a@[192.0.2.1]"),
            ("TO:<PostMaster>", "PostMaster@mx.example.net"),
            ("TO:<grün@bücher.example>", "grün@xn--bcher-kva.example"),
        ] {
            assert_eq!(recipient(argument).as_deref(), Ok(address), "{argument}");
        }
    }

    #[test]
    fn what_is_not_a_path_is_refused() {
        let long = format!("TO:<{}@b.example>", "a".repeat(250));
        for argument in [
            "",
            "TO:",
            "TO:a@b.example",
            "TO:<>",
            "TO:<a>",
            "TO:<a@b.example",
            "TO:<a@b.example>X=1",
            "TO:  <a@b.example>",
            "TO:<<a@b.example>>",
            "TO:x<a@b.example>",
            "TO:<a@b@c>",
            "TO:<@x.example a@b.example>",
            "TO:<@:a@b.example>",
            "TO <a@b.example>",
            "FROM:<a@b.example>",
            "TO:<a b@c.example>",
            "TO:<a@b.example\u{85}>",
            &long,
        ] {
            assert_eq!(recipient(argument), Err(501), "{argument}");
        }
    }
}
