//! How large a mail's header may be: what comes behind reads all of it, again and again.

use super::replies;
use mail::{Content, Reply};

/// In bytes. Real ones stay far below, with every signature and hop.
const MAX_HEADER: usize = 1 << 20;
const MAX_FIELDS: usize = 10_000;

/// S7: why a mail is not taken for its header.
pub fn refusal(content: &Content) -> Option<Reply> {
    if content.header().len() > MAX_HEADER {
        return Some(replies::LARGE_HEADER);
    }
    (content.fields().take(MAX_FIELDS + 1).count() > MAX_FIELDS).then_some(replies::MANY_FIELDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn code(header: String) -> Option<u16> {
        refusal(&Content::new(Bytes::from(header + "\r\nbody\r\n"))).map(|reply| reply.code)
    }

    #[test]
    fn a_header_has_its_bounds_in_bytes_and_in_fields() {
        assert_eq!(code("a:\r\n".repeat(MAX_FIELDS)), None);
        assert_eq!(code("a:\r\n".repeat(MAX_FIELDS + 1)), Some(554));
        assert_eq!(code(format!("a: {}\r\n", "x".repeat(MAX_HEADER - 5))), None);
        assert_eq!(code(format!("a: {}\r\n", "x".repeat(MAX_HEADER - 4))), Some(552));
        assert_eq!(code("a: x\r\n".repeat(1_000_000)), Some(552));
        assert_eq!(code("\r\n".to_owned() + &"a: x\r\n".repeat(1_000_000)), None, "of a body nothing is asked");
    }
}
