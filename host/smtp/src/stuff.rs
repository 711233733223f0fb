//! Writes mail data for DATA: dots stuffed, the end marked (RFC 5321 §4.5.2).
//!
//! Works piece by piece, so that a large mail never lies in memory twice. It never writes a CR or
//! LF of its own but in CRLF; whether the content is lines is checked before it comes here.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mail::Content;
use memchr::memmem;

#[derive(Debug)]
pub(crate) struct Stuffer {
    header: Bytes,
    body: Bytes,
    at_line_start: bool,
    has_ended: bool,
}

impl Stuffer {
    pub(crate) fn new(content: &Content) -> Self {
        Self { header: content.header().clone(), body: content.body().clone(), at_line_start: true, has_ended: false }
    }

    /// The final dot has been written to an output.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Appends about `limit` octets, or the rest and the final dot: the dot goes with the last of
    /// the data, so that neither waits for the other's ACK.
    pub(crate) fn fill(&mut self, out: &mut BytesMut, limit: usize) {
        if self.has_ended {
            return;
        }
        let left = self.header.len() + self.body.len();
        out.reserve(left.min(limit) + 64);
        let end = out.len() + limit;
        for part in [&mut self.header, &mut self.body] {
            let len = part.len().min(end.saturating_sub(out.len()));
            let segment = part.get(..len).unwrap_or_default();
            stuff(segment, &mut self.at_line_start, out);
            part.advance(len);
        }
        if self.header.is_empty() && self.body.is_empty() {
            out.put_slice(if self.at_line_start { b".\r\n" } else { b"\r\n.\r\n" });
            self.has_ended = true;
        }
    }
}

fn stuff(segment: &[u8], at_line_start: &mut bool, out: &mut BytesMut) {
    let Some(last) = segment.last() else { return };
    if *at_line_start && segment.starts_with(b".") {
        out.put_u8(b'.');
    }
    let mut written = 0;
    for at in memmem::find_iter(segment, b"\n.") {
        out.put_slice(segment.get(written..=at).unwrap_or_default());
        out.put_u8(b'.');
        written = at + 1;
    }
    out.put_slice(segment.get(written..).unwrap_or_default());
    *at_line_start = *last == b'\n';
}
