//! xtext, the encoding of ENVID and ORCPT (RFC 3461 §4).
//!
//! Decides whether a value is well-formed and harmless, and what it stands for.

/// What it decodes to ends up in the fields of a DSN, so that must be printable too.
pub(crate) fn is_xtext(text: &str) -> bool {
    decode(text).is_some()
}

/// None where it is not well-formed, or hides what is not printable ASCII.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'+' => decoded(bytes.next(), bytes.next()).filter(|b| matches!(b, 32..=126)),
            b'=' => None,
            byte => Some(byte).filter(|b| matches!(b, 33..=126)),
        };
        out.push(char::from(decoded?));
    }
    Some(out)
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

    #[test]
    fn what_is_encoded_comes_back() {
        assert_eq!(decode("a+2Bb+3Dc+20d").as_deref(), Some("a+b=c d"));
        assert_eq!(decode("[UNAVAILABLE]").as_deref(), Some("[UNAVAILABLE]"));
    }
}
