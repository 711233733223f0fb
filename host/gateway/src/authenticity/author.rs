//! Decides whose mail it says it is: the domain of the one From field (RFC 5322 §3.6.2), or why there is none.
//!
//! Strict where readers differ: what one program could take for another address than the next does is malformed, and
//! DMARC says permerror of it, never pass.

use mail::{Content, Domain, Mailbox};

/// A longer field is nobody's address.
const MAX_FIELD: usize = 16 * 1024;
const MAX_MAILBOXES: usize = 100;
/// Comments in comments.
const MAX_DEPTH: u32 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAuthor {
    #[error("no From field")]
    Missing,
    #[error("several From fields")]
    Several,
    #[error("malformed From field")]
    Malformed,
    #[error("authors of several domains")]
    Domains,
    /// What follows the first fault is content to some readers, and fields to others.
    #[error("malformed header section")]
    Header,
}

/// The domain that all authors share.
pub fn domain(content: &Content) -> Result<Domain, NoAuthor> {
    if !is_whole(content) {
        return Err(NoAuthor::Header);
    }
    let mut fields = content.fields().filter(|field| field.is("From"));
    let Some(field) = fields.next() else { return Err(NoAuthor::Missing) };
    if fields.next().is_some() {
        return Err(NoAuthor::Several);
    }
    let mut domains = mailboxes(field.value).ok_or(NoAuthor::Malformed)?.into_iter().map(|author| author.domain());
    let first = domains.next().filter(|domain| !domain.is_address_literal()).ok_or(NoAuthor::Malformed)?;
    if domains.all(|other| other == first) { Ok(first) } else { Err(NoAuthor::Domains) }
}

/// The header section ends where it should: at an empty line, or with the mail.
pub fn is_whole(content: &Content) -> bool {
    content.body().is_empty() || content.body().starts_with(b"\r\n")
}

/// RFC 5322 §3.4's mailbox-list, without what is obsolete; None for everything else, groups included.
fn mailboxes(value: &[u8]) -> Option<Vec<Mailbox>> {
    if value.len() > MAX_FIELD {
        return None;
    }
    let tokens = tokens(std::str::from_utf8(value).ok()?)?;
    let parts: Vec<&[Token]> = tokens.split(|token| token.kind == Kind::Special(',')).collect();
    if parts.len() > MAX_MAILBOXES {
        return None;
    }
    parts.into_iter().map(mailbox).collect()
}

fn mailbox(tokens: &[Token]) -> Option<Mailbox> {
    let Some(open) = tokens.iter().position(|token| token.kind == Kind::Special('<')) else { return address(tokens) };
    let (phrase, rest) = tokens.split_at_checked(open)?;
    // An at sign in a name that is shown is there to deceive.
    let is_word = |token: &Token| matches!(token.kind, Kind::Atom | Kind::Quoted | Kind::Special('.'));
    let [_, inner @ .., close] = rest else { return None };
    if close.kind != Kind::Special('>') || !phrase.iter().all(is_word) {
        return None;
    }
    address(inner)
}

/// `local-part@domain`; white space is allowed around the two, never inside.
fn address(tokens: &[Token]) -> Option<Mailbox> {
    let at = tokens.iter().position(|token| token.kind == Kind::Special('@'))?;
    let (local, domain) = (tokens.get(..at)?, tokens.get(at + 1..)?);
    let local = match local {
        [Token { kind: Kind::Quoted, text, .. }] => text.clone(),
        dotted => joined(dotted)?,
    };
    let domain = match domain {
        [Token { kind: Kind::Literal, text, .. }] => text.clone(),
        dotted => joined(dotted)?,
    };
    format!("{local}@{domain}").parse().ok()
}

/// Atoms with dots between them.
fn joined(tokens: &[Token]) -> Option<String> {
    let fits = |(at, token): (usize, &Token)| match at % 2 {
        0 => token.kind == Kind::Atom,
        _ => token.kind == Kind::Special('.'),
    };
    let apart = tokens.iter().skip(1).any(|token| token.spaced);
    if apart || tokens.len().is_multiple_of(2) || !tokens.iter().enumerate().all(fits) {
        return None;
    }
    Some(tokens.iter().map(|token| token.text.as_str()).collect())
}

#[derive(Debug)]
struct Token {
    kind: Kind,
    text: String,
    /// White space or a comment stands before it.
    spaced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Atom,
    Quoted,
    /// In square brackets.
    Literal,
    Special(char),
}

/// Comments and white space are left out. None for what is not closed, and for control characters.
fn tokens(value: &str) -> Option<Vec<Token>> {
    let (mut found, mut spaced) = (Vec::new(), false);
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        let mut text = c.to_string();
        let kind = match c {
            ' ' | '\t' | '\r' | '\n' => {
                spaced = true;
                continue;
            }
            '(' => {
                comment(&mut chars)?;
                spaced = true;
                continue;
            }
            '"' => {
                enclosed(&mut chars, &mut text, '"')?;
                Kind::Quoted
            }
            '[' => {
                enclosed(&mut chars, &mut text, ']')?;
                Kind::Literal
            }
            '<' | '>' | ',' | ':' | ';' | '@' | '.' => Kind::Special(c),
            c if is_atext(c) => {
                while let Some(next) = chars.next_if(|c| is_atext(*c)) {
                    text.push(next);
                }
                Kind::Atom
            }
            _ => return None,
        };
        found.push(Token { kind, text, spaced });
        spaced = false;
    }
    Some(found)
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
}

/// Up to the closing parenthesis of the one that was opened.
fn comment(chars: &mut impl Iterator<Item = char>) -> Option<()> {
    let mut depth = 1;
    loop {
        match chars.next()? {
            '\\' => drop(chars.next().filter(|c| !is_forbidden(*c))?),
            '(' if depth == MAX_DEPTH => return None,
            '(' => depth += 1,
            ')' if depth == 1 => return Some(()),
            ')' => depth -= 1,
            c if is_forbidden(c) => return None,
            _ => {}
        }
    }
}

/// A quoted string or an address literal, with what closes it.
fn enclosed(chars: &mut impl Iterator<Item = char>, text: &mut String, end: char) -> Option<()> {
    loop {
        let c = chars.next()?;
        match c {
            // Folding is no part of what is folded.
            '\r' | '\n' => continue,
            c if is_forbidden(c) || c == '[' && end == ']' => return None,
            c => text.push(c),
        }
        if c == end {
            return Some(());
        }
        if c == '\\' {
            text.push(chars.next().filter(|c| !is_forbidden(*c))?);
        }
    }
}

fn is_forbidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Result<String, NoAuthor> {
        let content = Content::new(format!("{header}\r\n\r\nFrom: body@example.net\r\n").into_bytes().into());
        domain(&content).map(String::from)
    }

    #[test]
    fn folds_comments_and_white_space_do_not_change_the_author() {
        for header in [
            "From: ann@example.org",
            "from : ann@example.org",
            "FROM:ann@EXAMPLE.org",
            "From: Ann <ann@example.org>",
            "From: \"bob@bank.example\" <ann@example.org>",
            "From: Ann\r\n <ann@example.org>",
            "From:\r\n ann@example.org",
            "From: Ann (of bob@bank.example (really)) <ann@example.org>",
            "From: ann@example.org (bob@bank.example)",
            "From: ann (x) @ (y) example.org",
            "From: J. Doe <ann@example.org>, \"Doe, Bob\" <bob@example.org>",
            "From: =?utf-8?q?bob=40bank.example?= <ann@example.org>",
            "From: \"a b\"@example.org",
            "Subject: x\r\nFrom: ann@example.org\r\nX-From: bob@bank.example",
        ] {
            assert_eq!(of(header).as_deref(), Ok("example.org"), "{header}");
        }
    }

    #[test]
    fn several_from_fields_have_no_author() {
        assert_eq!(of("From: ann@example.org\r\nFrom: ann@example.org"), Err(NoAuthor::Several));
        assert_eq!(of("From: ann@example.org\r\nSubject: x\r\nfrom : bob@bank.example"), Err(NoAuthor::Several));
        assert_eq!(of("Subject: x"), Err(NoAuthor::Missing));
        assert_eq!(of("From: ann@example.org, bob@bank.example"), Err(NoAuthor::Domains));
    }

    #[test]
    fn what_readers_could_take_for_another_address_is_malformed() {
        for header in [
            "From:",
            "From: ann",
            "From: bob@bank.example <ann@example.org>",
            "From: <bob@bank.example> <ann@example.org>",
            "From: <bob@bank.example>, ",
            "From: Ann <ann@example.org> bob@bank.example",
            "From: ann@example.org bob@bank.example",
            "From: ann@exa mple.org",
            "From: ann@example .org",
            "From: ann@example.org@bank.example",
            "From: <@bank.example:ann@example.org>",
            "From: friends: ann@example.org;",
            "From: ann@[192.0.2.1]",
            "From: \"ann@example.org",
            "From: (ann@example.org",
            "From: ann@example.org\u{0}",
            "From: ann@example.org\u{8}",
            "From: ann@.org",
            "From: ann@example..org",
            "From: ann <bob@bank.example",
        ] {
            assert_eq!(of(header), Err(NoAuthor::Malformed), "{header}");
        }
        let nested = format!("From: {}x{} ann@example.org", "(".repeat(100), ")".repeat(100));
        assert_eq!(of(&nested), Err(NoAuthor::Malformed));
        assert_eq!(of(&format!("From: {}ann@example.org", " ".repeat(MAX_FIELD))), Err(NoAuthor::Malformed));
    }

    #[test]
    fn whatever_a_field_says_there_is_one_domain_or_a_reason() {
        let parts =
            ["ann", "@", "example.org", "<", ">", ",", "\"", "(", ")", "\\", " ", "\r\n ", ":", ";", "[", "]", "."];
        let mut random = fastrand::Rng::with_seed(5322);
        for _ in 0..20_000 {
            let value: String = (0..random.usize(..16)).map(|_| parts[random.usize(..parts.len())]).collect();
            if let Ok(domain) = of(&format!("From: {value}")) {
                assert!(!domain.contains(['@', '<', '>', ' ', '"']), "{value:?} {domain}");
            }
        }
    }

    #[test]
    fn a_header_section_with_a_fault_has_no_author() {
        for mail in
            ["From: ann@example.org\r\nno field\r\nFrom: x@y.example\r\n\r\n", "x\r\nFrom: ann@example.org\r\n\r\n"]
        {
            assert_eq!(domain(&Content::new(mail.into())), Err(NoAuthor::Header), "{mail}");
        }
        assert!(is_whole(&Content::new("From: ann@example.org\r\n".into())));
    }
}
