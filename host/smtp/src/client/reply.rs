//! Reads replies (RFC 5321 §4.2) within bounds.
//!
//! A next hop's replies are hostile until parsed: what comes out holds no control characters, and
//! anything that is not a reply is an error that ends the session, never a guess.

use bytes::{Buf, BytesMut};
use mail::{EnhancedCode, Reply};

#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    code: Option<u16>,
    enhanced: Option<EnhancedCode>,
    text: String,
    lines: usize,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReplyFault {
    #[error("a line of a reply is longer than {MAX_LINE} octets")]
    LongLine,
    #[error("a reply is longer than {MAX_LINES} lines or {MAX_TEXT} octets")]
    TooMuch,
    #[error("a line of a reply ends with a bare LF")]
    BareLineFeed,
    #[error("the lines of a reply have different codes")]
    Codes,
    #[error("this is not a reply: {0:?}")]
    Garbage(String),
}

const MAX_LINE: usize = 2048;
const MAX_LINES: usize = 128;
const MAX_TEXT: usize = 64 * 1024;

impl ReplyReader {
    /// The next whole reply; its lines are separated by `\n`.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Reply>, ReplyFault> {
        loop {
            let window = input.get(..MAX_LINE).unwrap_or(input);
            let Some(end) = memchr::memchr(b'\n', window) else {
                return if window.len() < MAX_LINE { Ok(None) } else { Err(ReplyFault::LongLine) };
            };
            let mut line = input.split_to(end);
            input.advance(1);
            if line.last() != Some(&b'\r') {
                return Err(ReplyFault::BareLineFeed);
            }
            line.truncate(end - 1);
            if let Some(reply) = self.line(&line)? {
                return Ok(Some(reply));
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, ReplyFault> {
        let (code, is_last, text) = split(line).ok_or_else(|| {
            let excerpt = line.get(..80).unwrap_or(line);
            ReplyFault::Garbage(String::from_utf8_lossy(excerpt).into_owned())
        })?;
        if self.code.is_some_and(|first| first != code) {
            return Err(ReplyFault::Codes);
        }
        self.lines += 1;
        if self.lines > MAX_LINES || self.text.len() + text.len() > MAX_TEXT {
            return Err(ReplyFault::TooMuch);
        }
        let text = String::from_utf8_lossy(text);
        let (enhanced, text) = split_enhanced(code, &text);
        if self.code.is_some() {
            self.text.push('\n');
        }
        self.text.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
        self.code = Some(code);
        self.enhanced = self.enhanced.or(enhanced);
        if !is_last {
            return Ok(None);
        }
        let Self { enhanced, text, .. } = std::mem::take(self);
        Ok(Some(Reply { code, enhanced, text: text.into() }))
    }
}

/// Code, whether it is the last line, and text.
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let code = str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    if !(200..=559).contains(&code) {
        return None;
    }
    match rest.split_first() {
        None => Some((code, true, rest)),
        Some((b' ', text)) => Some((code, true, text)),
        Some((b'-', text)) => Some((code, false, text)),
        Some(_) => None,
    }
}

fn split_enhanced(code: u16, text: &str) -> (Option<EnhancedCode>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word.parse::<EnhancedCode>() {
        Ok(enhanced) if u16::from(enhanced.class) == code / 100 => (Some(enhanced), rest),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Reply>, ReplyFault> {
        ReplyReader::default().next(&mut BytesMut::from(bytes))
    }

    #[test]
    fn a_reply_is_code_enhanced_code_and_lines() {
        let reply = read(b"550-5.7.1 one\r\n550 5.7.1 two\x1b\xff\r\n").unwrap().unwrap();
        assert_eq!(reply, Reply::new(550, (5, 7, 1), "one\ntwo \u{fffd}"));
        assert_eq!(read(b"250\r\n").unwrap().unwrap().code, 250);
        assert_eq!(read(b"250 4.7.1 x\r\n").unwrap().unwrap().text, "4.7.1 x");
        assert_eq!(read(b"250-a\r\n250 b"), Ok(None));
    }

    #[test]
    fn garbage_and_excess_are_told_apart_from_replies() {
        for bytes in
            [&b"\r\n"[..], b"25\r\n", b"2500\r\n", b"199 x\r\n", b"600 x\r\n", b"HTTP/1.1 400\r\n", b"+50 x\r\n"]
        {
            assert!(matches!(read(bytes), Err(ReplyFault::Garbage(_))), "{bytes:?}");
        }
        assert_eq!(read(b"250 x\n"), Err(ReplyFault::BareLineFeed));
        assert_eq!(read(b"250-x\r\n251 x\r\n"), Err(ReplyFault::Codes));
        assert_eq!(read(&[b'2'; MAX_LINE]), Err(ReplyFault::LongLine));
        assert_eq!(read(&b"250-x\r\n".repeat(MAX_LINES + 1)), Err(ReplyFault::TooMuch));
    }
}
