//! The tables, and which versions of them are understood.

use rusqlite::Connection;

pub(super) const VERSION: i64 = 1;

const CREATE: &str = "
BEGIN IMMEDIATE;
CREATE TABLE mail (
  seq INTEGER PRIMARY KEY,
  id BLOB NOT NULL,
  domain TEXT NOT NULL,
  received INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  recipients INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  length INTEGER NOT NULL,
  envelope TEXT NOT NULL,
  attributes TEXT
) STRICT;
CREATE TABLE recipient (
  mail INTEGER NOT NULL,
  idx INTEGER NOT NULL,
  state INTEGER NOT NULL,
  due INTEGER NOT NULL,
  waiting_for TEXT,
  details TEXT NOT NULL,
  PRIMARY KEY (mail, idx)
) STRICT, WITHOUT ROWID;
CREATE TABLE kv (
  space TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  expires INTEGER,
  PRIMARY KEY (space, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX kv_expires ON kv (expires) WHERE expires IS NOT NULL;
PRAGMA user_version = 1;
COMMIT;";

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// A database of version 0 is a new one.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(CREATE)
}

/// For each connection that writes.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // Checkpoints are ours to make, between groups. The WAL is left as long as it once was, so that
    // deliveries can be recorded on a full disk.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
         PRAGMA mmap_size = 0; PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = -1;",
    )?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.busy_timeout(std::time::Duration::from_secs(5))
}
