//! Domains and mailboxes (RFC 5321 §4.1.2, RFC 6531 §3.3), parsed once at the edge.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A domain name in its one canonical form: lower-case A-labels, no final dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Domain(Box<str>);

/// `local-part@domain`. The local part is kept byte for byte, quotes included; the domain is
/// canonical. A domain part may be an address literal, kept as `[192.0.2.1]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mailbox {
    text: Box<str>,
    at: usize,
}

/// Who a mail says it is from; `Null` is `<>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReversePath {
    #[default]
    Null,
    Mailbox(Mailbox),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("{0:?} is not a domain name: {1}")]
    Domain(String, &'static str),
    #[error("{0:?} is not a mailbox: {1}")]
    Mailbox(String, &'static str),
}

/// RFC 5321 §4.5.3.1.1 to .3, in octets.
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;

impl Domain {
    pub fn as_str(&self) -> &str {
        &self.0
    }
    pub fn is_address_literal(&self) -> bool {
        self.0.starts_with('[')
    }
}

impl FromStr for Domain {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |why| AddressError::Domain(excerpt(text), why);
        if text.starts_with('[') {
            return address_literal(text).map(Self).ok_or_else(|| wrong("not an address literal"));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if is_canonical(name) {
            return Ok(Self(name.into()));
        }
        let ascii = idna::domain_to_ascii(name).map_err(|_| wrong("not a valid (internationalised) name"))?;
        // RFC 5891 §4.2.3.1: hyphens neither begin nor end a label, in letters of any script.
        let (unicode, _) = idna::domain_to_unicode(&ascii);
        let is_hyphenated = unicode.split('.').any(|label| label.starts_with('-') || label.ends_with('-'));
        if is_canonical_punycode(&ascii) && !is_hyphenated {
            return Ok(Self(ascii.into()));
        }
        Err(wrong("labels are 1 to 63 letters, digits, hyphens and underscores, and don't begin or end with a hyphen"))
    }
}

/// The fast path: nearly every name is already in canonical form. Names with an A-label go
/// through IDNA, which checks what it decodes to.
fn is_canonical(name: &str) -> bool {
    is_canonical_punycode(name) && !name.split('.').any(|label| label.starts_with("xn--"))
}

fn is_canonical_punycode(name: &str) -> bool {
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    name.len() <= MAX_DOMAIN && name.split('.').all(label_ok)
}

/// `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3), in canonical spelling.
fn address_literal(text: &str) -> Option<Box<str>> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
            let address: std::net::Ipv6Addr = inner.get(5..)?.parse().ok()?;
            Some(format!("[IPv6:{address}]").into())
        }
        _ => Some(format!("[{}]", inner.parse::<std::net::Ipv4Addr>().ok()?).into()),
    }
}

impl Mailbox {
    pub fn as_str(&self) -> &str {
        &self.text
    }
    pub fn local_part(&self) -> &str {
        self.text.get(..self.at).unwrap_or_default()
    }
    pub fn domain_str(&self) -> &str {
        self.text.get(self.at + 1..).unwrap_or_default()
    }
    pub fn domain(&self) -> Domain {
        Domain(self.domain_str().into())
    }
    pub fn new(local_part: &str, domain: &Domain) -> Result<Self, AddressError> {
        check_local_part(local_part).map_err(|why| AddressError::Mailbox(excerpt(local_part), why))?;
        Ok(Self { text: format!("{local_part}@{}", domain.0).into(), at: local_part.len() })
    }
    /// True when it cannot be written without SMTPUTF8 (RFC 6531).
    /// Whether a person means it with `pattern`: an address or `@domain`, letter case ignored.
    pub fn fits(&self, pattern: &str) -> bool {
        match pattern.strip_prefix('@') {
            Some(domain) => domain.eq_ignore_ascii_case(self.domain_str()),
            None => pattern.eq_ignore_ascii_case(self.as_str()),
        }
    }
    pub fn needs_smtputf8(&self) -> bool {
        !self.text.is_ascii()
    }
}

impl FromStr for Mailbox {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |why| AddressError::Mailbox(excerpt(text), why);
        let at = text.rfind('@').ok_or_else(|| wrong("there is no @"))?;
        let (local_part, domain) = (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
        check_local_part(local_part).map_err(wrong)?;
        let domain: Domain = domain.parse().map_err(|_| wrong("what follows the @ is not a domain"))?;
        Ok(Self { text: format!("{local_part}@{}", domain.0).into(), at })
    }
}

/// Dot-string or quoted-string (RFC 5321 §4.1.2), with UTF-8 as in RFC 6531 §3.3.
fn check_local_part(local: &str) -> Result<(), &'static str> {
    if local.is_empty() {
        return Err("the local part is empty");
    }
    if local.len() > MAX_LOCAL {
        return Err("the local part is longer than 64 octets");
    }
    match local.strip_prefix('"') {
        Some(rest) => check_quoted(rest.strip_suffix('"').ok_or("the quote is not closed")?),
        None if local.split('.').any(str::is_empty) => Err("a dot begins, ends or doubles in the local part"),
        None if local.chars().all(is_atext) => {
            // A control character of C1 hides in two bytes of UTF-8.
            if local.chars().any(char::is_control) { Err("control characters are not allowed") } else { Ok(()) }
        }
        None => Err("the local part holds a character that needs quotes"),
    }
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c) || !c.is_ascii()
}

fn check_quoted(inner: &str) -> Result<(), &'static str> {
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let c = if c == '\\' {
            chars.next().ok_or("a backslash ends the quoted string")?
        } else if c == '"' {
            return Err("a quote inside quotes needs a backslash");
        } else {
            c
        };
        if c.is_control() {
            return Err("control characters are not allowed");
        }
    }
    Ok(())
}

impl ReversePath {
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }
    /// As [`Mailbox::fits`]; `<>` or nothing means the null reverse-path.
    pub fn fits(&self, pattern: &str) -> bool {
        match self {
            Self::Null => matches!(pattern, "" | "<>"),
            Self::Mailbox(mailbox) => mailbox.fits(pattern),
        }
    }
    /// The address without brackets; empty for the null reverse-path.
    pub fn as_str(&self) -> &str {
        self.mailbox().map_or("", Mailbox::as_str)
    }
}

impl FromStr for ReversePath {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() { Ok(Self::Null) } else { text.parse().map(Self::Mailbox) }
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

macro_rules! as_text {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.as_str().to_owned()
            }
        }
        impl TryFrom<String> for $name {
            type Error = AddressError;
            fn try_from(text: String) -> Result<Self, AddressError> {
                text.parse()
            }
        }
    };
}
as_text!(Domain);
as_text!(Mailbox);

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_one_form() {
        for (written, canonical) in [
            ("Example.ORG.", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("_dmarc.example", "_dmarc.example"),
            ("[192.0.2.1]", "[192.0.2.1]"),
            ("[ipv6:2001:DB8:0::1]", "[IPv6:2001:db8::1]"),
        ] {
            assert_eq!(written.parse::<Domain>().unwrap().as_str(), canonical);
        }
        let long = "a".repeat(64);
        for wrong in
            ["", ".", "a..b", "-a.example", "a b", "a\r\n.example", "[1.2.3]", "[]", &long, "xn--\u{0}.example"]
        {
            assert!(wrong.parse::<Domain>().is_err(), "{wrong:?}");
        }
    }

    /// S16: vectors of RFC 5892, RFC 5893 and UTS #46.
    #[test]
    fn an_internationalised_name_has_one_form_or_none() {
        for (written, canonical) in [
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("bu\u{308}cher.example", "xn--bcher-kva.example"),
            ("bücher。example", "xn--bcher-kva.example"),
            ("ｅｘａｍｐｌｅ.org", "example.org"),
            ("exa\u{ad}mple.org", "example.org"),
            ("faß.example", "xn--fa-hia.example"),
            ("βόλος.example", "xn--nxasmm1c.example"),
            ("نامه\u{200c}ای.example", "xn--mgba3gch31f060k.example"),
            // A letter of another script is another name.
            ("еxample.org", "xn--xample-2of.org"),
            ("exаmple.org", "xn--exmple-4nf.org"),
        ] {
            assert_eq!(written.parse::<Domain>().map(String::from).as_deref(), Ok(canonical), "{written}");
            assert_eq!(canonical.parse::<Domain>().map(String::from).as_deref(), Ok(canonical));
        }
        for wrong in [
            "xn--a.example",
            "xn--.example",
            "XN--BÜCHER.example",
            "\u{308}a.example",
            "a\u{202e}b.example",
            "a\u{200d}b.example",
            "אa.example",
            "١a.example",
            "-é.example",
            "é-.example",
            "é－.example",
            "example.org\u{2024}elsewhere.example",
            "a／b.example",
            "a＠b.example",
        ] {
            assert!(wrong.parse::<Domain>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_local_part_is_kept_byte_for_byte() {
        for address in [
            "Ann.Lee+x@example.org",
            "\"a b\\\"c\"@example.org",
            "grün@example.org",
            "a%b!c@example.org",
            "x@[192.0.2.1]",
        ] {
            assert_eq!(address.parse::<Mailbox>().unwrap().as_str(), address);
        }
        for wrong in [
            "",
            "a",
            "@b",
            "a@",
            ".a@b",
            "a..b@c",
            "a b@c",
            "\"a@b",
            "a@b@c@",
            "a\u{0}@b",
            "\"a\r\n\"@b",
            "a\u{85}b@c",
            "<a>@b",
        ] {
            assert!(wrong.parse::<Mailbox>().is_err(), "{wrong:?}");
        }
        let mailbox: Mailbox = "Ann@EXAMPLE.org".parse().unwrap();
        assert_eq!((mailbox.local_part(), mailbox.domain_str()), ("Ann", "example.org"));
    }
}
