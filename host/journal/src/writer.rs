//! Writes steps in batches, on a thread of its own, and keeps the file within its bounds.

use crate::{
    inbox::{Entry, Inbox},
    schema, shadow,
    step::Step,
};
use mail::{MailId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

/// What is older, or beyond this size, goes, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub keep: Duration,
    /// Of what the file holds, in bytes.
    pub max_size: u64,
}

const IDLE: Duration = Duration::from_secs(10);
const PRUNE_EVERY: Duration = Duration::from_secs(10);
/// Rows that go at once: the writer is not away for long.
const PRUNED: i64 = 5000;
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

pub struct Writer {
    path: PathBuf,
    /// None after damage, until the next write.
    connection: Option<Connection>,
    inbox: Arc<Inbox>,
    bounds: Arc<Mutex<Bounds>>,
    next: i64,
    pruned: Instant,
    complained: Option<Instant>,
}

/// The steps of one mail in one batch share a row.
struct Row {
    id: MailId,
    at: Timestamp,
    body: Vec<u8>,
}

impl Writer {
    pub fn new(path: PathBuf, inbox: Arc<Inbox>, bounds: Arc<Mutex<Bounds>>) -> rusqlite::Result<Self> {
        let (connection, next) = open(&path)?;
        Ok(Self { path, connection: Some(connection), inbox, bounds, next, pruned: Instant::now(), complained: None })
    }

    pub fn run(mut self) {
        while let Some(batch) = self.inbox.take(IDLE) {
            let lost = batch.len() as u64;
            let written = self.write(&batch).and_then(|()| self.prune_now_and_then());
            if let Err(error) = written {
                self.inbox.dropped.fetch_add(lost, Ordering::Relaxed);
                self.recover(&error);
            }
        }
        if let Some(connection) = self.connection {
            let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
    }

    fn write(&mut self, batch: &[Entry]) -> rusqlite::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut seq = self.connect()?;
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let transaction = connection.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO steps (seq, id, at, body) VALUES (?1, ?2, ?3, ?4)")?;
            for row in rows(batch) {
                let body = std::str::from_utf8(&row.body).unwrap_or_default();
                insert.execute(params![seq, row.id.to_bytes(), row.at.as_millis() as i64, body])?;
                seq += 1;
            }
            for entry in batch {
                seq = index(&transaction, entry, seq)?;
            }
        }
        transaction.commit()?;
        self.next = seq;
        Ok(())
    }

    /// There is a connection once this is Ok: to what there is, or to a new file. The next number.
    fn connect(&mut self) -> rusqlite::Result<i64> {
        if self.connection.is_none() {
            let (connection, next) = open(&self.path)?;
            (self.connection, self.next) = (Some(connection), next);
        }
        Ok(self.next)
    }

    fn prune_now_and_then(&mut self) -> rusqlite::Result<()> {
        let Some(connection) = self.connection.as_ref().filter(|_| self.pruned.elapsed() >= PRUNE_EVERY) else {
            return Ok(());
        };
        self.pruned = Instant::now();
        let bounds = *self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        prune(connection, bounds, Timestamp::from_system(SystemTime::now()))
    }

    /// A journal that cannot be written is no reason to stop: the next batch tries again.
    fn recover(&mut self, error: &rusqlite::Error) {
        if self.complained.is_none_or(|at| at.elapsed() > COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            tracing::warn!(%error, "the journal cannot be written: steps are lost; mail is not affected");
        }
        if schema::is_damage(error) {
            self.connection = None;
            // Where it cannot be moved the next write fails too, and says so.
            let _ = schema::set_aside(&self.path, error);
        }
    }
}

/// With the number of the next row. What is damaged is set aside once, for a new file.
fn open(path: &Path) -> rusqlite::Result<(Connection, i64)> {
    let opened = || {
        let connection = schema::open(path)?;
        let next = last_seq(&connection)? + 1;
        Ok((connection, next))
    };
    match opened() {
        Err(error) if schema::is_damage(&error) => {
            schema::set_aside(path, &error).map_err(|_| error)?;
            opened()
        }
        other => other,
    }
}

/// One counter for all tables, so that all are cut off at the same place.
fn last_seq(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT max(coalesce((SELECT max(seq) FROM steps), 0), coalesce((SELECT max(seq) FROM addresses), 0), \
               coalesce((SELECT max(seq) FROM shadow), 0))";
    connection.query_row(sql, [], |row| row.get(0))
}

fn rows(batch: &[Entry]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::with_capacity(batch.len());
    let mut places: HashMap<MailId, usize> = HashMap::with_capacity(batch.len());
    for Entry { id, at, step } in batch {
        let place = *places.entry(*id).or_insert_with(|| {
            rows.push(Row { id: *id, at: *at, body: Vec::with_capacity(1024) });
            rows.len() - 1
        });
        let Some(row) = rows.get_mut(place) else { continue };
        if !row.body.is_empty() {
            row.body.push(b'\n');
        }
        // Our own types: they always serialise.
        let _ = serde_json::to_writer(&mut row.body, &ToldRef { at: *at, step });
    }
    rows
}

/// As [`crate::Told`], without a copy.
#[derive(serde::Serialize)]
struct ToldRef<'a> {
    at: Timestamp,
    #[serde(flatten)]
    step: &'a Step,
}

/// Where a mail is found by its addresses, and shadows by what they would have changed.
fn index(connection: &Connection, entry: &Entry, mut seq: i64) -> rusqlite::Result<i64> {
    let id = entry.id.to_bytes();
    if let Step::Intake(intake) = &entry.step {
        let mut insert =
            connection.prepare_cached("INSERT INTO addresses (seq, role, address, id) VALUES (?1, ?2, ?3, ?4)")?;
        let sender = std::iter::once((schema::SENDER, &intake.sender));
        let recipients = intake.recipients.iter().map(|asked| (schema::RECIPIENT, &asked.address));
        for (role, address) in sender.chain(recipients) {
            insert.execute(params![seq, role, address.to_lowercase(), id])?;
            seq += 1;
        }
    }
    for calls in entry.step.questions() {
        for (call, would, did) in shadow::compare(calls) {
            let sql = "INSERT INTO shadow (seq, at, id, domain, plugin, hook, would, did) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let domain = match &entry.step {
                Step::Intake(intake) => intake.domain.as_str(),
                Step::Calls { domain, .. } => domain.as_str(),
                _ => "",
            };
            let at = entry.at.as_millis() as i64;
            connection.prepare_cached(sql)?.execute(params![
                seq,
                at,
                id,
                domain,
                call.plugin,
                call.hook.as_str(),
                would,
                did
            ])?;
            seq += 1;
        }
    }
    Ok(seq)
}

/// Cuts off the beginning: by age, then by size.
pub fn prune(connection: &Connection, bounds: Bounds, now: Timestamp) -> rusqlite::Result<()> {
    let cutoff = now.as_millis().saturating_sub(bounds.keep.as_millis() as u64) as i64;
    loop {
        let oldest: Option<(i64, i64)> = connection
            .query_row("SELECT seq, at FROM steps ORDER BY seq LIMIT 1", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((first, at)) = oldest else { return Ok(()) };
        let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
        let size = pages.saturating_mul(number("page_size")?) as u64;
        let upto = if size > bounds.max_size {
            first + PRUNED
        } else if at < cutoff {
            let sql = "SELECT coalesce(min(seq), ?2) FROM steps WHERE seq < ?2 AND at >= ?1";
            connection.query_row(sql, params![cutoff, first + PRUNED], |row| row.get(0))?
        } else {
            return Ok(());
        };
        for table in ["steps", "addresses", "shadow"] {
            connection.execute(&format!("DELETE FROM {table} WHERE seq < ?1"), [upto])?;
        }
    }
}
