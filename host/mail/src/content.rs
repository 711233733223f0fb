//! The bytes of a mail: a header section and the rest, both shared and never changed in place.

use crate::{Outline, Survey};
use bytes::Bytes;

/// Mail data in canonical form: every line ends with CRLF, dot-stuffing is undone, no final dot.
///
/// Cloning is cheap: the bytes are shared. `header` holds whole header fields only; `body` begins
/// with the empty line that ends the header section, or is empty, or is whatever followed the
/// fields of a mail that has no such line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    header: Bytes,
    body: Bytes,
}

/// One field of the header section, as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderField<'a> {
    /// Without the colon and the white space before it.
    pub name: &'a [u8],
    /// What follows the colon, folding included, without the final CRLF.
    pub value: &'a [u8],
    /// The whole field, final CRLF included.
    pub raw: &'a [u8],
}

impl HeaderField<'_> {
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

impl Content {
    /// Finds where the header section ends. Nothing is copied.
    pub fn new(bytes: Bytes) -> Self {
        let end = header_end(&bytes);
        Self { header: bytes.slice(..end), body: bytes.slice(end..) }
    }
    /// From parts that are already split; `header` is whole fields, `body` as described above.
    pub fn from_parts(header: Bytes, body: Bytes) -> Self {
        Self { header, body }
    }
    pub fn header(&self) -> &Bytes {
        &self.header
    }
    pub fn body(&self) -> &Bytes {
        &self.body
    }
    /// In bytes.
    pub fn len(&self) -> usize {
        self.header.len() + self.body.len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The same mail under other header fields; the body stays shared.
    ///
    /// A mail without a field whose first line begins with white space gets an empty line in front of it: under a
    /// field of ours it would be read as that field's continuation (RFC 5322 §2.2.3), and say what it likes there.
    pub fn with_header(&self, header: impl Into<Bytes>) -> Self {
        let header = header.into();
        let body = match self.body.first() {
            Some(b' ' | b'\t') if !header.is_empty() => [b"\r\n", &self.body[..]].concat().into(),
            _ => self.body.clone(),
        };
        Self { header, body }
    }
    /// With `fields` (whole, each ending in CRLF) on top.
    pub fn with_fields_on_top(&self, fields: &[u8]) -> Self {
        let mut header = Vec::with_capacity(fields.len() + self.header.len());
        header.extend_from_slice(fields);
        header.extend_from_slice(&self.header);
        self.with_header(header)
    }
    /// In one piece; copies unless one of the parts is empty.
    pub fn to_bytes(&self) -> Bytes {
        if self.header.is_empty() {
            return self.body.clone();
        }
        if self.body.is_empty() {
            return self.header.clone();
        }
        [&self.header[..], &self.body[..]].concat().into()
    }
    /// At most `len` bytes from `offset`; fewer at the end.
    pub fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let part = |bytes: &Bytes, start: usize, len: usize| {
            let start = start.min(bytes.len());
            bytes.slice(start..start.saturating_add(len).min(bytes.len()))
        };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut out = part(&self.header, offset, len).to_vec();
        let left = len - out.len();
        out.extend_from_slice(&part(&self.body, offset.saturating_sub(self.header.len()), left));
        out
    }
    /// The fields from the top down.
    pub fn fields(&self) -> impl Iterator<Item = HeaderField<'_>> {
        let mut rest = &self.header[..];
        std::iter::from_fn(move || {
            let (field, after) = split_field(rest)?;
            rest = after;
            Some(field)
        })
    }
    pub fn outline(&self) -> Outline {
        let mut survey = Survey::default();
        survey.header(&self.header);
        survey.body(&self.body);
        survey.finish()
    }
    /// A byte over 127 anywhere.
    pub fn is_8bit(&self) -> bool {
        !self.header.is_ascii() || !self.body.is_ascii()
    }
}

/// The first field of `bytes` with its continuation lines, and what follows. None where no field begins.
fn split_field(bytes: &[u8]) -> Option<(HeaderField<'_>, &[u8])> {
    let mut end = line_end(bytes)?;
    let colon = bytes.get(..end)?.iter().position(|b| *b == b':')?;
    let name = bytes.get(..colon)?.trim_ascii_end();
    if name.is_empty() || !name.iter().all(|b| matches!(b, 33..=126)) {
        return None;
    }
    while matches!(bytes.get(end), Some(b' ' | b'\t')) {
        end += line_end(bytes.get(end..)?)?;
    }
    let (raw, rest) = bytes.split_at_checked(end)?;
    Some((HeaderField { name, value: raw.get(colon + 1..end - 2)?, raw }, rest))
}

/// The length of the first line, CRLF included.
fn line_end(bytes: &[u8]) -> Option<usize> {
    let lf = memchr::memchr(b'\n', bytes)?;
    (lf > 0 && bytes.get(lf - 1) == Some(&b'\r')).then_some(lf + 1)
}

fn header_end(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((_, after)) = split_field(rest) {
        rest = after;
    }
    bytes.len() - rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &'static str) -> (Bytes, Bytes) {
        let content = Content::new(Bytes::from_static(text.as_bytes()));
        assert_eq!(content.to_bytes(), text.as_bytes());
        (content.header, content.body)
    }

    #[test]
    fn the_header_section_is_whole_fields_only() {
        assert_eq!(
            split("A: 1\r\nB: 2\r\n 3\r\n\r\nbody\r\n"),
            ("A: 1\r\nB: 2\r\n 3\r\n".into(), "\r\nbody\r\n".into())
        );
        assert_eq!(split("A: 1\r\n"), ("A: 1\r\n".into(), "".into()));
        assert_eq!(split("no header\r\nA: 1\r\n"), ("".into(), "no header\r\nA: 1\r\n".into()));
        assert_eq!(split("A: 1\r\nbroken\r\n\r\nx\r\n"), ("A: 1\r\n".into(), "broken\r\n\r\nx\r\n".into()));
        assert_eq!(split(" folded first\r\n"), ("".into(), " folded first\r\n".into()));
        assert_eq!(split(""), ("".into(), "".into()));
    }

    #[test]
    fn a_first_line_that_begins_with_white_space_cannot_speak_in_a_field_of_ours() {
        for start in [" ", "\t"] {
            let mail = format!("{start}; dkim=pass\r\nX: 1\r\n");
            let content = Content::new(mail.clone().into()).with_fields_on_top(b"A: 1\r\n");
            assert_eq!(content.to_bytes(), format!("A: 1\r\n\r\n{mail}"));
            assert_eq!(content.fields().count(), 1);
        }
    }

    #[test]
    fn ranges_cross_from_header_to_body() {
        let content = Content::new(Bytes::from_static(b"A: 1\r\n\r\nbody\r\n"));
        assert_eq!(content.read(3, 7), b"1\r\n\r\nbo");
        assert_eq!(content.read(12, 100), b"\r\n");
        assert_eq!(content.read(u64::MAX, 5), b"");
        let names: Vec<_> = content.fields().map(|f| (f.name.to_vec(), f.value.to_vec())).collect();
        assert_eq!(names, [(b"A".to_vec(), b" 1".to_vec())]);
    }
}
