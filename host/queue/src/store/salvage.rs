//! Decides what is taken over from a database that is damaged: every record and value that is sound.
//!
//! The damaged one is only read. What is behind a page that cannot be read is found all the same.

use super::records::{self, MailRow};
use super::schema;
use crate::fail_point::{self, FailPoint};
use crate::settle;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Result, Row, params};
use std::path::Path;

#[derive(Debug, Default)]
pub(super) struct Salvaged {
    pub(super) mails: u64,
    /// Of these: what had become of their recipients is not known.
    pub(super) held: u64,
    pub(super) values: u64,
    /// Records that were found and are not sound.
    pub(super) left: u64,
}

/// Fills `into`, which must not exist, and makes it durable.
pub(super) fn salvage(damaged: &Path, into: &Path) -> Result<Salvaged> {
    let new = Connection::open(into)?;
    schema::create(&new)?;
    let mut salvaged = Salvaged::default();
    new.execute_batch("BEGIN IMMEDIATE")?;
    // One that cannot even be opened has nothing to give.
    if let Ok(old) = open(damaged) {
        let checksums = old.prepare("SELECT crc FROM mail").is_ok();
        salvaged.copy_mails(&old, &new, checksums)?;
        salvaged.copy_values(&old, &new)?;
    }
    fail_point::reached(FailPoint::Salvaging);
    new.execute_batch("COMMIT")?;
    new.close().map_err(|(_, error)| error)?;
    Ok(salvaged)
}

fn open(damaged: &Path) -> Result<Connection> {
    let old = Connection::open_with_flags(damaged, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    old.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    old.execute_batch("PRAGMA query_only = ON; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON")?;
    Ok(old)
}

impl Salvaged {
    fn copy_mails(&mut self, old: &Connection, new: &Connection, checksums: bool) -> Result<()> {
        let crcs = if checksums { "crc, place_crc, attributes_crc" } else { "NULL, NULL, NULL" };
        let sql = format!("{} {crcs} FROM mail WHERE seq > ? ORDER BY seq", records::MAIL_BUT_CRCS);
        let mut after = 0;
        while let Some(last) = self.copy_from(old, new, &sql, after, checksums)? {
            match behind_unreadable(old, &sql, last) {
                Some(next) => after = next,
                None => break,
            }
        }
        Ok(())
    }

    /// Up to what cannot be read: then the last number before it.
    fn copy_from(
        &mut self,
        old: &Connection,
        new: &Connection,
        sql: &str,
        after: i64,
        checksums: bool,
    ) -> Result<Option<i64>> {
        let mut last = after;
        let Ok(mut statement) = old.prepare_cached(sql) else { return Ok(None) };
        let Ok(mut rows) = statement.query([after]) else { return Ok(Some(last)) };
        loop {
            let columns = match rows.next() {
                Ok(Some(columns)) => columns,
                Ok(None) => return Ok(None),
                Err(_) => return Ok(Some(last)),
            };
            // A page of another table may have come in here: then the order is broken.
            match columns.get::<_, i64>(0) {
                Ok(seq) if seq > last => last = seq,
                _ => return Ok(Some(last)),
            }
            match MailRow::read(columns) {
                Ok(row) => self.copy_mail(old, new, &row, checksums)?,
                Err(why) => {
                    tracing::error!(seq = last, %why, "record damaged: set aside");
                    self.left += 1;
                }
            }
        }
    }

    fn copy_mail(&mut self, old: &Connection, new: &Connection, row: &MailRow<'_>, checksums: bool) -> Result<()> {
        if let Err(why) = row.mail() {
            tracing::error!(seq = row.seq, %why, "record damaged: set aside");
            self.left += 1;
            return Ok(());
        }
        row.insert(new)?;
        self.mails += 1;
        match records::rows_of(old, row.seq, checksums) {
            Ok(Ok(rows)) => {
                rows.iter().try_for_each(|(i, recipient)| records::put_row(new, row.seq as u64, *i, recipient))
            }
            Ok(Err(_)) | Err(_) => {
                tracing::error!(seq = row.seq, "what became of its recipients cannot be read: the mail is held");
                self.held += 1;
                let held = settle::unknown();
                (0..row.recipients as u32).try_for_each(|i| records::put_row(new, row.seq as u64, i, &held))
            }
        }
    }

    /// From both ends: what lies between two damaged pages stays behind.
    fn copy_values(&mut self, old: &Connection, new: &Connection) -> Result<()> {
        for order in ["", "DESC"] {
            let crc = if old.prepare("SELECT crc FROM kv").is_ok() { "crc" } else { "NULL" };
            let by = format!("ORDER BY space {order}, key {order}");
            let Ok(mut statement) = old.prepare(&format!("SELECT value, expires, {crc}, space, key FROM kv {by}"))
            else {
                return Ok(());
            };
            let Ok(mut rows) = statement.query([]) else { continue };
            loop {
                match rows.next() {
                    Ok(Some(columns)) => self.values += u64::from(copy_value(columns, new)?),
                    // Every value was seen.
                    Ok(None) => return Ok(()),
                    Err(_) => break,
                }
            }
        }
        Ok(())
    }
}

/// False where it is there already, or not sound.
fn copy_value(columns: &Row<'_>, new: &Connection) -> Result<bool> {
    let (Ok(space), Ok(key)) = (columns.get::<_, String>(3), columns.get::<_, String>(4)) else { return Ok(false) };
    let Ok(Some(value)) = records::read_value(columns, &space, &key) else { return Ok(false) };
    let there = new.prepare_cached("SELECT 1 FROM kv WHERE space = ? AND key = ?")?.exists(params![space, key])?;
    if !there {
        records::put_value(new, &space, &key, &value)?;
    }
    Ok(!there)
}

/// The lowest number behind which a mail can be read, or behind which there is none.
fn behind_unreadable(old: &Connection, sql: &str, last: i64) -> Option<i64> {
    let readable = |after: i64| {
        let first = |columns: &Row<'_>| columns.get::<_, i64>(0);
        let mut statement = old.prepare_cached(&format!("{sql} LIMIT 1")).ok()?;
        match statement.query_row([after], first) {
            Ok(seq) if seq > after => Some(()),
            Err(rusqlite::Error::QueryReturnedNoRows) => Some(()),
            _ => None,
        }
    };
    let (mut low, mut step) = (last, 1_i64);
    let mut high = loop {
        let tried = last.checked_add(step)?;
        if readable(tried).is_some() {
            break tried;
        }
        (low, step) = (tried, step.checked_mul(2)?);
    };
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if readable(middle).is_some() { high = middle } else { low = middle }
    }
    Some(high)
}
