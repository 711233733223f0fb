//! The real medium: a directory with a SQLite database and segment files.
//!
//! Decides which database can be used: a newer one is refused, a damaged one is set aside and what is sound taken over.

use super::disk_store::{DiskStore, failed, io_failed};
use super::lock::{self, Lock};
use super::{Location, Medium, Opened, Record, Scanned, Seq, SpaceUse, Store, StoreError, Value};
use super::{records, schema, segment, set_aside, wal};
use crate::fail_point::{self, FailPoint};
use crate::model::OpenError;
use crate::shared;
use mail::{Content, MailId, OpenContent, Timestamp};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use set_aside::SetAsideError;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::{fs, io};

pub(crate) struct Disk {
    paths: Paths,
    segment_size: u64,
    lock: Mutex<Option<Lock>>,
    /// Open for writing before: what fails since may have been damaged since.
    was_open: AtomicBool,
    /// For records and for plugin state, so that neither waits for the other. Opened when first needed.
    readers: [Mutex<Option<Connection>>; 2],
}

/// Where things are in the directory.
pub(super) struct Paths(PathBuf);

/// What a database turned out to be.
enum Checked {
    Sound,
    Newer(i64),
    Damaged(String),
}

const RECORDS: usize = 0;
const VALUES: usize = 1;
/// A database of up to so many bytes is looked through page by page at each start.
const CHECKED_WHOLE: u64 = 64 << 20;

impl Paths {
    fn dir(&self) -> &Path {
        &self.0
    }
    pub(super) fn database(&self) -> PathBuf {
        self.0.join("queue.sqlite")
    }
    fn log(&self) -> PathBuf {
        self.0.join("queue.sqlite-wal")
    }
    pub(super) fn segments(&self) -> PathBuf {
        self.0.join("segments")
    }
    pub(super) fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Disk {
    pub(crate) fn new(dir: &Path, segment_size: u32) -> Self {
        let (lock, readers) = (Mutex::new(None), [Mutex::new(None), Mutex::new(None)]);
        let was_open = AtomicBool::new(false);
        Self { paths: Paths(dir.to_owned()), segment_size: segment_size.into(), lock, was_open, readers }
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

    fn close_readers(&self) {
        for reader in &self.readers {
            shared::lock(reader).take();
        }
    }

    fn open_reader(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.paths.database(), flags)?;
        connection.execute_batch(
            "PRAGMA query_only = ON; PRAGMA mmap_size = 0; PRAGMA cache_size = -8192; PRAGMA cell_size_check = ON;",
        )?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(connection)
    }

    /// Opens and checks; creates where it is new, brings to the present version where it is old.
    fn check_database(&self) -> rusqlite::Result<Checked> {
        let checked = self.try_database();
        match checked {
            Err(error) if is_damage(&error) => Ok(Checked::Damaged(error.to_string())),
            checked => checked,
        }
    }

    fn try_database(&self) -> rusqlite::Result<Checked> {
        let connection = Connection::open(self.paths.database())?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        match schema::version(&connection)? {
            // A database comes before the first segment: one that knows nothing of them is not new, it is lost.
            0 if segment::list(&self.paths.segments()).is_ok_and(|found| found.iter().any(|(_, size)| *size > 0)) => {
                return Ok(Checked::Damaged("it is empty, and there are segments".to_owned()));
            }
            0 => {
                schema::configure(&connection)?;
                schema::create(&connection)?;
                fail_point::reached(FailPoint::DatabaseCreated);
                return Ok(Checked::Sound);
            }
            1 => {
                schema::configure(&connection)?;
                schema::migrate(&connection)?;
                fail_point::reached(FailPoint::Migrated);
            }
            schema::VERSION => schema::configure(&connection)?,
            newer => return Ok(Checked::Newer(newer)),
        }
        self.look_through(&connection)
    }

    fn look_through(&self, connection: &Connection) -> rusqlite::Result<Checked> {
        // A wrong bit in the head may leave it readable only.
        connection.execute_batch("BEGIN IMMEDIATE; PRAGMA user_version = 2; ROLLBACK")?;
        let size = fs::metadata(self.paths.database()).map_or(0, |file| file.len());
        if size <= CHECKED_WHOLE {
            let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if found != "ok" {
                return Ok(Checked::Damaged(found));
            }
        }
        let mut damaged = None;
        records::scan(connection, &mut |scanned| {
            if let Scanned::Damaged { seq, why } = scanned {
                damaged.get_or_insert(format!("record {seq}: {why}"));
            }
        })?;
        records::spaces(connection)?;
        Ok(damaged.map_or(Checked::Sound, Checked::Damaged))
    }

    /// What is damaged is set aside, and the rest looked at once more.
    fn check_files(&self) -> Result<(Checked, Opened), SetAsideError> {
        set_aside::finish(self.paths.dir())?;
        let mut opened = Opened::default();
        if let Some(why) = wal::damage(&self.paths.log())? {
            let kept = set_aside::keep_copy(self.paths.dir())?;
            tracing::error!(why, kept = %kept.display(), "database log damaged: what came behind it is not delivered");
            opened.set_aside = Some(kept);
        }
        let checked = self.check_database()?;
        let Checked::Damaged(why) = checked else { return Ok((checked, opened)) };
        tracing::error!(why, "database damaged: it is set aside, and what is sound is taken over");
        let (moved, salvaged) = set_aside::set_aside(self.paths.dir())?;
        tracing::error!(
            mails = salvaged.mails,
            held = salvaged.held,
            values = salvaged.values,
            left = salvaged.left,
            moved_to = %moved.display(),
            "database set aside"
        );
        let damaged = salvaged.left + salvaged.held;
        Ok((self.check_database()?, Opened { set_aside: Some(moved), damaged }))
    }

    fn prepare_files(&self) -> Result<Opened, OpenError> {
        let io = |source| OpenError::Io { dir: self.paths.dir().to_owned(), source };
        let store = |reason: String| OpenError::Store { dir: self.paths.dir().to_owned(), reason };
        let (checked, opened) = self.check_files().map_err(|error| match error {
            SetAsideError::Io(error) => io(error),
            SetAsideError::Database(error) => store(error.to_string()),
        })?;
        match checked {
            Checked::Sound => {}
            Checked::Newer(found) => {
                let dir = self.paths.dir().to_owned();
                return Err(OpenError::Newer { dir, found, known: schema::VERSION });
            }
            Checked::Damaged(why) => return Err(store(why)),
        }
        fs::create_dir_all(self.paths.segments()).map_err(io)?;
        segment::sync_dir(self.paths.dir()).map_err(io)?;
        Ok(opened)
    }
}

impl Medium for Disk {
    fn prepare(&self) -> Result<Opened, OpenError> {
        let dir = self.paths.dir();
        let io = |source| OpenError::Io { dir: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(io)?;
        if let Some(parent) = dir.canonicalize().map_err(io)?.parent() {
            segment::sync_dir(parent).map_err(io)?;
        }
        *shared::lock(&self.lock) = Some(lock::acquire(dir)?);
        fail_point::reached(FailPoint::Locked);
        self.prepare_files()
    }

    fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        self.close_readers();
        if self.was_open.swap(true, Ordering::SeqCst) {
            let prepared = self.prepare_files();
            // One that was opened meanwhile may have another database than the one that is there now.
            self.close_readers();
            prepared.map_err(|error| StoreError::Failed(error.to_string()))?;
        }
        let store = DiskStore::open(&self.paths, self.segment_size)?;
        fail_point::may_fail(FailPoint::Opened).map_err(io_failed)?;
        Ok(Box::new(store))
    }

    fn scan(&self, visit: &mut dyn FnMut(Scanned)) -> Result<(), StoreError> {
        self.read(RECORDS, |db| records::scan(db, visit))
    }
    fn records(&self, seqs: &[Seq]) -> Result<Vec<Record>, StoreError> {
        self.read(RECORDS, |db| records::records(db, seqs))
    }
    fn body(&self, at: Location, id: MailId) -> io::Result<Content> {
        segment::read(&self.paths.segments(), at, id)
    }
    fn open_body(&self, at: Location, id: MailId) -> io::Result<Arc<dyn OpenContent>> {
        Ok(Arc::new(segment::open(&self.paths.segments(), at, id)?))
    }
    fn segments(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        segment::list(&self.paths.segments()).map_err(io_failed)
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

/// What another look doesn't change: not a disk that fails, is full, or is somebody else's.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(code) => matches!(
            code,
            ErrorCode::NotADatabase
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::ReadOnly
                | ErrorCode::SchemaChanged
                | ErrorCode::Unknown
        ),
        // A value of the wrong kind.
        None => true,
    }
}
