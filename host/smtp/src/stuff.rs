//! Writes mail data for DATA: dots stuffed, the end marked (RFC 5321 §4.5.2).
//!
//! Works piece by piece, so that a large mail never lies in memory twice, or not even once. It never writes
//! a CR or LF of its own but in CRLF; whether the content is lines is checked before it comes here.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mail::Content;
use memchr::memmem;

#[derive(Debug)]
pub(crate) struct Stuffer {
    header: Bytes,
    body: Bytes,
    /// Octets that are yet to be fed.
    awaited: u64,
    at_line_start: bool,
    has_ended: bool,
}

impl Stuffer {
    pub(crate) fn new(content: &Content) -> Self {
        let (header, body) = (content.header().clone(), content.body().clone());
        Self { header, body, awaited: 0, at_line_start: true, has_ended: false }
    }

    /// For content of so many octets, which comes by [`Stuffer::feed`].
    pub(crate) fn fed(len: u64) -> Self {
        Self { header: Bytes::new(), body: Bytes::new(), awaited: len, at_line_start: true, has_ended: false }
    }

    /// Nothing is left to write, and more is to come.
    pub(crate) fn is_hungry(&self) -> bool {
        self.awaited > 0 && self.body.is_empty()
    }

    /// The next of the content, when hungry; what is more than was announced is dropped.
    pub(crate) fn feed(&mut self, mut piece: Bytes) {
        piece.truncate(usize::try_from(self.awaited).unwrap_or(usize::MAX));
        self.awaited -= piece.len() as u64;
        self.body = piece;
    }

    /// The final dot has been written to an output.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Appends about `limit` octets, or the rest and the final dot: the dot goes with the last of
    /// the data, so that neither waits for the other's ACK.
    pub(crate) fn fill(&mut self, out: &mut BytesMut, limit: usize) {
        if self.has_ended || self.is_hungry() {
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
        if self.header.is_empty() && self.body.is_empty() && self.awaited == 0 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{BareLineEnds, DataText, Piece};

    fn wire(content: &Content, limit: usize) -> BytesMut {
        let (mut stuffer, mut wire) = (Stuffer::new(content), BytesMut::new());
        while !stuffer.has_ended() {
            let before = wire.len();
            stuffer.fill(&mut wire, limit);
            assert!(wire.len() - before <= 2 * limit + 6);
        }
        wire
    }

    fn unstuffed(mut wire: BytesMut, cut: usize) -> Vec<u8> {
        let (mut text, mut out, mut input) =
            (DataText::new(u64::MAX, BareLineEnds::Refuse), Vec::new(), BytesMut::new());
        let mut rest = wire.split_off(cut.min(wire.len()));
        input.unsplit(wire);
        loop {
            match text.next(&mut input) {
                Piece::Body(bytes) => out.extend_from_slice(&bytes),
                Piece::NeedsInput => {
                    assert!(!rest.is_empty(), "no end");
                    input.extend_from_slice(&rest.split());
                }
                Piece::Fault(fault) => panic!("{fault:?}"),
                Piece::End => break,
            }
        }
        assert!(input.is_empty() && rest.is_empty());
        out
    }

    fn random_lines(random: &mut fastrand::Rng) -> Vec<u8> {
        let mut lines = Vec::new();
        for _ in 0..random.usize(..12) {
            for _ in 0..random.usize(..4) {
                // Any octet of text, dots above all.
                let octet = random.u8(..);
                lines.push(if random.bool() || matches!(octet, b'\r' | b'\n' | 0) { b'.' } else { octet });
            }
            lines.extend_from_slice(b"\r\n");
        }
        lines
    }

    #[test]
    fn what_is_stuffed_and_unstuffed_is_what_it_was() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let lines = random_lines(&mut random);
            let split = random.usize(..=lines.len());
            let content =
                Content::from_parts(Bytes::copy_from_slice(&lines[..split]), Bytes::copy_from_slice(&lines[split..]));
            let wire = wire(&content, random.usize(1..40));
            assert_eq!(memchr::memmem::find_iter(&wire, b"\r\n.\r\n").count() + usize::from(lines.is_empty()), 1);
            let cut = random.usize(..=wire.len());
            assert_eq!(unstuffed(wire, cut), lines);
        }
    }

    #[test]
    fn content_that_is_fed_in_pieces_is_written_as_if_it_had_been_there() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..5_000 {
            let lines = random_lines(&mut random);
            let whole = wire(&Content::new(lines.clone().into()), random.usize(1..40));
            let (mut stuffer, mut fed, mut rest) = (Stuffer::fed(lines.len() as u64), BytesMut::new(), &lines[..]);
            while !stuffer.has_ended() {
                if stuffer.is_hungry() {
                    let (piece, after) = rest.split_at(random.usize(1..=rest.len()));
                    stuffer.feed(Bytes::copy_from_slice(piece));
                    rest = after;
                }
                stuffer.fill(&mut fed, random.usize(1..40));
            }
            assert!(fed == whole && rest.is_empty());
        }
    }

    #[test]
    fn a_last_line_without_an_end_gets_one() {
        assert_eq!(&wire(&Content::new(Bytes::from_static(b"a: b\r\n\r\n.x")), 4)[..], b"a: b\r\n\r\n..x\r\n.\r\n");
        assert_eq!(&wire(&Content::default(), 4)[..], b".\r\n");
    }
}
