//! The mail of a step: a file beside the scenario, or text in it, brought into the form that the gateway gives to plugins.

use super::step::Keys;
use bytes::Bytes;
use mail::Content;
use std::path::Path;

const EXAMPLE: &str = "\"spam.eml\"";
/// As large as a gateway takes by default.
const MOST: u64 = 50 << 20;

/// None where the step names none, or a mistake is noted.
pub(super) fn content(keys: &mut Keys<'_, '_>, file: &Path) -> Option<Content> {
    let (message, text) = (keys.get("message"), keys.get("mail"));
    let fill_to = keys.get("fill-to").and_then(|value| value.size(1..=MOST, "\"64 KiB\""));
    let bytes = match (message, text) {
        (Some(message), None) => {
            let path = file.parent().unwrap_or(Path::new("")).join(message.string(EXAMPLE)?);
            match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) => {
                    message.error(
                        format!("`{}`: {}: {error}", message.name, path.display()),
                        "a path is relative to the scenario's file",
                    );
                    return None;
                }
            }
        }
        (None, Some(text)) => text.string("\"\"\"Subject: hello\\n\\ntext\\n\"\"\"")?.as_bytes().to_vec(),
        (Some(message), Some(_)) => {
            message
                .key_error("`message` and `mail` are both given", "`message` names a file, `mail` is the mail itself");
            return None;
        }
        (None, None) => return None,
    };
    let mut bytes = with_crlf(&bytes);
    if let Some(size) = fill_to {
        fill(&mut bytes, usize::try_from(size).unwrap_or(usize::MAX));
    }
    Some(Content::new(Bytes::from(bytes)))
}

/// Every line ends with CRLF, the last one too.
pub fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// With lines of filler until it has `size` bytes exactly, unless it is larger, or a line's end away from it.
fn fill(bytes: &mut Vec<u8>, size: usize) {
    const LINE: usize = 78;
    while bytes.len() + 2 <= size {
        // What is left after this line must hold another line end, or nothing.
        let left = size - bytes.len();
        let line = if left <= LINE { left } else { LINE.min(left - 2) };
        bytes.extend(std::iter::repeat_n(b'x', line - 2));
        bytes.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_brought_into_the_form_that_plugins_get() {
        assert_eq!(with_crlf(b"A: 1\n\r\nx"), b"A: 1\r\n\r\nx\r\n");
        assert_eq!(with_crlf(b""), b"");
        for size in [10, 11, 77, 78, 79, 80, 81, 65_536] {
            let mut bytes = b"A: 1\r\n\r\n".to_vec();
            fill(&mut bytes, size);
            assert_eq!(bytes.len(), size);
            assert_eq!(with_crlf(&bytes), bytes);
        }
    }
}
