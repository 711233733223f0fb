//! The bytes of one mail as they come in: in memory up to a threshold, beyond it in a file.
//!
//! A slow sender of a large mail holds a file, not memory. Only at the end is the mail read back, when it has its
//! turn. Never blocks the runtime on the disk.

use super::{incoming::Incoming, replies};
use crate::{disk::Waiting, memory::Share, read_back::Room};
use bytes::Bytes;
use mail::{Content, Domain, Reply};
use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    sync::Arc,
    time::Duration,
};

/// In bytes; copying less than this costs nothing that could be measured.
const SMALL: usize = 16 * 1024;
/// Of a mail that goes to its file, in memory until it is written: in bytes.
const PIECE: u64 = 64 * 1024;
/// The same while memory is short, for any mail.
const LEAST: u64 = 16 * 1024;
/// For its turn to be read back; a client waits ten minutes (RFC 5321 §4.5.3.2.6).
const TURN: Duration = Duration::from_secs(60);

pub struct Data {
    incoming: Arc<Incoming>,
    gathered: Gathered,
    share: Share,
    file: Option<File>,
    /// Bytes in the file.
    written: u64,
    waiting: Waiting,
    refused: Option<Refused>,
}

/// Why the mail cannot be taken, and what its client is told.
#[derive(Clone, Debug)]
pub struct Refused {
    pub reply: Reply,
    pub reason: String,
}

/// All of a mail's data.
pub struct Received {
    pub content: Content,
    /// Of the budget; none where it was read back.
    pub share: Option<Share>,
    /// Its place among those that are read back.
    pub turn: Option<Turn>,
}

/// What a mail takes that was read back, until it is in the queue or refused: whoever alters the mail makes another
/// copy of it, which the room must outlive.
pub struct Turn {
    _room: Arc<Room>,
    _waiting: Waiting,
}

/// The part that is in memory.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    rest: Vec<u8>,
}

impl Data {
    pub(super) fn new(incoming: Arc<Incoming>) -> Self {
        let (share, waiting) = (incoming.budget.share(), incoming.disk.waiting());
        Self { incoming, gathered: Gathered::default(), share, file: None, written: 0, waiting, refused: None }
    }

    /// In bytes.
    pub fn len(&self) -> u64 {
        self.written + self.gathered.len()
    }

    /// Ends once the bytes are kept, or it is known that they cannot be: then the mail's end tells why.
    pub async fn push(&mut self, bytes: Bytes) {
        if self.refused.is_some() {
            return;
        }
        let len = bytes.len() as u64;
        let most = self.most();
        if self.gathered.len() + len > most || !self.share.grow(self.gathered.growth(&bytes, most)) {
            self.spill(bytes).await;
        } else {
            self.gathered.push(bytes, most);
        }
    }

    /// Waits for its turn where it has to be read back.
    pub async fn finish(self, domain: &Domain) -> Result<Received, Refused> {
        self.finish_within(domain, TURN).await
    }

    async fn finish_within(mut self, domain: &Domain, turn: Duration) -> Result<Received, Refused> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let Some(mut file) = self.file.take() else {
            let content = Content::new(self.gathered.take());
            return Ok(Received { content, share: Some(self.share), turn: None });
        };
        let len = self.len();
        let room = tokio::time::timeout(turn, self.incoming.budget.read_back.room(domain, len)).await;
        let Ok(room) = room else {
            let reason = format!("no room to read it back within {} s", turn.as_secs());
            return Err(Refused { reply: replies::TOO_BUSY, reason });
        };
        let rest = self.gathered.take();
        let read = move || {
            let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(usize::MAX));
            file.rewind()?;
            file.read_to_end(&mut bytes)?;
            bytes.extend_from_slice(&rest);
            if bytes.len() as u64 == len { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(io::Error::other);
        match room.and_then(|room| Ok((room, read.flatten()?))) {
            Ok((room, bytes)) => {
                let room = Arc::new(room);
                let content = room.clone().hold(&Content::new(bytes.into()));
                let turn = Turn { _room: room, _waiting: self.waiting };
                Ok(Received { content, share: None, turn: Some(turn) })
            }
            Err(error) => Err(Refused::by(&error)),
        }
    }

    /// In memory, in bytes.
    fn most(&self) -> u64 {
        match self.file {
            _ if self.incoming.budget.is_tight() => LEAST.min(self.incoming.threshold),
            Some(_) => PIECE.min(self.incoming.threshold),
            None => self.incoming.threshold,
        }
    }

    async fn spill(&mut self, bytes: Bytes) {
        if self.incoming.disk.seen().low.is_some() {
            return self.refuse(Refused { reply: replies::FULL, reason: "the disk is nearly full".to_owned() });
        }
        let (gathered, file, incoming) = (self.gathered.take(), self.file.take(), self.incoming.clone());
        let len = (gathered.len() + bytes.len()) as u64;
        let write = move || {
            let mut file = file.map_or_else(|| incoming.file(), Ok)?;
            file.write_all(&gathered)?;
            file.write_all(&bytes)?;
            Ok(file)
        };
        let written = tokio::task::spawn_blocking(write).await.map_err(io::Error::other);
        self.share.give_back();
        match written.flatten() {
            Ok(file) => {
                self.file = Some(file);
                self.written += len;
                self.waiting.add(len);
            }
            Err(error) => self.refuse(Refused::by(&error)),
        }
    }

    /// What was taken so far is of no more use: others need the room.
    fn refuse(&mut self, refused: Refused) {
        (self.gathered, self.file, self.waiting) = (Gathered::default(), None, self.incoming.disk.waiting());
        self.share.give_back();
        self.refused = Some(refused);
    }
}

impl Refused {
    fn by(error: &io::Error) -> Self {
        let reply = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => replies::FULL,
            _ => replies::UNHEALTHY,
        };
        Self { reply, reason: format!("the incoming file: {error}") }
    }
}

impl Gathered {
    fn len(&self) -> u64 {
        (self.first.len() + self.rest.len()) as u64
    }

    fn take(&mut self) -> Bytes {
        let Self { first, rest } = std::mem::take(self);
        if rest.is_empty() { first } else { rest.into() }
    }

    /// Most mails come in one piece. A small one is copied, so that it doesn't keep the whole read buffer alive.
    fn push(&mut self, bytes: Bytes, most: u64) {
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = if bytes.len() < SMALL { Bytes::copy_from_slice(&bytes) } else { bytes };
            return;
        }
        let capacity = self.capacity_with(&bytes, most);
        self.rest.reserve_exact(capacity - self.rest.len());
        self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        self.rest.extend_from_slice(&bytes);
    }

    /// What more is taken of memory by pushing these, in bytes: all that is reserved counts.
    fn growth(&self, bytes: &[u8], most: u64) -> u64 {
        let now = self.first.len() + self.rest.capacity();
        (self.capacity_with(bytes, most).saturating_sub(now)) as u64
    }

    /// Twice as much as before where it does not fit, so that nothing is copied often; no more than `most`.
    fn capacity_with(&self, bytes: &[u8], most: u64) -> usize {
        let needed = self.first.len() + self.rest.len() + bytes.len();
        if self.first.is_empty() && self.rest.is_empty() || needed <= self.rest.capacity() {
            return needed.max(self.rest.capacity());
        }
        let twice = (2 * self.rest.capacity()).min(usize::try_from(most).unwrap_or(usize::MAX));
        needed.max(twice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::{Disk, Watermarks},
        memory::Budget,
    };

    fn incoming(threshold: u64, budget: &Arc<Budget>) -> (tempfile::TempDir, Arc<Incoming>) {
        let home = tempfile::tempdir().unwrap();
        let disk = Disk::new(home.path().to_owned(), Watermarks { space: 1000, inodes: 0 });
        let incoming = Incoming::open(home.path(), threshold, budget.clone(), disk).unwrap();
        (home, incoming)
    }

    fn domain() -> Domain {
        "example.org".parse().unwrap()
    }

    #[tokio::test]
    async fn data_of_any_size_cut_anyhow_comes_out_as_it_went_in() {
        let mut random = fastrand::Rng::with_seed(3);
        let budget = Budget::new(8 << 20);
        let (_home, incoming) = incoming(40_000, &budget);
        for size in [0, 1, 39_999, 40_000, 40_001, 200_000, 1_000_000] {
            let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(size).collect();
            let (mut data, mut rest) = (incoming.begin(), &bytes[..]);
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(random.usize(1..=rest.len().min(50_000)));
                data.push(Bytes::copy_from_slice(piece)).await;
                rest = after;
                assert!(budget.used() <= 40_000, "{}", budget.used());
            }
            assert_eq!((data.len(), data.file.is_some()), (size as u64, size > 40_000));
            let received = data.finish(&domain()).await.unwrap();
            assert!(received.content.to_bytes() == bytes);
            assert_eq!(budget.read_back.used() > 0, size > 40_000);
            drop(received);
            assert_eq!((budget.used(), budget.read_back.used()), (0, 0));
        }
    }

    #[test]
    fn all_that_is_reserved_is_counted() {
        let (mut gathered, mut counted, mut random) = (Gathered::default(), 0, fastrand::Rng::with_seed(5));
        while gathered.len() < 39_000 {
            let bytes = Bytes::from(vec![b'x'; random.usize(1..1000)]);
            counted += gathered.growth(&bytes, 40_000);
            gathered.push(bytes, 40_000);
            let taken = gathered.first.len() + gathered.rest.capacity();
            assert_eq!(counted, taken as u64);
            assert!(taken <= 40_000);
        }
    }

    #[tokio::test]
    async fn mail_that_finds_no_memory_goes_to_its_file_and_loses_nothing() {
        let budget = Budget::new(200_000);
        let (_home, incoming) = incoming(90_000, &budget);
        let mut others = budget.share();
        assert!(others.grow(49_000));
        let mut data = incoming.begin();
        data.push(Bytes::from(vec![b'a'; 20_000])).await;
        assert!(data.file.is_none());
        data.push(Bytes::from(vec![b'b'; 10_000])).await;
        assert!(data.file.is_some(), "memory is short");
        assert_eq!(budget.used(), 49_000);
        assert!(others.grow(50_990));
        data.push(Bytes::from(vec![b'c'; 100])).await;
        assert_eq!((data.len(), data.written), (30_100, 30_100));
        let content = data.finish(&domain()).await.unwrap().content;
        assert_eq!((content.len(), content.read(29_999, 2)), (30_100, b"bc".to_vec()));
    }

    #[tokio::test]
    async fn a_mail_that_waits_too_long_for_its_turn_is_put_off() {
        let budget = Budget::new(8 << 20);
        let (_home, incoming) = incoming(10, &budget);
        let _taken = budget.read_back.room(&"other.example".parse().unwrap(), 4 << 20).await.unwrap();
        let mut data = incoming.begin();
        data.push(Bytes::from_static(b"A: 1\r\n\r\nbody\r\n")).await;
        let refused = data.finish_within(&domain(), Duration::ZERO).await.err().unwrap();
        assert_eq!(refused.reply, replies::TOO_BUSY);
    }

    #[tokio::test]
    async fn mail_under_way_stops_when_the_disk_gets_nearly_full_and_gives_its_file_back() {
        let budget = Budget::new(8 << 20);
        let (_home, incoming) = incoming(10, &budget);
        incoming.disk.pretend(1150);
        let mut data = incoming.begin();
        data.push(Bytes::from(vec![b'x'; 100])).await;
        assert!(data.file.is_some() && data.refused.is_none());
        data.push(Bytes::from(vec![b'x'; 100])).await;
        data.push(Bytes::from(vec![b'x'; 100])).await;
        assert!(data.file.is_none(), "below the mark nothing is written");
        assert_eq!((data.written, budget.used()), (200, 0));
        incoming.disk.pretend(2000);
        assert!(incoming.disk.has_room_for(500), "nothing of it waits any more");
        assert_eq!(data.finish(&domain()).await.err().unwrap().reply, replies::FULL);
    }

    #[tokio::test]
    async fn a_mail_that_was_read_back_keeps_its_room_when_it_is_altered() {
        let budget = Budget::new(8 << 20);
        let (_home, incoming) = incoming(10, &budget);
        let mut data = incoming.begin();
        data.push(Bytes::from(vec![b'x'; 100 << 10])).await;
        let Received { content, share, turn } = data.finish(&domain()).await.unwrap();
        let altered = Content::new(content.to_bytes().to_vec().into());
        drop(content);
        assert!(share.is_none() && altered.len() == 100 << 10);
        assert_eq!(budget.read_back.used(), 101 << 10);
        drop(turn);
        assert_eq!(budget.read_back.used(), 0);
    }

    #[tokio::test]
    async fn a_mail_that_cannot_be_written_is_told_so_at_its_end() {
        let budget = Budget::new(8 << 20);
        let (home, incoming) = incoming(10, &budget);
        drop(home);
        let mut data = incoming.begin();
        for _ in 0..3 {
            data.push(Bytes::from(vec![b'x'; 100])).await;
        }
        assert_eq!(budget.used(), 0);
        assert_eq!(data.finish(&domain()).await.err().unwrap().reply, replies::UNHEALTHY);
        assert_eq!(Refused::by(&io::ErrorKind::StorageFull.into()).reply, replies::FULL);
    }
}
