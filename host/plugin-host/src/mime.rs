//! Finds the leaves of a mail's MIME tree (RFC 2045, RFC 2046), and decodes header fields and parts.
//!
//! Bounded in depth and number whatever the mail holds; what lies beyond is left as it is. A mail
//! that makes no sense has a single part or none: this never fails and never panics.

use bytes::Bytes;
use mail::Content;
use mail_parser::{
    ContentType, HeaderValue,
    decoders::{base64::base64_decode, charsets::map::charset_decoder, quoted_printable::quoted_printable_decode},
    parsers::MessageStream,
};
use std::sync::OnceLock;

/// Multiparts and messages within each other; deeper ones count as leaves.
const MAX_DEPTH: usize = 20;
/// Further leaves are not listed.
const MAX_PARTS: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Parts(Vec<Part>);

#[derive(Debug)]
pub(crate) struct Part {
    content: Content,
    /// `text/plain`, in lower case.
    pub(crate) media_type: String,
    pub(crate) filename: Option<String>,
    charset: Option<String>,
    encoding: Encoding,
    decoded: OnceLock<Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Base64,
    QuotedPrintable,
}

impl Parts {
    pub(crate) fn parse(content: &Content) -> Self {
        let mut parts = Self::default();
        parts.walk(content.clone(), MAX_DEPTH, "text/plain");
        parts
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Part> {
        self.0.get(index as usize)
    }

    /// `default_type` is what a missing Content-Type means (RFC 2046 §5.1.5).
    fn walk(&mut self, content: Content, depth: usize, default_type: &str) {
        if self.0.len() >= MAX_PARTS {
            return;
        }
        let field = structured(&content, "Content-Type");
        let media_type = field.as_ref().map_or_else(|| default_type.to_owned(), media_type);
        let encoding = encoding(&content);
        let attribute = |name: &str| field.as_ref()?.attribute(name).map(str::to_owned);
        if depth > 0 && media_type.starts_with("multipart/") {
            if let Some(boundary) = attribute("boundary").filter(|b| !b.is_empty()) {
                let inner_type = if media_type == "multipart/digest" { "message/rfc822" } else { "text/plain" };
                let sections = sections(content.body(), boundary.as_bytes());
                sections.into_iter().for_each(|section| self.walk(section, depth - 1, inner_type));
                return;
            }
        } else if depth > 0
            && encoding == Encoding::Identity
            && matches!(media_type.as_str(), "message/rfc822" | "message/global")
        {
            return self.walk(Content::new(without_blank_line(content.body())), depth - 1, "text/plain");
        }
        let disposition = structured(&content, "Content-Disposition");
        let filename = disposition.and_then(|d| d.attribute("filename").map(str::to_owned));
        let part = Part {
            filename: filename.or_else(|| attribute("name")),
            charset: attribute("charset"),
            content,
            media_type,
            encoding,
            decoded: OnceLock::new(),
        };
        self.0.push(part);
    }
}

impl Part {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        first_header(&self.content, name)
    }

    /// As it stands in the mail, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.content.body().len()
    }

    pub(crate) fn is_decoded(&self) -> bool {
        self.decoded.get().is_some()
    }

    /// Without the transfer encoding; as they stand where it is broken.
    pub(crate) fn decoded(&self) -> &Bytes {
        self.decoded.get_or_init(|| {
            let body = without_blank_line(self.content.body());
            let decoded = match self.encoding {
                Encoding::Identity => None,
                Encoding::Base64 => base64_decode(&body),
                Encoding::QuotedPrintable => quoted_printable_decode(&body),
            };
            decoded.map_or(body, Bytes::from)
        })
    }

    /// In Unicode; an unknown charset is read as UTF-8.
    pub(crate) fn text(&self) -> String {
        let decoder = self.charset.as_deref().and_then(|charset| charset_decoder(charset.as_bytes()));
        match decoder {
            Some(decode) => decode(self.decoded()),
            None => String::from_utf8_lossy(self.decoded()).into_owned(),
        }
    }
}

/// The first field of that name, unfolded, encoded-words decoded (RFC 2047).
pub(crate) fn first_header(content: &Content, name: &str) -> Option<String> {
    content.fields().find(|field| field.is(name)).map(|field| decode_field(field.raw, field.value))
}

/// `raw` is the whole field, `value` what follows its colon.
pub(crate) fn decode_field(raw: &[u8], value: &[u8]) -> String {
    let is_plain = memchr::memchr2(b'\r', b'\n', value).is_none() && memchr::memmem::find(value, b"=?").is_none();
    if is_plain {
        return String::from_utf8_lossy(value.trim_ascii()).into_owned();
    }
    let with_line_end = raw.get(raw.len().saturating_sub(value.len() + 2)..).unwrap_or_default();
    MessageStream::new(with_line_end).parse_unstructured().into_text().unwrap_or_default().into_owned()
}

/// A field with parameters: Content-Type, Content-Disposition.
fn structured(content: &Content, name: &str) -> Option<ContentType<'static>> {
    let field = content.fields().find(|field| field.is(name))?;
    let with_line_end = field.raw.get(field.raw.len().saturating_sub(field.value.len() + 2)..)?;
    match MessageStream::new(with_line_end).parse_content_type().into_owned() {
        HeaderValue::ContentType(value) => Some(value),
        _ => None,
    }
}

fn media_type(field: &ContentType<'_>) -> String {
    let text = match field.subtype() {
        Some(subtype) => format!("{}/{subtype}", field.ctype()),
        None => field.ctype().to_owned(),
    };
    text.to_ascii_lowercase()
}

fn encoding(content: &Content) -> Encoding {
    let field = content.fields().find(|field| field.is("Content-Transfer-Encoding"));
    match field.map(|field| field.value.trim_ascii()) {
        Some(value) if value.eq_ignore_ascii_case(b"base64") => Encoding::Base64,
        Some(value) if value.eq_ignore_ascii_case(b"quoted-printable") => Encoding::QuotedPrintable,
        Some(_) | None => Encoding::Identity,
    }
}

fn without_blank_line(body: &Bytes) -> Bytes {
    body.strip_prefix(b"\r\n").map_or_else(|| body.clone(), |rest| body.slice_ref(rest))
}

/// What lies between the delimiter lines (RFC 2046 §5.1.1); preamble and epilogue are left out. A
/// body that ends without a closing delimiter ends its last section.
fn sections(body: &Bytes, boundary: &[u8]) -> Vec<Content> {
    let delimiter = [b"--", boundary].concat();
    let mut sections = Vec::new();
    let mut open: Option<usize> = None;
    for at in memchr::memmem::find_iter(&body[..], &delimiter) {
        // Looked at first: a body of nothing but delimiters must not be searched to its end for each.
        if at != 0 && body.get(at - 1) != Some(&b'\n') {
            continue;
        }
        let rest = body.get(at + delimiter.len()..).unwrap_or_default();
        let line_end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let tail = rest.get(..line_end).unwrap_or_default().trim_ascii();
        if !(tail.is_empty() || tail == b"--") {
            continue;
        }
        if let Some(start) = open.take() {
            sections.push(section(body.slice(start..at)));
        }
        if tail == b"--" || sections.len() >= MAX_PARTS {
            return sections;
        }
        open = Some(at + delimiter.len() + line_end);
    }
    sections.extend(open.map(|start| Content::new(body.slice(start..))));
    sections
}

/// The line break before a delimiter belongs to it, unless it ends the header section.
fn section(bytes: Bytes) -> Content {
    let content = Content::new(bytes);
    let body = content.body();
    match body.strip_suffix(b"\r\n").filter(|rest| !rest.is_empty()) {
        Some(rest) => Content::from_parts(content.header().clone(), body.slice_ref(rest)),
        None => content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(mail: &str) -> Parts {
        Parts::parse(&Content::new(Bytes::from(mail.replace('\n', "\r\n"))))
    }

    #[test]
    fn a_body_of_delimiters_without_a_line_end_is_read_once() {
        // Searched anew for each of its delimiters, this would take hours.
        let mail = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}\r\n", "--b".repeat(10_000_000));
        assert!(Parts::parse(&Content::new(Bytes::from(mail))).0.len() <= 1);
    }

    #[test]
    fn leaves_are_listed_in_order_and_decoded() {
        let parts = parts(concat!(
            "Content-Type: multipart/mixed; boundary=\"a b\"\n\npreamble\n--a b\n",
            "Content-Type: multipart/alternative; boundary=in\n\n--in\n\nplain text\n--in\n",
            "Content-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n<b>gr=FCn</b>\n",
            "--in--\n--a b\nContent-Type: message/rfc822\n\nSubject: =?utf-8?q?gr=C3=BCn?=\n\ninner\n--a b\n",
            "Content-Type: application/pdf; name=x.pdf\nContent-Transfer-Encoding: base64\n",
            "Content-Disposition: attachment; filename=y.pdf\n\naGVsbG8=\n--a b--\nepilogue\n"
        ));
        let kinds: Vec<&str> = parts.0.iter().map(|part| part.media_type.as_str()).collect();
        assert_eq!(kinds, ["text/plain", "text/html", "text/plain", "application/pdf"]);
        assert_eq!(parts.0[0].text(), "plain text");
        assert_eq!(parts.0[1].text(), "<b>grün</b>");
        assert_eq!(parts.0[2].header("subject").unwrap(), "grün");
        assert_eq!(&parts.0[3].decoded()[..], b"hello");
        assert_eq!(parts.0[3].filename.as_deref(), Some("y.pdf"));
    }

    #[test]
    fn nesting_and_numbers_are_bounded() {
        let deep = "Content-Type: message/rfc822\n\n".repeat(100_000);
        assert_eq!(parts(&deep).len(), 1);
        let opened: String =
            (0..5000).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect();
        assert_eq!(parts(&opened).len(), 1);
        let wide = format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(100_000));
        assert_eq!(parts(&wide).len(), MAX_PARTS);
        let same = "Content-Type: multipart/mixed; boundary=b\n\n--b\n".repeat(1000);
        assert!(parts(&same).len() <= MAX_PARTS);
    }

    #[test]
    fn nonsense_has_a_part_or_none() {
        for mail in [
            "",
            "\n",
            "no header at all",
            "Content-Type:\n\nx",
            "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n",
            "Content-Type: multipart/mixed; boundary=b\n\n--b",
            "Content-Type: text/plain; charset=klingon\nContent-Transfer-Encoding: base64\n\n!!!!\n",
        ] {
            let parts = parts(mail);
            assert!(parts.len() <= 1, "{mail:?}");
            parts.0.iter().for_each(|part| assert!(part.text().len() < 100));
        }
    }
}
