//! What a report gives back of the original mail: its header section, or all of it where that was asked for.

use super::encoding::Form;
use base64::{Engine, engine::general_purpose::STANDARD};
use mail::Content;

/// The part as it is written, header and all.
pub struct Part {
    pub header: String,
    pub bytes: Vec<u8>,
}

/// Of the original, at most, in bytes.
const MAX_RETURNED: usize = 256 * 1024;
/// Of a header section that is too long: so many fields, none of them longer than this.
const KEPT: (usize, usize) = (100, 2000);

/// `whole`: RET=FULL, in a report of a failure (RFC 3461 §4.3).
pub fn returned(form: Form, content: &Content, whole: bool) -> Part {
    let header = content.header();
    // An 8-bit report might not reach a sender whose address says nothing of 8 bits.
    let passes = form == Form::Utf8 || !header.is_ascii() || !content.is_8bit();
    if whole && passes && content.len() <= MAX_RETURNED {
        let bytes = content.to_bytes().to_vec();
        return match header.is_ascii() {
            // RFC 2046 §5.2.1: no encoding, so an 8-bit body makes the report one.
            true => part("message/rfc822", "8bit", bytes),
            false => encoded(form, "message/global", bytes),
        };
    }
    let (fields, longest) = KEPT;
    let kept: Vec<u8> = match header.len() <= MAX_RETURNED {
        true => header.to_vec(),
        false => content.fields().take(fields).filter(|f| f.raw.len() < longest).flat_map(|f| f.raw).copied().collect(),
    };
    match (kept.is_ascii(), std::str::from_utf8(&kept)) {
        (true, _) => part("text/rfc822-headers", "7bit", kept),
        (false, Ok(_)) => encoded(form, "message/global-headers", kept),
        // 8-bit bytes in no known charset: nothing that may stand in a header section.
        (false, Err(_)) => encoded(Form::Ascii, "text/rfc822-headers", kept),
    }
}

/// As it is where 8 bits pass, else in base64, which RFC 6532 §3.7 and RFC 6533 §5 allow.
fn encoded(form: Form, kind: &str, bytes: Vec<u8>) -> Part {
    match form {
        Form::Utf8 => part(kind, "8bit", bytes),
        Form::Ascii => part(kind, "base64", base64_lines(&bytes)),
    }
}

fn part(kind: &str, encoding: &str, bytes: Vec<u8>) -> Part {
    let encoding = if encoding == "8bit" && bytes.is_ascii() { "7bit" } else { encoding };
    Part { header: format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"), bytes }
}

fn base64_lines(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() * 3 / 2);
    // 57 bytes make a line of 76 characters.
    for piece in bytes.chunks(57) {
        out.extend_from_slice(STANDARD.encode(piece).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out
}
