//! The journal's file: opened, made, or set aside where nobody can read it.

use rusqlite::{Connection, OpenFlags};
use std::{io, path::Path, time::Duration};

const VERSION: i64 = 1;
/// A reader holds no lock for longer.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
CREATE TABLE steps (seq INTEGER PRIMARY KEY, id BLOB NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX steps_id ON steps (id);
CREATE TABLE addresses (seq INTEGER PRIMARY KEY, role INTEGER NOT NULL, address TEXT NOT NULL, id BLOB NOT NULL);
CREATE INDEX addresses_address ON addresses (address, role);
CREATE TABLE shadow (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, id BLOB NOT NULL, domain TEXT NOT NULL,
  plugin TEXT NOT NULL, hook TEXT NOT NULL, would TEXT NOT NULL, did TEXT NOT NULL);
";

/// `role` of an address.
pub const SENDER: i64 = 0;
pub const RECIPIENT: i64 = 1;

/// Its content is moved aside: it holds no mail. No connection may be open, which would take the next file's log with
/// it as it closes.
pub fn set_aside(path: &Path, error: &rusqlite::Error) -> io::Result<()> {
    let aside = path.with_extension("sqlite.damaged");
    tracing::warn!(%error, aside = %aside.display(), "the journal cannot be read: set aside, a new one is made");
    let moved = std::fs::rename(path, &aside);
    for ending in ["sqlite-wal", "sqlite-shm"] {
        let _ = std::fs::remove_file(path.with_extension(ending));
    }
    moved
}

/// Made where there is none.
pub fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    // A power failure may cost the journal, never a mail: nothing here waits for the disk.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        connection.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"))?;
    } else if version != VERSION {
        return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB), None));
    }
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Beside a gateway that writes, or after one that has ended.
pub fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

pub fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}
