//! Decides whether a write-ahead log was damaged, or only ends where a crash cut it. Pure but for reading the file.
//!
//! SQLite believes a log up to the first frame whose checksum is wrong and forgets the rest, which is right for a log
//! that was being written when the power went. A wrong frame with finished transactions behind it is something else:
//! what follows it was answered for.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

const HEAD: usize = 32;
const FRAME_HEAD: usize = 24;
/// The log is never longer than a few checkpoints; more is not looked at.
const MOST: u64 = 256 << 20;

/// None where it is whole, or only its end is missing.
pub(super) fn damage(path: &Path) -> io::Result<Option<&'static str>> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut log = Vec::new();
    file.take(MOST).read_to_end(&mut log)?;
    Ok(look(&log))
}

fn look(log: &[u8]) -> Option<&'static str> {
    let head = log.get(..HEAD)?;
    // Its place was taken, and nothing written yet.
    if head.iter().all(|byte| *byte == 0) {
        return None;
    }
    let big_endian = word(head, 0) & 1 == 1;
    let mut sum = Sum { big_endian, pair: (0, 0) };
    sum.add(head.get(..24)?);
    let page = word(head, 8) as usize;
    // Less than a sector, so no crash leaves half of it.
    if sum.pair != (word(head, 24), word(head, 28)) || !page.is_power_of_two() || !(512..=65536).contains(&page) {
        return Some("the head of the log is wrong");
    }
    let salt = head.get(16..24)?;
    let mut frames = log.get(HEAD..)?.chunks_exact(FRAME_HEAD + page);
    let whole = |frame: &[u8], sum: &mut Sum| {
        frame.get(..8).into_iter().chain(frame.get(FRAME_HEAD..)).for_each(|part| sum.add(part));
        frame.get(8..16) == Some(salt) && sum.pair == (word(frame, 16), word(frame, 20))
    };
    let wrong = frames.find(|frame| !whole(frame, &mut sum))?;
    // A transaction that was being written is the last one: behind its commit nothing of this log follows.
    let is_ours = |frame: &&[u8]| frame.get(8..16) == Some(salt);
    let mut ended = is_ours(&wrong) && is_commit(wrong);
    for frame in frames.filter(is_ours) {
        if ended {
            return Some("a frame of the log is wrong, and finished transactions follow it");
        }
        ended = is_commit(frame);
    }
    None
}

fn is_commit(frame: &[u8]) -> bool {
    word(frame, 4) != 0
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// As the format of SQLite's files defines it; runs on from frame to frame.
struct Sum {
    big_endian: bool,
    pair: (u32, u32),
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        let read = if self.big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        let (mut a, mut b) = self.pair;
        for [first, second] in bytes.as_chunks::<4>().0.as_chunks::<2>().0 {
            a = a.wrapping_add(read(*first)).wrapping_add(b);
            b = b.wrapping_add(read(*second)).wrapping_add(a);
        }
        self.pair = (a, b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of five transactions, as SQLite left it.
    fn log() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x)").unwrap();
        for n in 0..5 {
            db.execute("INSERT INTO t VALUES (?)", [n]).unwrap();
        }
        let log = std::fs::read(dir.path().join("db-wal")).unwrap();
        assert!(damage(&dir.path().join("db-wal")).unwrap().is_none());
        assert!(damage(&dir.path().join("none")).unwrap().is_none());
        log
    }

    #[test]
    fn a_log_that_was_cut_anywhere_is_no_damage() {
        let log = log();
        for end in (0..log.len()).step_by(7) {
            assert_eq!(look(&log[..end]), None, "cut at {end}");
        }
        assert_eq!(look(&[0; 5000]), None);
    }

    #[test]
    fn a_wrong_bit_before_a_finished_transaction_is_damage_and_one_in_the_last_is_not() {
        let log = log();
        let frame = FRAME_HEAD + 4096;
        let last = log.len() - frame;
        for at in (0..log.len()).step_by(13) {
            let mut bad = log.clone();
            bad[at] ^= 0x10;
            // In the last but one it may look like one transaction with the last.
            if !(last - frame..last).contains(&at) {
                assert_eq!(look(&bad).is_some(), at < last, "byte {at} of {}", log.len());
            }
        }
    }
}
