//! The tables, and which versions of them are understood.

use crate::fail_point::{self, FailPoint};
use rusqlite::Connection;

pub(super) const VERSION: i64 = 2;

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
  attributes TEXT,
  crc INTEGER,
  place_crc INTEGER,
  attributes_crc INTEGER
) STRICT;
CREATE TABLE recipient (
  mail INTEGER NOT NULL,
  idx INTEGER NOT NULL,
  state INTEGER NOT NULL,
  due INTEGER NOT NULL,
  waiting_for TEXT,
  details TEXT NOT NULL,
  crc INTEGER,
  PRIMARY KEY (mail, idx)
) STRICT, WITHOUT ROWID;
CREATE TABLE kv (
  space TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  expires INTEGER,
  crc INTEGER,
  PRIMARY KEY (space, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX kv_expires ON kv (expires) WHERE expires IS NOT NULL;
PRAGMA user_version = 2;
COMMIT;";

/// Touches no row: those that are there have no checksums until they are written again.
const FROM_1: &str = "
BEGIN IMMEDIATE;
ALTER TABLE mail ADD COLUMN crc INTEGER;
ALTER TABLE mail ADD COLUMN place_crc INTEGER;
ALTER TABLE mail ADD COLUMN attributes_crc INTEGER;
ALTER TABLE recipient ADD COLUMN crc INTEGER;
ALTER TABLE kv ADD COLUMN crc INTEGER;
PRAGMA user_version = 2;";

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// A database of version 0 is a new one.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(CREATE)
}

/// From version 1; all of it or nothing.
pub(super) fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(FROM_1)?;
    fail_point::reached(FailPoint::Migrating);
    connection.execute_batch("COMMIT")
}

/// For each connection that writes.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // Checkpoints are ours to make, between groups. The WAL is left as long as it once was, so that
    // deliveries can be recorded on a full disk.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
         PRAGMA mmap_size = 0; PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = -1;
         PRAGMA cell_size_check = ON;",
    )?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.busy_timeout(std::time::Duration::from_secs(5))
}
