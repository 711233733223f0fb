//! What a server says to a client: a code, an enhanced code (RFC 3463) and text.

use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, str::FromStr};

/// `5.7.1`: class, subject and detail (RFC 3463 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EnhancedCode {
    pub class: u8,
    pub subject: u16,
    pub detail: u16,
}

/// A reply as sent or received. `text` may hold several lines, separated by `\n`; it never holds
/// CR, NUL or another control character but tab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub code: u16,
    pub enhanced: Option<EnhancedCode>,
    pub text: Cow<'static, str>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    #[error("{0} is not a reply code; expected 200 to 559")]
    Code(u16),
    #[error("{0:?} is not an enhanced code; expected for instance 5.7.1")]
    Enhanced(String),
    #[error("enhanced code {1} does not fit reply code {0}: the first digits differ")]
    Mismatch(u16, EnhancedCode),
    #[error("the text of a reply must not hold control characters")]
    Control,
    #[error("the text of a reply is limited to {MAX_TEXT} bytes")]
    TooLong,
}

const MAX_TEXT: usize = 2000;

impl EnhancedCode {
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }
}

impl Reply {
    /// For replies whose parts are known when this is compiled.
    pub const fn fixed(code: u16, (class, subject, detail): (u8, u16, u16), text: &'static str) -> Self {
        Self { code, enhanced: Some(EnhancedCode::new(class, subject, detail)), text: Cow::Borrowed(text) }
    }

    /// For replies with text made by us; control characters become spaces.
    pub fn new(code: u16, (class, subject, detail): (u8, u16, u16), text: impl Into<String>) -> Self {
        let text: String = text.into().chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
        Self { code, enhanced: Some(EnhancedCode::new(class, subject, detail)), text: Cow::Owned(text) }
    }

    /// A reply that somebody else made up, checked: code 200–559, an enhanced code of the same
    /// class, printable text of one line and at most 2,000 bytes.
    pub fn checked(code: u16, enhanced: Option<&str>, text: &str) -> Result<Self, ReplyError> {
        if !(200..=559).contains(&code) {
            return Err(ReplyError::Code(code));
        }
        let enhanced = enhanced.map(str::parse::<EnhancedCode>).transpose()?;
        if let Some(enhanced) = enhanced
            && u16::from(enhanced.class) != code / 100
        {
            return Err(ReplyError::Mismatch(code, enhanced));
        }
        if text.len() > MAX_TEXT {
            return Err(ReplyError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(ReplyError::Control);
        }
        Ok(Self { code, enhanced, text: Cow::Owned(text.to_owned()) })
    }

    /// 2yz.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }
    /// 3yz.
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }
    /// 4yz.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }
    /// 5yz.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Appends the reply as it goes over the wire, CRLF included (RFC 5321 §4.2.1; RFC 2034 §4
    /// puts the enhanced code on every line of a 2yz, 4yz or 5yz).
    pub fn write_to(&self, out: &mut impl bytes::BufMut) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let separator = if lines.peek().is_some() { '-' } else { ' ' };
            out.put_slice(self.code.to_string().as_bytes());
            out.put_u8(separator as u8);
            if let Some(enhanced) = self.enhanced.filter(|_| !self.is_intermediate()) {
                out.put_slice(enhanced.to_string().as_bytes());
                out.put_u8(b' ');
            }
            out.put_slice(line.as_bytes());
            out.put_slice(b"\r\n");
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        write!(f, " {}", self.text.replace('\n', " / "))
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl FromStr for EnhancedCode {
    type Err = ReplyError;
    fn from_str(text: &str) -> Result<Self, ReplyError> {
        let wrong = || ReplyError::Enhanced(text.chars().take(40).collect());
        let mut numbers = text.split('.').map(|part| {
            let digits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            if digits { part.parse::<u16>().map_err(|_| wrong()) } else { Err(wrong()) }
        });
        let mut next = || numbers.next().unwrap_or_else(|| Err(wrong()));
        let (class, subject, detail) = (next()?, next()?, next()?);
        if !matches!(class, 2 | 4 | 5) || numbers.next().is_some() {
            return Err(wrong());
        }
        Ok(Self { class: class as u8, subject, detail })
    }
}

impl From<EnhancedCode> for String {
    fn from(code: EnhancedCode) -> Self {
        code.to_string()
    }
}

impl TryFrom<String> for EnhancedCode {
    type Error = ReplyError;
    fn try_from(text: String) -> Result<Self, ReplyError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_reply_carries_both_codes() {
        let mut out = Vec::new();
        Reply::new(550, (5, 7, 1), "one\ntwo").write_to(&mut out);
        assert_eq!(out, b"550-5.7.1 one\r\n550 5.7.1 two\r\n");
    }

    #[test]
    fn foreign_replies_are_checked() {
        assert!(Reply::checked(550, Some("5.7.1"), "no").is_ok());
        assert!(matches!(Reply::checked(550, Some("4.7.1"), "no"), Err(ReplyError::Mismatch(..))));
        assert!(matches!(Reply::checked(650, None, "no"), Err(ReplyError::Code(650))));
        assert!(matches!(Reply::checked(250, None, "a\r\n250 b"), Err(ReplyError::Control)));
        assert!(matches!(Reply::checked(550, Some("5.7"), "no"), Err(ReplyError::Enhanced(_))));
        assert!(matches!(Reply::checked(550, Some("5.7.1.1"), "no"), Err(ReplyError::Enhanced(_))));
    }
}
