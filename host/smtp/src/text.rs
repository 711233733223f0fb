//! Decodes mail data as it arrives: undoes dot-stuffing, finds the end, refuses what is not lines, or makes lines of it.
//!
//! What comes out is canonical (each line ends with CRLF, no other CR or LF, no NUL). It never
//! lets anything but CRLF.CRLF end DATA, faulty or not, and never buffers more than two bytes.

use bytes::{Buf, Bytes, BytesMut};

/// What becomes of a CR or LF in mail data that is not part of CRLF. It never ends the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BareLineEnds {
    /// The mail is refused.
    #[default]
    Refuse,
    /// LF becomes CRLF, and CR a space. A dot behind the LF is data: only lines that ended with CRLF
    /// when they were sent had their dots stuffed.
    Normalise,
}

impl BareLineEnds {
    /// What stands in place of the last of these bytes, which is faulty.
    fn instead(self, fault: Fault, bytes: &[u8]) -> Option<Bytes> {
        match (self, fault, bytes.last()) {
            (Self::Normalise, Fault::BareLineEnd, Some(b'\n')) => Some(CRLF),
            (Self::Normalise, Fault::BareLineEnd, Some(_)) => Some(SPACE),
            _ => None,
        }
    }
}

const CRLF: Bytes = Bytes::from_static(b"\r\n");
const SPACE: Bytes = Bytes::from_static(b" ");

/// Why a mail's data cannot be taken. Its remaining bytes are still read up to its real end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A CR or LF that is not part of CRLF: read as a line end elsewhere, it smuggles (RFC 5321 §2.3.8).
    BareLineEnd,
    /// Not allowed in lines of text (RFC 5321 §2.3.7 is ASCII text; RFC 5322 §4 forbids making it).
    Nul,
    TooLarge,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// All that can be taken has been.
    NeedsInput,
    Body(Bytes),
    /// Told once; what came before is void.
    Fault(Fault),
    End,
}

/// The data of a DATA command.
#[derive(Debug)]
pub(crate) struct DataText {
    at_line_start: bool,
    ended: bool,
    fault: Option<Fault>,
    /// Decoded octets so far (RFC 1870 §4 leaves out the dots that were stuffed).
    size: u64,
    limit: u64,
    bare: BareLineEnds,
    /// In place of a bare line end, next.
    instead: Option<Bytes>,
}

impl DataText {
    pub(crate) fn new(limit: u64, bare: BareLineEnds) -> Self {
        Self { at_line_start: true, ended: false, fault: None, size: 0, limit, bare, instead: None }
    }
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Takes from `input` what can be decided. A piece is cut off the input, not copied; where
    /// dots are taken out the rest of the piece moves up in place.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Piece {
        if let Some(instead) = self.instead.take() {
            return self.give(instead);
        }
        if self.ended {
            return Piece::End;
        }
        let was_faulty = self.fault.is_some();
        let mut cursor = Cursor { bytes: input, read: 0, kept: 0 };
        while !self.ended && self.line(&mut cursor) {}
        let (read, kept) = (cursor.read, cursor.kept);
        if self.fault.is_none() {
            self.size += kept as u64;
            if self.size > self.limit {
                self.fault = Some(Fault::TooLarge);
            }
        }
        match self.fault {
            Some(fault) => {
                input.advance(read);
                if !was_faulty {
                    return Piece::Fault(fault);
                }
            }
            None if kept > 0 => {
                let mut piece = input.split_to(read);
                piece.truncate(kept);
                return Piece::Body(piece.freeze());
            }
            None => input.advance(read),
        }
        match self.instead.take() {
            Some(instead) => self.give(instead),
            None if self.ended => Piece::End,
            None => Piece::NeedsInput,
        }
    }

    fn give(&mut self, instead: Bytes) -> Piece {
        self.size += instead.len() as u64;
        if self.size <= self.limit {
            return Piece::Body(instead);
        }
        self.fault = Some(Fault::TooLarge);
        Piece::Fault(Fault::TooLarge)
    }

    /// Decodes up to the end of the current line; false when that needs more input.
    fn line(&mut self, cursor: &mut Cursor<'_>) -> bool {
        if self.at_line_start {
            match cursor.rest() {
                [] | [b'.'] | [b'.', b'\r'] => return false,
                [b'.', b'\r', b'\n', ..] => {
                    cursor.drop(3);
                    self.ended = true;
                    return false;
                }
                [b'.', ..] => cursor.drop(1),
                _ => {}
            }
            self.at_line_start = false;
        }
        let rest = cursor.rest();
        match scan(rest) {
            Scan::Line(len) => {
                cursor.keep(len);
                self.at_line_start = true;
                true
            }
            Scan::Open(len) => {
                cursor.keep(len);
                false
            }
            Scan::Fault(len, fault) => {
                let instead = self.bare.instead(fault, rest.get(..len).unwrap_or_default());
                if let Some(instead) = instead.filter(|_| self.fault.is_none()) {
                    cursor.keep(len - 1);
                    cursor.drop(1);
                    self.instead = Some(instead);
                    return false;
                }
                cursor.keep(len);
                // What came first counts, wherever the input was cut.
                let is_too_large = self.size + cursor.kept as u64 > self.limit.saturating_add(1);
                self.fault.get_or_insert(if is_too_large { Fault::TooLarge } else { fault });
                true
            }
        }
    }
}

/// The data of a mail's BDAT chunks (RFC 3030), which are lines of text here: BINARYMIME is not
/// offered. A line, and even a CRLF, may begin in one chunk and end in the next.
#[derive(Debug)]
pub(crate) struct ChunkText {
    at_line_start: bool,
    /// The chunk before ended with CR; it is passed on with its LF.
    held_cr: bool,
    size: u64,
    limit: u64,
    bare: BareLineEnds,
    /// In place of a bare line end, next.
    instead: Option<Bytes>,
}

impl ChunkText {
    pub(crate) fn new(limit: u64, bare: BareLineEnds) -> Self {
        Self { at_line_start: true, held_cr: false, size: 0, limit, bare, instead: None }
    }

    /// Takes from `input` at most `left` bytes, the rest of the chunk, and counts them off. After a
    /// fault the caller drops what is left.
    pub(crate) fn next(&mut self, input: &mut BytesMut, left: &mut u64) -> Piece {
        if let Some(instead) = self.instead.take() {
            self.at_line_start = instead == CRLF;
            return self.within_limit(instead);
        }
        if *left == 0 {
            return Piece::End;
        }
        let available = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
        let chunk_ends = available as u64 == *left;
        if available == 0 {
            return Piece::NeedsInput;
        }
        let mut used = 0;
        if self.held_cr {
            self.held_cr = false;
            return self.after_held_cr(input, left);
        }
        while let Some(rest) = input.get(used..available).filter(|rest| !rest.is_empty()) {
            match scan(rest) {
                Scan::Line(len) => {
                    used += len;
                    self.at_line_start = true;
                }
                Scan::Open(len) => {
                    used += len;
                    self.at_line_start &= len == 0;
                    break;
                }
                Scan::Fault(len, fault) => {
                    if let Some(instead) = self.bare.instead(fault, rest.get(..len).unwrap_or_default()) {
                        return self.replace(input, left, used + len, instead);
                    }
                    let is_too_large = self.size + (used + len) as u64 > self.limit.saturating_add(1);
                    return Piece::Fault(if is_too_large { Fault::TooLarge } else { fault });
                }
            }
        }
        if chunk_ends && used < available {
            // Only a CR was left over.
            self.held_cr = true;
            self.at_line_start = false;
            if used == 0 {
                self.size += 1;
                *left = 0;
                input.advance(1);
                return Piece::End;
            }
        }
        if used == 0 {
            return Piece::NeedsInput;
        }
        let held = u64::from(self.held_cr);
        let piece = self.piece(input, left, used, None);
        input.advance(held as usize);
        *left -= held;
        self.size += held;
        piece
    }

    /// The CR that ended the chunk before is passed on with its LF.
    fn after_held_cr(&mut self, input: &mut BytesMut, left: &mut u64) -> Piece {
        if input.first() == Some(&b'\n') {
            self.at_line_start = true;
            return self.piece(input, left, 1, Some(CRLF));
        }
        // Counted when it was held.
        match self.bare {
            BareLineEnds::Refuse => Piece::Fault(Fault::BareLineEnd),
            BareLineEnds::Normalise => Piece::Body(SPACE),
        }
    }

    /// Gives what is before the last of `used` bytes, and `instead` in its place.
    fn replace(&mut self, input: &mut BytesMut, left: &mut u64, used: usize, instead: Bytes) -> Piece {
        let mut bytes = input.split_to(used);
        *left -= used as u64;
        bytes.truncate(used - 1);
        if bytes.is_empty() {
            self.at_line_start = instead == CRLF;
            return self.within_limit(instead);
        }
        self.instead = Some(instead);
        self.within_limit(bytes.freeze())
    }

    fn piece(&mut self, input: &mut BytesMut, left: &mut u64, used: usize, instead: Option<Bytes>) -> Piece {
        let bytes = input.split_to(used).freeze();
        *left -= used as u64;
        self.size += used as u64;
        if self.size > self.limit {
            return Piece::Fault(Fault::TooLarge);
        }
        Piece::Body(instead.unwrap_or(bytes))
    }

    fn within_limit(&mut self, bytes: Bytes) -> Piece {
        self.size += bytes.len() as u64;
        if self.size > self.limit { Piece::Fault(Fault::TooLarge) } else { Piece::Body(bytes) }
    }

    /// After the last chunk: what must be added so that the last line ends. RFC 3030 allows a mail
    /// without a final CRLF; the next hop gets it by DATA, which does not.
    pub(crate) fn finish(&self) -> Result<Option<Bytes>, Fault> {
        match (self.held_cr, self.at_line_start, self.bare) {
            (true, _, BareLineEnds::Refuse) => Err(Fault::BareLineEnd),
            (true, _, BareLineEnds::Normalise) => Ok(Some(Bytes::from_static(b" \r\n"))),
            (false, true, _) => Ok(None),
            (false, false, _) => Ok(Some(CRLF)),
        }
    }
}

enum Scan {
    /// So many bytes up to and including CRLF.
    Line(usize),
    /// So many bytes, and the line goes on; a final CR is not counted, for it is undecided.
    Open(usize),
    /// The faulty byte is the last of so many.
    Fault(usize, Fault),
}

fn scan(bytes: &[u8]) -> Scan {
    let Some(at) = memchr::memchr3(b'\r', b'\n', 0, bytes) else { return Scan::Open(bytes.len()) };
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => Scan::Line(at + 2),
        (Some(b'\r'), None) => Scan::Open(at),
        (Some(0), _) => Scan::Fault(at + 1, Fault::Nul),
        _ => Scan::Fault(at + 1, Fault::BareLineEnd),
    }
}

/// Reads ahead and writes behind in one buffer.
struct Cursor<'a> {
    bytes: &'a mut BytesMut,
    read: usize,
    kept: usize,
}

impl Cursor<'_> {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.read..).unwrap_or_default()
    }
    fn drop(&mut self, len: usize) {
        self.read += len;
    }
    fn keep(&mut self, len: usize) {
        if self.read != self.kept {
            self.bytes.copy_within(self.read..self.read + len, self.kept);
        }
        self.read += len;
        self.kept += len;
    }
}
