//! Takes lines out of what a client has sent. Only CRLF ends one, and none is longer than its limit.

use bytes::{Buf, BytesMut};

pub(crate) enum Line {
    /// Without its CRLF.
    Complete(BytesMut),
    Incomplete,
    /// No end within the limit: what follows is its rest.
    TooLong,
}

/// The next line, if it ends within `max` octets.
pub(crate) fn take(input: &mut BytesMut, max: usize) -> Line {
    let window = input.get(..max).unwrap_or(input);
    match memchr::memmem::find(window, b"\r\n") {
        Some(end) => {
            let line = input.split_to(end);
            input.advance(2);
            Line::Complete(line)
        }
        None if window.len() < max => Line::Incomplete,
        None => Line::TooLong,
    }
}

/// Drops the rest of a line that was too long; true once its end was there.
pub(crate) fn skip(input: &mut BytesMut) -> bool {
    match memchr::memmem::find(input, b"\r\n") {
        Some(end) => {
            input.advance(end + 2);
            true
        }
        None => {
            let keep = usize::from(input.last() == Some(&b'\r'));
            input.advance(input.len() - keep);
            false
        }
    }
}

/// RFC 5321 §4.1.1: white space before the line end is tolerated. A CR or LF is no white space.
pub(crate) fn without_blanks(line: &[u8]) -> &[u8] {
    let blanks = line.iter().rev().take_while(|b| matches!(b, b' ' | b'\t')).count();
    line.get(..line.len() - blanks).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_crlf_within_its_limit_and_nowhere_else() {
        let mut input = BytesMut::from(&b"NOOP \r\r\nA\nB"[..]);
        assert!(matches!(take(&mut input, 20), Line::Complete(line) if without_blanks(&line) == b"NOOP \r"));
        assert!(matches!(take(&mut input, 20), Line::Incomplete));
        assert!(matches!(take(&mut input, 3), Line::TooLong));
        input.extend_from_slice(b"\r");
        assert!(!skip(&mut input));
        input.extend_from_slice(b"\nQUIT\r\n");
        assert!(skip(&mut input));
        assert!(matches!(take(&mut input, 20), Line::Complete(line) if &line[..] == b"QUIT"));
    }
}
