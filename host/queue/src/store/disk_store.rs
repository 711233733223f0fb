//! The writing side of the real medium: one database connection, one growing segment.

use super::disk::Paths;
use super::segment::{self, Appender};
use super::sync::Syncer;
use super::{Change, Location, Store, StoreError, records, schema};
use crate::fail_point::{self, FailPoint};
use mail::{Content, MailId};
use rusqlite::{Connection, ErrorCode};
use std::path::PathBuf;
use std::{fs, io};

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

pub(super) struct DiskStore {
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
    /// For `dir`, whose database is there; bodies go to a segment behind all others.
    pub(super) fn open(paths: &Paths, segment_size: u64) -> Result<Self, StoreError> {
        let db = Connection::open(paths.database()).map_err(failed)?;
        schema::configure(&db).map_err(failed)?;
        let segments_dir = paths.segments();
        let last = segment::list(&segments_dir).map_err(io_failed)?.last().map_or(0, |(number, _)| *number);
        Ok(Self {
            db,
            segments_dir,
            ballast: paths.ballast(),
            segment_size,
            next_segment: last + 1,
            appender: None,
            group_start: None,
            syncer: Syncer::start().map_err(io_failed)?,
            syncing: 0,
            no_ballast_before: 0,
            groups: 0,
        })
    }

    fn reserve_ballast(&mut self) {
        match segment::reserve(&self.ballast, BALLAST) {
            Ok(()) => fail_point::reached(FailPoint::BallastMade),
            Err(_) => {
                let _ = fs::remove_file(&self.ballast);
                self.no_ballast_before = BALLAST_AGAIN;
            }
        }
    }

    fn append_here(&mut self, id: MailId, content: &Content) -> io::Result<Location> {
        let full = self.appender.as_ref().is_some_and(|a| a.end() >= self.segment_size);
        if full && let Some(mut sealed) = self.appender.take() {
            sealed.write_out()?;
            self.sync_in_background(&sealed)?;
            fail_point::reached(FailPoint::SegmentSealed);
            self.group_start = None;
        }
        let appender = match &mut self.appender {
            Some(appender) => appender,
            none => {
                let appender = Appender::create(&self.segments_dir, self.next_segment)?;
                fail_point::may_fail(FailPoint::SegmentCreated)?;
                self.next_segment += 1;
                none.insert(appender)
            }
        };
        self.group_start.get_or_insert((appender.number, appender.end()));
        let at = appender.append(id, content)?;
        fail_point::may_fail(FailPoint::BodyAppended)?;
        Ok(at)
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
            Some(_) => appender
                .write_out()
                .and_then(|()| fail_point::may_fail(FailPoint::BodiesWritten))
                .and_then(|()| self.sync_in_background(&appender)),
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
            fail_point::may_fail(FailPoint::Committing).map_err(as_sqlite)?;
            self.db.prepare_cached("COMMIT")?.execute([]).map(|_| ())
        };
        let Err(error) = write() else {
            fail_point::reached(FailPoint::Committed);
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
        if gained {
            fail_point::reached(FailPoint::BallastGivenUp);
        }
        // Once its pages are in the database, the WAL is written from its beginning again and needs no room.
        if let Err(error) = checkpoint(&self.db, "PASSIVE") {
            tracing::warn!(%error, "no checkpoint on the full disk");
        }
        gained
    }

    fn has_room(&mut self) -> bool {
        let path = self.ballast.with_extension("trial");
        let reserved = segment::reserve(&path, TRIAL).is_ok();
        fail_point::reached(FailPoint::Trial);
        // A file that cannot be removed keeps what it has reserved.
        fs::remove_file(&path).is_ok() && reserved
    }

    fn undo_appends(&mut self) -> Result<(), StoreError> {
        self.rewind()
    }

    fn tidy(&mut self) -> Result<(), StoreError> {
        self.groups = self.groups.wrapping_add(1);
        if self.groups.is_multiple_of(LOOK_EVERY) && checkpoint(&self.db, "NOOP").map_err(failed)? > CHECKPOINT_AT {
            fail_point::reached(FailPoint::Checkpointing);
            checkpoint(&self.db, "PASSIVE").map_err(failed)?;
            fail_point::reached(FailPoint::Checkpointed);
        }
        self.no_ballast_before = self.no_ballast_before.saturating_sub(1);
        if self.no_ballast_before == 0 && !self.ballast.exists() {
            self.reserve_ballast();
        }
        Ok(())
    }

    fn close(self: Box<Self>) {
        fail_point::reached(FailPoint::Closing);
        if let Err(error) = checkpoint(&self.db, "TRUNCATE") {
            tracing::warn!(%error, "no final checkpoint: the next start reads the WAL");
        }
        fail_point::reached(FailPoint::Closed);
    }
}

/// Returns how long the WAL is, in pages. `NOOP` only looks.
fn checkpoint(db: &Connection, mode: &str) -> rusqlite::Result<i64> {
    db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(1))
}

pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::Failed(error.to_string()),
    }
}

pub(super) fn io_failed(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Failed(error.to_string()),
    }
}

/// As the database would say it.
fn as_sqlite(error: io::Error) -> rusqlite::Error {
    let code = match io_failed(error) {
        StoreError::Full => rusqlite::ffi::SQLITE_FULL,
        StoreError::Failed(_) => rusqlite::ffi::SQLITE_IOERR,
    };
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
}
