//! xtext, the encoding of ENVID and ORCPT (RFC 3461 §4).
//!
//! Decides whether a value is well-formed and harmless; it never decodes.

/// What it decodes to ends up in the fields of a DSN, so that must be printable too.
pub(crate) fn is_xtext(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_ok = match byte {
            b'+' => decoded(bytes.next(), bytes.next()).is_some_and(|b| matches!(b, 32..=126)),
            b'=' => false,
            byte => matches!(byte, 33..=126),
        };
        if !is_ok {
            return false;
        }
    }
    true
}

/// Two upper-case hexadecimal digits.
fn decoded(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    Some(digit(high?)? * 16 + digit(low?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xtext_hides_must_be_printable() {
        for good in ["", "QQ314159", "a+2Bb+3D", "+20"] {
            assert!(is_xtext(good), "{good}");
        }
        for bad in ["a+0D+0A", "+00", "+7F", "+FF", "+", "+2", "+2b", "a=b", "a b", "\u{7f}", "é"] {
            assert!(!is_xtext(bad), "{bad}");
        }
    }
}
