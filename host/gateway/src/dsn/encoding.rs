//! How what others said becomes text of a report: nothing leaves its line, and nothing needs 8 bits where the
//! report must do without.

use mail::Mailbox;
use std::fmt::Write;

/// What a report may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It travels everywhere: a character over 127 is written as `\x{…}` (RFC 6533 §3).
    Ascii,
    /// The sender's own address is UTF-8 already (RFC 6533 §4).
    Utf8,
}

/// A line is folded behind this many characters.
const FOLD: usize = 76;
/// Of one value.
const MAX_VALUE: usize = 2000;
/// A word without a blank is cut to this, for RFC 5322 §2.1.1 allows a line of 998 octets.
const MAX_WORD: usize = 900;

impl Form {
    /// `Name: value`, folded, in lines of its own.
    pub fn field(self, out: &mut String, name: &str, value: &str) {
        out.push_str(name);
        out.push(':');
        let mut column = name.len() + 1;
        for (nth, word) in self.text(value).split(' ').filter(|word| !word.is_empty()).enumerate() {
            let word = word.get(..word.floor_char_boundary(MAX_WORD)).unwrap_or(word);
            // The first word stays beside the name: a line of blanks alone would end the fields for some.
            if nth > 0 && column + 1 + word.len() > FOLD {
                out.push_str("\r\n");
                column = 0;
            }
            out.push(' ');
            out.push_str(word);
            column += 1 + word.len();
        }
        out.push_str("\r\n");
    }

    /// One line of text, bounded.
    pub fn text(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars().take(MAX_VALUE) {
            match c {
                c if c.is_control() => out.push(' '),
                c if c.is_ascii() || self == Self::Utf8 => out.push(c),
                c => escape(&mut out, c),
            }
        }
        out
    }

    /// Type and address of Final-Recipient.
    pub fn address(self, address: &Mailbox) -> String {
        match (address.needs_smtputf8(), self) {
            (false, _) => format!("rfc822; {address}"),
            (true, Self::Utf8) => format!("utf-8; {address}"),
            (true, Self::Ascii) => format!("utf-8; {}", to_addr_xtext(address.as_str())),
        }
    }

    /// What ORCPT of RCPT says, as Original-Recipient.
    pub fn original_recipient(self, orcpt: &str) -> String {
        let decoded = from_xtext(orcpt);
        match decoded.split_once(';') {
            Some((kind, address)) if kind.eq_ignore_ascii_case("utf-8") && self == Self::Utf8 => {
                format!("{kind};{}", from_addr_xtext(address))
            }
            _ => decoded,
        }
    }
}

/// ORCPT for a recipient whose client gave none (RFC 3461 §5.2.1 (d); RFC 6533 §3).
pub fn original_recipient_param(address: &Mailbox) -> String {
    match address.needs_smtputf8() {
        true => format!("utf-8;{}", to_addr_xtext(address.as_str())),
        false => format!("rfc822;{}", to_xtext(address.as_str())),
    }
}

fn escape(out: &mut String, c: char) {
    let _ = write!(out, "\\x{{{:02X}}}", u32::from(c));
}

/// RFC 6533 §3, utf-8-addr-xtext.
fn to_addr_xtext(address: &str) -> String {
    let mut out = String::with_capacity(address.len() * 2);
    for c in address.chars() {
        match c {
            '+' | '=' | '\\' => escape(&mut out, c),
            '!'..='~' => out.push(c),
            c => escape(&mut out, c),
        }
    }
    out
}

/// What does not decode, or decodes to what an address cannot hold, stays as it is.
fn from_addr_xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x{") {
        out.push_str(before);
        let decoded = after.split_once('}').and_then(|(hex, after)| {
            let c = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)?;
            (!c.is_control()).then_some((c, after))
        });
        match decoded {
            Some((c, after)) => {
                out.push(c);
                rest = after;
            }
            None => {
                out.push_str("\\x{");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// RFC 3461 §4.
fn to_xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'+' | b'=' => {
                let _ = write!(out, "+{byte:02X}");
            }
            b'!'..=b'~' => out.push(byte.into()),
            byte => {
                let _ = write!(out, "+{byte:02X}");
            }
        }
    }
    out
}

/// RFC 3461 §4: `+41` is `A`. What does not decode stays as it is.
pub fn from_xtext(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (first, hex) {
            (b'+', Some(byte)) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_folded_and_comes_back_whole() {
        let mut out = String::new();
        let value = format!("smtp; 550 {}", "because of this and that ".repeat(10));
        Form::Ascii.field(&mut out, "Diagnostic-Code", &value);
        assert!(out.lines().count() > 3 && out.lines().all(|line| line.len() <= FOLD), "{out}");
        assert_eq!(out.replace("\r\n ", " ").trim_end(), format!("Diagnostic-Code: {}", value.trim_end()));
        let mut out = String::new();
        Form::Utf8.field(&mut out, "X", &format!("{} b", "é".repeat(1000)));
        assert!(out.lines().all(|line| line.len() < 998) && out.ends_with("\r\n b\r\n"));
    }

    #[test]
    fn nothing_breaks_out_of_its_line_or_needs_8_bits() {
        assert_eq!(Form::Ascii.text("a\r\nBcc: x\u{85}é書"), "a  Bcc: x \\x{E9}\\x{66F8}");
        assert_eq!(Form::Utf8.text("é\n書"), "é 書");
        let to: Mailbox = "用+x@example.org".parse().unwrap();
        assert_eq!(Form::Ascii.address(&to), "utf-8; \\x{7528}\\x{2B}x@example.org");
        assert_eq!(Form::Utf8.address(&to), "utf-8; 用+x@example.org");
    }

    #[test]
    fn an_original_recipient_goes_out_and_comes_back() {
        for (address, param) in
            [("a+b@c.example", "rfc822;a+2Bb@c.example"), ("用+@c.example", "utf-8;\\x{7528}\\x{2B}@c.example")]
        {
            let address: Mailbox = address.parse().unwrap();
            assert_eq!(original_recipient_param(&address), param);
            let kind = param.split(';').next().unwrap();
            assert_eq!(Form::Utf8.original_recipient(param), format!("{kind};{address}"));
        }
        assert_eq!(Form::Ascii.original_recipient("utf-8;\\x{7528}@c.example"), "utf-8;\\x{7528}@c.example");
        assert_eq!(Form::Utf8.original_recipient("utf-8;\\x{0D}\\x{zz}\\x{"), "utf-8;\\x{0D}\\x{zz}\\x{");
    }
}
