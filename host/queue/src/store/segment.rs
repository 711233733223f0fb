//! Segment files: how a body is written, found and checked. Nothing here knows records.

use super::Location;
use bytes::Bytes;
use mail::{Content, MailId, OpenContent, Outline, Survey};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 4] = *b"WPSG";
const VERSION: u8 = 1;
/// Magic, version, three zero bytes, id, header length, length, CRC.
pub(super) const HEAD: usize = 36;
const CRC_AT: usize = 32;

/// What stands before a body.
pub(super) fn head(id: MailId, content: &Content) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    let (front, crc_place) = head.split_at_mut(CRC_AT);
    let fields: [&[u8]; 5] = [
        &MAGIC,
        &[VERSION, 0, 0, 0],
        &id.to_bytes(),
        &(content.header().len() as u32).to_le_bytes(),
        &(content.len() as u32).to_le_bytes(),
    ];
    front.copy_from_slice(&fields.concat());
    let mut crc = crc32fast::Hasher::new();
    crc.update(front);
    crc.update(content.header());
    crc.update(content.body());
    crc_place.copy_from_slice(&crc.finalize().to_le_bytes());
    head
}

/// A whole record.
pub fn encode(id: MailId, content: &Content) -> Bytes {
    [&head(id, content)[..], content.header(), content.body()].concat().into()
}

/// What the beginning of a record says.
struct Head {
    header: u32,
    crc: u32,
    hasher: crc32fast::Hasher,
}

impl Head {
    /// Refuses what is no record, or another mail's, or of another length.
    fn read(record: &[u8], id: MailId, length: u32) -> io::Result<Self> {
        let front =
            record.get(..CRC_AT).filter(|_| record.len() >= HEAD).ok_or_else(|| wrong("the record is cut short"))?;
        if front.get(..4) != Some(&MAGIC) {
            return Err(wrong("there is no record here"));
        }
        if front.get(4) != Some(&VERSION) {
            return Err(wrong("the record has an unknown version"));
        }
        if front.get(8..24) != Some(&id.to_bytes()) {
            return Err(wrong("the record is another mail's"));
        }
        let (header, length_here, crc) = (number(front, 24), number(front, 28), number(record, CRC_AT));
        if length_here != length || header > length {
            return Err(wrong(CHECKSUM));
        }
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(front);
        Ok(Self { header, crc, hasher })
    }

    /// Once all the content has gone through the hasher.
    fn check(self) -> io::Result<()> {
        if self.hasher.finalize() == self.crc { Ok(()) } else { Err(wrong(CHECKSUM)) }
    }
}

const CHECKSUM: &str = "the record's checksum is wrong";

fn wrong(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

/// The content of a record, if it is whole and `id`'s.
pub fn decode(record: Bytes, id: MailId, length: u32) -> io::Result<Content> {
    if record.len() != HEAD + length as usize {
        return Err(wrong("the record is cut short"));
    }
    let mut head = Head::read(&record, id, length)?;
    head.hasher.update(record.get(HEAD..).unwrap_or_default());
    let body_at = HEAD + head.header as usize;
    head.check()?;
    Ok(Content::from_parts(record.slice(HEAD..body_at), record.slice(body_at..)))
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
}

pub(super) fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:010}.seg"))
}

/// The segments in `dir` with their lengths; foreign files are not among them.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(u32, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".seg")).and_then(|n| n.parse::<u32>().ok());
        match number {
            Some(number) if path(dir, number) == entry.path() && entry.file_type()?.is_file() => {
                found.push((number, entry.metadata()?.len()));
            }
            _ => tracing::warn!(file = %entry.path().display(), "not a segment: left alone"),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The segment, which holds the whole record if it says the truth.
fn open_at(dir: &Path, at: Location) -> io::Result<File> {
    let file = File::open(path(dir, at.segment))?;
    let whole = u64::from(at.offset) + HEAD as u64 + u64::from(at.length);
    // Asked before the memory is taken: a damaged record must not cost 4 GiB.
    if file.metadata()?.len() < whole {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "the segment ends before the record does"));
    }
    Ok(file)
}

pub(super) fn read(dir: &Path, at: Location, id: MailId) -> io::Result<Content> {
    let file = open_at(dir, at)?;
    let mut record = vec![0; HEAD + at.length as usize];
    file.read_exact_at(&mut record, u64::from(at.offset))?;
    decode(record.into(), id, at.length)
}

/// A body that has been read once and found whole. The file stays open: a segment may be unlinked meanwhile.
struct OpenBody {
    file: File,
    begin: u64,
    outline: Outline,
}

/// Of a body that is read piece by piece.
const PIECE: usize = 64 << 10;

/// As `read`, without ever holding more than a piece.
pub(super) fn open(dir: &Path, at: Location, id: MailId) -> io::Result<impl OpenContent + use<>> {
    let file = open_at(dir, at)?;
    let mut record = [0; HEAD];
    file.read_exact_at(&mut record, u64::from(at.offset))?;
    let mut head = Head::read(&record, id, at.length)?;
    let begin = u64::from(at.offset) + HEAD as u64;
    let (mut survey, mut piece, mut read) = (Survey::default(), vec![0; PIECE.min(at.length as usize)], 0);
    while read < at.length {
        let len = piece.len().min((at.length - read) as usize);
        let Some(piece) = piece.get_mut(..len) else { break };
        file.read_exact_at(piece, begin + u64::from(read))?;
        head.hasher.update(piece);
        let in_header = (head.header.saturating_sub(read) as usize).min(len);
        let (header, body) = piece.split_at(in_header);
        survey.header(header);
        survey.body(body);
        read += len as u32;
    }
    head.check()?;
    Ok(OpenBody { file, begin, outline: survey.finish() })
}

impl OpenContent for OpenBody {
    fn outline(&self) -> Outline {
        self.outline
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let left = usize::try_from(self.outline.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(left)];
        if bytes.is_empty() {
            return Ok(Bytes::new());
        }
        self.file.read_exact_at(&mut bytes, self.begin + offset)?;
        Ok(bytes.into())
    }
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// A segment that is being appended to. Small bodies are gathered and written in one piece.
#[derive(Debug)]
pub(super) struct Appender {
    pub(super) number: u32,
    file: std::sync::Arc<File>,
    gathered: Vec<u8>,
    /// Where the next record begins, gathered ones included.
    end: u64,
    /// Up to here it is in the file.
    written: u64,
    pub(super) name_is_durable: bool,
}

/// Larger bodies aren't copied.
const GATHER: usize = 256 << 10;

impl Appender {
    /// Fails where the file exists.
    pub(super) fn create(dir: &Path, number: u32) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path(dir, number))?;
        Ok(Self { number, file: file.into(), gathered: Vec::new(), end: 0, written: 0, name_is_durable: false })
    }

    pub(super) fn file(&self) -> std::sync::Arc<File> {
        self.file.clone()
    }
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn append(&mut self, id: MailId, content: &Content) -> io::Result<Location> {
        let location = Location { segment: self.number, offset: self.end as u32, length: content.len() as u32 };
        let head = head(id, content);
        let size = HEAD + content.len();
        if size <= GATHER {
            if self.gathered.len() + size > GATHER {
                self.write_out()?;
            }
            for part in [&head[..], content.header(), content.body()] {
                self.gathered.extend_from_slice(part);
            }
        } else {
            self.write_out()?;
            for part in [&head[..], content.header(), content.body()] {
                self.file.write_all_at(part, self.written)?;
                self.written += part.len() as u64;
            }
        }
        self.end += size as u64;
        Ok(location)
    }

    pub(super) fn write_out(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.gathered, self.written)?;
        self.written += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }

    /// Forgets everything behind `end`: it was never answered.
    pub(super) fn rewind(&mut self, end: u64) -> io::Result<()> {
        self.gathered.clear();
        self.file.set_len(end)?;
        (self.end, self.written) = (end, end);
        Ok(())
    }
}

/// A file of `size` bytes that takes its room at once.
pub(super) fn reserve(path: &Path, size: usize) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    let zeros = vec![0; 64 << 10];
    for _ in 0..size.div_ceil(zeros.len()) {
        file.write_all(&zeros)?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(content: &Content, id: MailId) -> Vec<u8> {
        encode(id, content).to_vec()
    }

    #[test]
    fn a_body_reads_back_split_as_it_was_and_every_flipped_bit_is_noticed() {
        let content = Content::from_parts("A: 1\r\n".into(), "\r\nbody\r\n".into());
        let id = MailId::from_u128(77);
        let good = record(&content, id);
        assert_eq!(decode(good.clone().into(), id, content.len() as u32).unwrap(), content);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(bad.into(), id, content.len() as u32).is_err(), "bit {bit}");
        }
        for cut in 0..good.len() {
            assert!(decode(good[..cut].to_vec().into(), id, content.len() as u32).is_err(), "cut at {cut}");
        }
        assert!(decode(good.into(), MailId::from_u128(78), content.len() as u32).is_err());
    }

    #[test]
    fn a_body_that_is_read_in_pieces_is_what_was_written_and_every_flipped_bit_is_noticed_at_the_opening() {
        let dir = tempfile::tempdir().unwrap();
        let id = MailId::from_u128(5);
        for header in [0, 9, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let header = [&vec![b'h'; header][..], b"\r\n"].concat();
            let content = Content::from_parts(header.into(), vec![b'\xe9'; 2 * PIECE + 7].into());
            let written = record(&content, id);
            let file = path(dir.path(), 1);
            fs::write(&file, [&b"before"[..], &written, b"after"].concat()).unwrap();
            let at = Location { segment: 1, offset: 6, length: content.len() as u32 };
            let open = open(dir.path(), at, id).unwrap();
            assert_eq!(open.outline(), content.outline());
            fs::remove_file(&file).unwrap();
            let pieces = (0..).map(|n| open.read_at(n * 50_000, 50_000).unwrap());
            let pieces: Vec<Bytes> = pieces.take_while(|piece| !piece.is_empty()).collect();
            assert!(pieces.concat() == content.to_bytes());
            assert!(open.read_at(u64::MAX, 1).unwrap().is_empty());
        }
        let content = Content::from_parts("A: 1\r\n".into(), "\r\nbody\r\n".into());
        let at = Location { segment: 2, offset: 0, length: content.len() as u32 };
        for bit in 0..record(&content, id).len() * 8 {
            let mut bad = record(&content, id);
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(path(dir.path(), 2), bad).unwrap();
            assert!(open(dir.path(), at, id).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn small_and_large_bodies_land_where_they_were_said_to() {
        let dir = tempfile::tempdir().unwrap();
        let mut appender = Appender::create(dir.path(), 3).unwrap();
        let sizes = [0, 10, 300_000, 5, 255_000, 9_000, 700_000];
        let bodies: Vec<Content> = sizes.iter().map(|n| Content::new(vec![b'x'; *n].into())).collect();
        let places: Vec<Location> =
            (0..).zip(&bodies).map(|(i, body)| appender.append(MailId::from_u128(i), body).unwrap()).collect();
        appender.write_out().unwrap();
        for ((i, body), at) in (0..).zip(&bodies).zip(&places) {
            assert_eq!(&read(dir.path(), *at, MailId::from_u128(i)).unwrap(), body);
        }
        fs::write(dir.path().join("00000000x1.seg"), "").unwrap();
        fs::write(dir.path().join("1.seg"), "").unwrap();
        assert_eq!(list(dir.path()).unwrap(), [(3, appender.end())]);
    }
}
