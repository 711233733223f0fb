//! What a plugin asks to change in a mail's content. Staged first, applied when its verdict lets the mail through.

use crate::Content;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

/// Checked when it is made: the only way to an `Edit` is through its constructors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Add { field: Vec<u8> },
    Set { name: String, field: Vec<u8> },
    Remove { name: String },
    ReplaceBody { content_type: Vec<u8>, body: Bytes },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    #[error("{0:?} is not a header field name: 1 to 76 printable ASCII characters without a colon")]
    Name(String),
    #[error("the value of a header field must not hold control characters")]
    Control,
    #[error("the value of a header field is limited to {MAX_VALUE} bytes")]
    TooLong,
    #[error("a word of the value is longer than a line may be (998 octets)")]
    LongWord,
    #[error("{0:?} is not a content type; expected for instance \"text/plain; charset=utf-8\"")]
    ContentType(String),
}

const MAX_VALUE: usize = 16 * 1024;
/// RFC 5322 §2.1.1.
const MAX_LINE: usize = 998;
const FOLD_AT: usize = 78;

impl Edit {
    /// On top of the fields that are there.
    pub fn add_header(name: &str, value: &str) -> Result<Self, EditError> {
        Ok(Self(Kind::Add { field: write_field(name, value)? }))
    }
    /// In place of the first field of that name, the others removed; on top where there is none.
    pub fn set_header(name: &str, value: &str) -> Result<Self, EditError> {
        Ok(Self(Kind::Set { name: name.to_owned(), field: write_field(name, value)? }))
    }
    /// Every field of that name.
    pub fn remove_header(name: &str) -> Result<Self, EditError> {
        check_name(name)?;
        Ok(Self(Kind::Remove { name: name.to_owned() }))
    }
    /// The body, Content-Type and Content-Transfer-Encoding; the body travels as base64, so any bytes will do.
    pub fn replace_body(content_type: &str, body: &[u8]) -> Result<Self, EditError> {
        if !content_type.contains('/') || !content_type.is_ascii() {
            return Err(EditError::ContentType(content_type.chars().take(80).collect()));
        }
        let mut encoded = Vec::with_capacity(body.len() / 57 * 78 + 80);
        encoded.extend_from_slice(b"\r\n");
        for line in body.chunks(57) {
            encoded.extend_from_slice(STANDARD.encode(line).as_bytes());
            encoded.extend_from_slice(b"\r\n");
        }
        Ok(Self(Kind::ReplaceBody { content_type: write_field("Content-Type", content_type)?, body: encoded.into() }))
    }
    /// One line for a trace: `+X-Tag: a`, `=Subject: b`, `-X-Spam`, `body`.
    pub fn summary(&self) -> String {
        let text = |field: &[u8]| String::from_utf8_lossy(field).trim_end().replace("\r\n", "");
        match &self.0 {
            Kind::Add { field } => format!("+{}", text(field)),
            Kind::Set { field, .. } => format!("={}", text(field)),
            Kind::Remove { name } => format!("-{name}"),
            Kind::ReplaceBody { .. } => "body".to_owned(),
        }
    }
    /// What it does to `before`, one line for each field and for the body: `- Subject: old`, `+ Subject: new`,
    /// `+ body`. Values are unfolded, as they stand; nothing is said where nothing changes.
    pub fn diff(&self, before: &Content) -> Vec<String> {
        let text = |raw: &[u8]| String::from_utf8_lossy(raw).trim_end().replace("\r\n", "");
        let removed = |names: &[&str]| -> Vec<String> {
            let named = before.fields().filter(|field| names.iter().any(|name| field.is(name)));
            named.map(|field| format!("- {}", text(field.raw))).collect()
        };
        match &self.0 {
            Kind::Add { field } => vec![format!("+ {}", text(field))],
            Kind::Set { name, field } => {
                let mut lines = removed(&[name]);
                lines.push(format!("+ {}", text(field)));
                lines
            }
            Kind::Remove { name } => removed(&[name]),
            Kind::ReplaceBody { content_type, .. } => {
                let mut lines = removed(OF_THE_BODY);
                lines.push(format!("- body: {} bytes", before.body().len()));
                lines.push(format!("+ {}", text(content_type)));
                lines.push("+ Content-Transfer-Encoding: base64".to_owned());
                lines.push("+ body".to_owned());
                lines
            }
        }
    }
}

/// Fields that make no sense beside another body.
const OF_THE_BODY: &[&str] = &["Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-MD5"];

impl Content {
    /// In order. The body is copied only by an edit that replaces it.
    pub fn edited(&self, edits: &[Edit]) -> Self {
        edits.iter().fold(self.clone(), |content, edit| match &edit.0 {
            Kind::Add { field } => content.with_fields_on_top(field),
            Kind::Set { name, field } => content.with_field_set(name, field),
            Kind::Remove { name } => content.without(&[name]),
            Kind::ReplaceBody { content_type, body } => {
                let kept = content.without(OF_THE_BODY);
                let mut header = kept.header().to_vec();
                if !kept.fields().any(|field| field.is("MIME-Version")) {
                    header.extend_from_slice(b"MIME-Version: 1.0\r\n");
                }
                header.extend_from_slice(content_type);
                header.extend_from_slice(b"Content-Transfer-Encoding: base64\r\n");
                Self::from_parts(header.into(), body.clone())
            }
        })
    }

    fn without(&self, names: &[&str]) -> Self {
        let kept: Vec<u8> =
            self.fields().filter(|f| !names.iter().any(|n| f.is(n))).flat_map(|f| f.raw).copied().collect();
        self.with_header(kept)
    }

    fn with_field_set(&self, name: &str, field: &[u8]) -> Self {
        if !self.fields().any(|f| f.is(name)) {
            return self.with_fields_on_top(field);
        }
        let mut header = Vec::with_capacity(self.header().len() + field.len());
        let mut placed = false;
        for old in self.fields() {
            if !old.is(name) {
                header.extend_from_slice(old.raw);
            } else if !std::mem::replace(&mut placed, true) {
                header.extend_from_slice(field);
            }
        }
        self.with_header(header)
    }
}

fn check_name(name: &str) -> Result<(), EditError> {
    let ok = (1..=76).contains(&name.len()) && name.bytes().all(|b| matches!(b, 33..=57 | 59..=126));
    if ok { Ok(()) } else { Err(EditError::Name(name.chars().take(80).collect())) }
}

/// `Name: value` with CRLF, folded at white space, non-ASCII as encoded-words (RFC 2047).
fn write_field(name: &str, value: &str) -> Result<Vec<u8>, EditError> {
    check_name(name)?;
    if value.len() > MAX_VALUE {
        return Err(EditError::TooLong);
    }
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(EditError::Control);
    }
    let encoded;
    let value = if value.is_ascii() {
        value
    } else {
        encoded = encoded_words(value);
        &encoded
    };
    let mut out = format!("{name}:").into_bytes();
    let mut column = out.len();
    // A folded line must not be white space alone (RFC 5322 §3.2.2), so only words are moved.
    for word in value.split([' ', '\t']).filter(|word| !word.is_empty()) {
        if word.len() + 1 > MAX_LINE - name.len() {
            return Err(EditError::LongWord);
        }
        if column + 1 + word.len() > FOLD_AT && column > name.len() + 1 {
            out.extend_from_slice(b"\r\n");
            column = 0;
        }
        out.push(b' ');
        out.extend_from_slice(word.as_bytes());
        column += 1 + word.len();
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

/// 45 bytes of UTF-8 give 60 characters of base64, within the 75 of RFC 2047 §2.
fn encoded_words(value: &str) -> String {
    let mut words = Vec::new();
    let mut chunk = String::new();
    for c in value.chars() {
        if chunk.len() + c.len_utf8() > 45 {
            words.push(std::mem::take(&mut chunk));
        }
        chunk.push(c);
    }
    words.push(chunk);
    let words: Vec<String> = words.iter().map(|w| format!("=?utf-8?B?{}?=", STANDARD.encode(w))).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(before: &'static str, edits: &[Edit]) -> String {
        String::from_utf8(Content::new(Bytes::from_static(before.as_bytes())).edited(edits).to_bytes().to_vec())
            .unwrap()
    }

    #[test]
    fn edits_touch_only_what_they_name() {
        let mail = "A: 1\r\nX: old\r\nB: 2\r\nx: older\r\n\r\nbody\r\n";
        assert_eq!(edited(mail, &[Edit::add_header("T", "v").unwrap()]), format!("T: v\r\n{mail}"));
        assert_eq!(edited(mail, &[Edit::set_header("X", "new").unwrap()]), "A: 1\r\nX: new\r\nB: 2\r\n\r\nbody\r\n");
        assert_eq!(edited(mail, &[Edit::remove_header("X").unwrap()]), "A: 1\r\nB: 2\r\n\r\nbody\r\n");
        let replaced =
            edited("A: 1\r\nContent-Type: a/b\r\n\r\nx\r\n", &[Edit::replace_body("text/plain", b"hi").unwrap()]);
        assert_eq!(
            replaced,
            "A: 1\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=\r\n"
        );
    }

    #[test]
    fn a_diff_tells_what_an_edit_does_to_a_mail() {
        let mail = Content::new(Bytes::from_static(b"A: 1\r\nX: old\r\n er\r\nx: 2\r\n\r\nbody\r\n"));
        let diff = |edit: Result<Edit, EditError>| edit.unwrap().diff(&mail);
        assert_eq!(diff(Edit::add_header("T", "v")), ["+ T: v"]);
        assert_eq!(diff(Edit::set_header("x", "new")), ["- X: old er", "- x: 2", "+ x: new"]);
        assert_eq!(diff(Edit::remove_header("X")), ["- X: old er", "- x: 2"]);
        assert!(diff(Edit::remove_header("Y")).is_empty());
        assert_eq!(
            diff(Edit::replace_body("a/b", b"hi")),
            ["- body: 8 bytes", "+ Content-Type: a/b", "+ Content-Transfer-Encoding: base64", "+ body"]
        );
    }

    #[test]
    fn a_field_cannot_break_out_of_its_line() {
        assert_eq!(Edit::add_header("X", "a\r\nBcc: b"), Err(EditError::Control));
        assert!(matches!(Edit::add_header("X:", "a"), Err(EditError::Name(_))));
        assert!(matches!(Edit::add_header("", "a"), Err(EditError::Name(_))));
        assert_eq!(Edit::add_header("X", &"a".repeat(1200)), Err(EditError::LongWord));
        let long = Edit::add_header("X", &"word ".repeat(100)).unwrap();
        assert!(edited("", &[long]).lines().all(|line| line.len() <= FOLD_AT));
        assert_eq!(edited("", &[Edit::add_header("X", "grün").unwrap()]), "X: =?utf-8?B?Z3LDvG4=?=\r\n");
    }
}
