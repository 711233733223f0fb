//! A mail as people read it: decoded fields and text. For comparing and printing, never for sending.

use mail::{Content, HeaderField};
use mail_parser::{MessageParser, parsers::MessageStream};

/// Each field as `Name: value`, unfolded and decoded (RFC 2047), from the top down.
pub(crate) fn fields(content: &Content) -> Vec<String> {
    content.fields().map(|field| format!("{}: {}", String::from_utf8_lossy(field.name), value(&field))).collect()
}

/// The first field of that name.
pub(crate) fn header(content: &Content, name: &str) -> Option<String> {
    content.fields().find(|field| field.is(name)).map(|field| value(&field))
}

fn value(field: &HeaderField<'_>) -> String {
    let value = field.value;
    if !value.contains(&b'\n') && !value.windows(2).any(|pair| pair == b"=?") {
        return String::from_utf8_lossy(value.trim_ascii()).into_owned();
    }
    let with_line_end = field.raw.get(field.raw.len().saturating_sub(value.len() + 2)..).unwrap_or_default();
    MessageStream::new(with_line_end).parse_unstructured().into_text().unwrap_or_default().into_owned()
}

/// The text of the first part that has one, decoded, with line ends as `\n`.
pub(crate) fn body(content: &Content) -> String {
    let bytes = content.to_bytes();
    let parsed = MessageParser::default().parse(&bytes[..]);
    let text = parsed.as_ref().and_then(|message| message.body_text(0)).unwrap_or_default();
    text.replace("\r\n", "\n")
}

/// Fields that `after` has and `before` has not, and the other way round; each as often as it differs.
pub(crate) fn changed_fields(before: &Content, after: &Content) -> (Vec<String>, Vec<String>) {
    let (before, after) = (fields(before), fields(after));
    (missing_in(&before, &after), missing_in(&after, &before))
}

/// Those of `list` that `other` does not have as often.
fn missing_in(other: &[String], list: &[String]) -> Vec<String> {
    let (mut left, mut missing) = (other.to_vec(), Vec::new());
    for field in list {
        match left.iter().position(|known| known == field) {
            Some(index) => drop(left.swap_remove(index)),
            None => missing.push(field.clone()),
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &'static str) -> Content {
        Content::new(text.into())
    }

    #[test]
    fn fields_are_compared_as_people_read_them() {
        let before = content("A: 1\r\nSubject: old\r\nA: 1\r\n\r\nbody\r\n");
        let after = content("X: =?utf-8?Q?gr=C3=BCn?=\r\nA: 1\r\nSubject: new\r\n er\r\n\r\nbody\r\n");
        let (added, removed) = changed_fields(&before, &after);
        assert_eq!(added, ["X: grün", "Subject: new er"]);
        assert_eq!(removed, ["Subject: old", "A: 1"]);
        assert_eq!(header(&after, "subject").as_deref(), Some("new er"));
    }

    #[test]
    fn a_body_is_its_text() {
        assert_eq!(body(&content("A: 1\r\n\r\nbody\r\n")), "body\n");
        let encoded =
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nZ3LDvG4K\r\n";
        assert_eq!(body(&content(encoded)), "grün\n");
        assert_eq!(body(&content("")), "");
    }
}
