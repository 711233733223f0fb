//! The real medium: a directory with a SQLite database and segment files.

use super::lock::{self, Lock};
use super::segment::{self, Appender};
use super::sync::Syncer;
use super::{
    Change, Location, Medium, Opened, Record, Scanned, Seq, SpaceUse, Store, StoreError, Value, records, schema,
};
use crate::model::OpenError;
use crate::shared;
use mail::{Content, MailId, OpenContent, Timestamp};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{fs, io};

pub(crate) struct Disk {
    dir: PathBuf,
    segment_size: u64,
    lock: Mutex<Option<Lock>>,
    /// For records and for plugin state, so that neither waits for the other. Opened when first needed.
    readers: [Mutex<Option<Connection>>; 2],
}

const RECORDS: usize = 0;
const VALUES: usize = 1;
/// The database may grow by as much as a WAL that is due for a checkpoint, and the WAL by as much again.
const BALLAST: usize = 8 << 20;
/// Room for a body and its record, in bytes, that ends the state of being full.
const TRIAL: usize = 1 << 20;
/// Groups until it is tried for again.
const BALLAST_AGAIN: u32 = 100;
/// In pages of 4 KiB: 4 MiB.
const CHECKPOINT_AT: i64 = 1024;
/// Groups between looks at the WAL's length.
const LOOK_EVERY: u32 = 16;

impl Disk {
    pub(crate) fn new(dir: &Path, segment_size: u32) -> Self {
        let (lock, readers) = (Mutex::new(None), [Mutex::new(None), Mutex::new(None)]);
        Self { dir: dir.to_owned(), segment_size: segment_size.into(), lock, readers }
    }

    fn database(&self) -> PathBuf {
        self.dir.join("queue.sqlite")
    }
    fn segments_dir(&self) -> PathBuf {
        self.dir.join("segments")
    }
    fn ballast(&self) -> PathBuf {
        self.dir.join("ballast")
    }

    fn read<T>(&self, reader: usize, with: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let Some(slot) = self.readers.get(reader) else { return Err(StoreError::Failed("no such reader".into())) };
        let mut slot = shared::lock(slot);
        let connection = match slot.take() {
            Some(connection) => connection,
            None => self.open_reader().map_err(failed)?,
        };
        let result = with(&connection);
        // A connection that failed is not used again.
        if result.is_ok() {
            *slot = Some(connection);
        }
        result.map_err(failed)
    }

    fn open_reader(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.database(), flags)?;
        connection.execute_batch("PRAGMA query_only = ON; PRAGMA mmap_size = 0; PRAGMA cache_size = -8192;")?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(connection)
    }

    /// Opens, checks and, where it is new, creates the database. Ok(Err) is a version that we don't know.
    fn check_database(&self) -> rusqlite::Result<Result<(), i64>> {
        let connection = Connection::open(self.database())?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        match schema::version(&connection)? {
            0 => {
                schema::configure(&connection)?;
                schema::create(&connection)?;
            }
            schema::VERSION => {
                schema::configure(&connection)?;
                records::scan(&connection, &mut |_| ())?;
                records::spaces(&connection)?;
            }
            newer => return Ok(Err(newer)),
        }
        Ok(Ok(()))
    }

    /// Moves an unreadable database and all segments out of the way; nothing is deleted.
    fn set_aside(&self) -> io::Result<PathBuf> {
        let free = |n: &u32| !self.dir.join(format!("set-aside-{n}")).exists();
        let number = (1..).find(free).unwrap_or(u32::MAX);
        let aside = self.dir.join(format!("set-aside-{number}"));
        fs::create_dir(&aside)?;
        for name in ["queue.sqlite", "queue.sqlite-wal", "queue.sqlite-shm", "segments"] {
            match fs::rename(self.dir.join(name), aside.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        segment::sync_dir(&self.dir)?;
        Ok(aside)
    }

    fn prepare_files(&self) -> Result<Opened, OpenError> {
        let io = |source| OpenError::Io { dir: self.dir.clone(), source };
        let store = |error: rusqlite::Error| OpenError::Store { dir: self.dir.clone(), reason: error.to_string() };
        let mut set_aside = None;
        let checked = match self.check_database() {
            Err(error) if is_corrupt(&error) => {
                let aside = self.set_aside().map_err(io)?;
                tracing::error!(%error, moved_to = %aside.display(), "database unreadable: starting with an empty queue");
                set_aside = Some(aside);
                self.check_database()
            }
            checked => checked,
        };
        if let Err(found) = checked.map_err(store)? {
            return Err(OpenError::Newer { dir: self.dir.clone(), found, known: schema::VERSION });
        }
        fs::create_dir_all(self.segments_dir()).map_err(io)?;
        segment::sync_dir(&self.dir).map_err(io)?;
        Ok(Opened { set_aside })
    }
}

impl Medium for Disk {
    fn prepare(&self) -> Result<Opened, OpenError> {
        let io = |source| OpenError::Io { dir: self.dir.clone(), source };
        fs::create_dir_all(&self.dir).map_err(io)?;
        if let Some(parent) = self.dir.canonicalize().map_err(io)?.parent() {
            segment::sync_dir(parent).map_err(io)?;
        }
        *shared::lock(&self.lock) = Some(lock::acquire(&self.dir)?);
        self.prepare_files()
    }

    fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        for reader in &self.readers {
            shared::lock(reader).take();
        }
        let db = Connection::open(self.database()).map_err(failed)?;
        schema::configure(&db).map_err(failed)?;
        let last = segment::list(&self.segments_dir()).map_err(io_failed)?.last().map_or(0, |(number, _)| *number);
        let store = DiskStore {
            db,
            segments_dir: self.segments_dir(),
            ballast: self.ballast(),
            segment_size: self.segment_size,
            next_segment: last + 1,
            appender: None,
            group_start: None,
            syncer: Syncer::start().map_err(io_failed)?,
            syncing: 0,
            no_ballast_before: 0,
            groups: 0,
        };
        Ok(Box::new(store))
    }

    fn scan(&self, visit: &mut dyn FnMut(Scanned)) -> Result<(), StoreError> {
        self.read(RECORDS, |db| records::scan(db, visit))
    }
    fn records(&self, seqs: &[Seq]) -> Result<Vec<Record>, StoreError> {
        self.read(RECORDS, |db| records::records(db, seqs))
    }
    fn body(&self, at: Location, id: MailId) -> io::Result<Content> {
        segment::read(&self.segments_dir(), at, id)
    }
    fn open_body(&self, at: Location, id: MailId) -> io::Result<Arc<dyn OpenContent>> {
        Ok(Arc::new(segment::open(&self.segments_dir(), at, id)?))
    }
    fn segments(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        segment::list(&self.segments_dir()).map_err(io_failed)
    }
    fn value(&self, space: &str, key: &str) -> Result<Option<Value>, StoreError> {
        self.read(VALUES, |db| records::value(db, space, key))
    }
    fn values(&self, space: &str, prefix: &str) -> Result<Vec<(String, Value)>, StoreError> {
        self.read(VALUES, |db| records::values(db, space, prefix))
    }
    fn spaces(&self) -> Result<Vec<SpaceUse>, StoreError> {
        self.read(VALUES, records::spaces)
    }
    fn expired(&self, now: Timestamp, limit: usize) -> Result<Vec<(Arc<str>, String)>, StoreError> {
        self.read(VALUES, |db| records::expired(db, now, limit))
    }
}

struct DiskStore {
    db: Connection,
    segments_dir: PathBuf,
    ballast: PathBuf,
    segment_size: u64,
    next_segment: u32,
    appender: Option<Appender>,
    /// Where the group's bodies begin, while nothing of it is durable: segment and offset.
    group_start: Option<(u32, u64)>,
    syncer: Syncer,
    /// Answers that the syncer owes.
    syncing: usize,
    /// Groups to wait until the ballast is tried for again.
    no_ballast_before: u32,
    groups: u32,
}

impl DiskStore {
    fn append_here(&mut self, id: MailId, content: &Content) -> io::Result<Location> {
        let full = self.appender.as_ref().is_some_and(|a| a.end() >= self.segment_size);
        if full && let Some(mut sealed) = self.appender.take() {
            sealed.write_out()?;
            self.sync_in_background(&sealed)?;
            self.group_start = None;
        }
        let appender = match &mut self.appender {
            Some(appender) => appender,
            none => {
                let appender = Appender::create(&self.segments_dir, self.next_segment)?;
                self.next_segment += 1;
                none.insert(appender)
            }
        };
        self.group_start.get_or_insert((appender.number, appender.end()));
        appender.append(id, content)
    }

    fn sync_in_background(&mut self, appender: &Appender) -> io::Result<()> {
        let dir = (!appender.name_is_durable).then(|| self.segments_dir.clone());
        self.syncer.start_sync(appender.file(), dir)?;
        self.syncing += 1;
        Ok(())
    }

    /// Takes back what this group has appended to the current segment.
    fn rewind(&mut self) -> Result<(), StoreError> {
        let Some((number, end)) = self.group_start.take() else { return Ok(()) };
        match &mut self.appender {
            Some(appender) if appender.number == number => appender.rewind(end).map_err(io_failed),
            _ => Ok(()),
        }
    }
}

impl Store for DiskStore {
    fn append(&mut self, id: MailId, content: &Content) -> Result<Location, StoreError> {
        self.append_here(id, content).map_err(io_failed)
    }

    fn start_sync(&mut self) -> Result<(), StoreError> {
        let Some(mut appender) = self.appender.take() else { return Ok(()) };
        let started = match self.group_start {
            None => Ok(()),
            Some(_) => appender.write_out().and_then(|()| self.sync_in_background(&appender)),
        };
        self.appender = Some(appender);
        started.map_err(io_failed)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let write = || -> rusqlite::Result<()> {
            self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            for change in changes {
                records::apply(&self.db, change)?;
            }
            self.db.prepare_cached("COMMIT")?.execute([]).map(|_| ())
        };
        let Err(error) = write() else {
            self.group_start = None;
            return Ok(());
        };
        // SQLite reports a full disk before the commit is written; once rolled back, nothing has happened.
        let rolled_back = self.db.is_autocommit() || self.db.execute_batch("ROLLBACK").is_ok();
        Err(if rolled_back { failed(error) } else { StoreError::Failed(error.to_string()) })
    }

    fn finish_sync(&mut self) -> Result<(), StoreError> {
        let mut result = Ok(());
        let current_synced = self.syncing > 0;
        while self.syncing > 0 {
            self.syncing -= 1;
            result = result.and(self.syncer.wait());
        }
        if result.is_ok()
            && let Some(appender) = &mut self.appender
        {
            appender.name_is_durable |= current_synced;
        }
        // A full disk that shows only now has left pages in an unknown state: not a clean "full".
        result.map_err(|error| StoreError::Failed(error.to_string()))
    }

    fn current_segment(&self) -> Option<u32> {
        self.appender.as_ref().map(|appender| appender.number)
    }

    fn remove_segment(&mut self, number: u32) -> Result<(), StoreError> {
        match fs::remove_file(segment::path(&self.segments_dir, number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_failed(error)),
            _ => Ok(()),
        }
    }

    fn make_room(&mut self) -> bool {
        self.no_ballast_before = BALLAST_AGAIN;
        let gained = fs::remove_file(&self.ballast).is_ok();
        // Once its pages are in the database, the WAL is written from its beginning again and needs no room.
        if let Err(error) = checkpoint(&self.db, "PASSIVE") {
            tracing::warn!(%error, "no checkpoint on the full disk");
        }
        gained
    }

    fn has_room(&mut self) -> bool {
        let path = self.ballast.with_extension("trial");
        let reserved = segment::reserve(&path, TRIAL).is_ok();
        // A file that cannot be removed keeps what it has reserved.
        fs::remove_file(&path).is_ok() && reserved
    }

    fn undo_appends(&mut self) -> Result<(), StoreError> {
        self.rewind()
    }

    fn tidy(&mut self) -> Result<(), StoreError> {
        self.groups = self.groups.wrapping_add(1);
        if self.groups.is_multiple_of(LOOK_EVERY) && checkpoint(&self.db, "NOOP").map_err(failed)? > CHECKPOINT_AT {
            checkpoint(&self.db, "PASSIVE").map_err(failed)?;
        }
        self.no_ballast_before = self.no_ballast_before.saturating_sub(1);
        if self.no_ballast_before == 0 && !self.ballast.exists() && segment::reserve(&self.ballast, BALLAST).is_err() {
            let _ = fs::remove_file(&self.ballast);
            self.no_ballast_before = BALLAST_AGAIN;
        }
        Ok(())
    }

    fn close(self: Box<Self>) {
        if let Err(error) = checkpoint(&self.db, "TRUNCATE") {
            tracing::warn!(%error, "no final checkpoint: the next start reads the WAL");
        }
    }
}

/// Returns how long the WAL is, in pages. `NOOP` only looks.
fn checkpoint(db: &Connection, mode: &str) -> rusqlite::Result<i64> {
    db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(1))
}

fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::Failed(error.to_string()),
    }
}

fn io_failed(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Failed(error.to_string()),
    }
}
