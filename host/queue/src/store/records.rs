//! Records as rows: how each change is written and how a record is read back.

use super::{Change, Details, Location, Record, Row, RowState, Scanned, Seq, SpaceUse, Value};
use crate::model::QueuedMail;
use mail::{MailId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Result, params};
use std::sync::Arc;

pub(super) fn apply(db: &Connection, change: &Change) -> Result<()> {
    match change {
        Change::Insert { seq, at, mail, encoded } => {
            let sql = "INSERT OR REPLACE INTO mail VALUES (?,?,?,?,?,?,?,?,?,?,?)";
            db.prepare_cached(sql)?.execute(params![
                *seq as i64,
                mail.id.to_bytes(),
                mail.domain.as_str(),
                millis(mail.received_at),
                millis(mail.expires_at),
                mail.envelope.recipients.len() as i64,
                at.segment,
                at.offset,
                at.length,
                encoded.envelope,
                encoded.attributes,
            ])?;
        }
        Change::PutRow { seq, index, row } => {
            let sql = "INSERT OR REPLACE INTO recipient VALUES (?,?,?,?,?,?)";
            let hop = row.waiting_for.as_ref().map(ToString::to_string);
            let details = serde_json::to_string(&row.details).unwrap_or_default();
            let params = params![*seq as i64, index, row.state as i64, millis(row.due), hop, details];
            db.prepare_cached(sql)?.execute(params)?;
        }
        Change::SetAttributes { seq, attributes } => {
            let text = (!attributes.is_empty()).then(|| serde_json::to_string(attributes).unwrap_or_default());
            db.prepare_cached("UPDATE mail SET attributes = ?2 WHERE seq = ?1")?.execute(params![*seq as i64, text])?;
        }
        Change::MoveBody { seq, at } => {
            let sql = "UPDATE mail SET segment = ?2, offset = ?3, length = ?4 WHERE seq = ?1";
            db.prepare_cached(sql)?.execute(params![*seq as i64, at.segment, at.offset, at.length])?;
        }
        Change::Remove { seq } => {
            db.prepare_cached("DELETE FROM recipient WHERE mail = ?")?.execute([*seq as i64])?;
            db.prepare_cached("DELETE FROM mail WHERE seq = ?")?.execute([*seq as i64])?;
        }
        Change::PutValue { space, key, value } => {
            let sql = "INSERT OR REPLACE INTO kv VALUES (?,?,?,?)";
            db.prepare_cached(sql)?.execute(params![space, key, &value.bytes[..], value.expires.map(millis)])?;
        }
        Change::DeleteValue { space, key } => {
            db.prepare_cached("DELETE FROM kv WHERE space = ? AND key = ?")?.execute(params![space, key])?;
        }
    }
    Ok(())
}

pub(super) fn scan(db: &Connection, visit: &mut dyn FnMut(Scanned)) -> Result<()> {
    let sql = "SELECT seq, id, domain, recipients, segment, offset, length FROM mail ORDER BY seq";
    let mut mails = db.prepare(sql)?;
    let mut rows = db.prepare("SELECT mail, idx, state, due, waiting_for FROM recipient ORDER BY mail, idx")?;
    let (mut mails, mut rows) = (mails.query([])?, rows.query([])?);
    let mut row = next_row(&mut rows)?;
    while let Some(columns) = mails.next()? {
        let seq = columns.get::<_, i64>(0)? as Seq;
        visit(scanned_mail(seq, columns));
        while let Some((of, scanned)) = row {
            if of > seq {
                row = Some((of, scanned));
                break;
            }
            // Rows without a mail cannot be: both go in one commit.
            if of == seq {
                visit(scanned);
            }
            row = next_row(&mut rows)?;
        }
    }
    Ok(())
}

fn scanned_mail(seq: Seq, columns: &rusqlite::Row<'_>) -> Scanned {
    let read = || -> Result<Scanned, Box<dyn std::error::Error>> {
        let recipients = columns.get::<_, u32>(3)?;
        if recipients == 0 {
            return Err("it has no recipients".into());
        }
        Ok(Scanned::Mail {
            seq,
            id: MailId::from_bytes(columns.get(1)?),
            domain: columns.get::<_, String>(2)?.parse()?,
            recipients,
            at: Location { segment: columns.get(4)?, offset: columns.get(5)?, length: columns.get(6)? },
        })
    };
    read().unwrap_or_else(|why| Scanned::Damaged { seq, segment: columns.get(4).ok(), why: why.to_string() })
}

fn next_row(rows: &mut rusqlite::Rows<'_>) -> Result<Option<(Seq, Scanned)>> {
    let Some(columns) = rows.next()? else { return Ok(None) };
    let seq = columns.get::<_, i64>(0)? as Seq;
    let waiting_for: Option<String> = columns.get(4)?;
    let scanned = Scanned::Row {
        seq,
        index: columns.get(1)?,
        // A state that we don't know waits for a person.
        state: RowState::from_i64(columns.get(2)?).unwrap_or(RowState::Held),
        due: timestamp(columns.get(3)?),
        waiting_for: waiting_for.and_then(|hop| hop.parse().ok()),
    };
    Ok(Some((seq, scanned)))
}

/// Records that cannot be read are left out, with a log line.
pub(super) fn records(db: &Connection, seqs: &[Seq]) -> Result<Vec<Record>> {
    let sql = "SELECT id, domain, received, expires, length, envelope, attributes FROM mail WHERE seq = ?";
    let mut mails = db.prepare_cached(sql)?;
    let sql = "SELECT idx, state, due, waiting_for, details FROM recipient WHERE mail = ? ORDER BY idx";
    let mut rows = db.prepare_cached(sql)?;
    let mut records = Vec::with_capacity(seqs.len());
    for seq in seqs {
        let Some(mail) = mails.query_row([*seq as i64], |columns| Ok(queued_mail(columns))).optional()? else {
            continue;
        };
        match mail {
            Ok(mail) => {
                let rows = rows.query_map([*seq as i64], row)?.collect::<Result<_>>()?;
                records.push(Record { seq: *seq, mail: Arc::new(mail), rows });
            }
            Err(error) => tracing::error!(seq, %error, "record damaged"),
        }
    }
    Ok(records)
}

fn queued_mail(columns: &rusqlite::Row<'_>) -> Result<QueuedMail, Box<dyn std::error::Error>> {
    let attributes: Option<String> = columns.get(6)?;
    Ok(QueuedMail {
        id: MailId::from_bytes(columns.get(0)?),
        domain: columns.get::<_, String>(1)?.parse()?,
        received_at: timestamp(columns.get(2)?),
        expires_at: timestamp(columns.get(3)?),
        size: columns.get::<_, u32>(4)?.into(),
        envelope: serde_json::from_str(columns.get_ref(5)?.as_str()?)?,
        attributes: attributes.map(|text| serde_json::from_str(&text)).transpose()?.unwrap_or_default(),
    })
}

fn row(columns: &rusqlite::Row<'_>) -> Result<(u32, Row)> {
    let (hop, details): (Option<String>, String) = (columns.get(3)?, columns.get(4)?);
    let row = Row {
        state: RowState::from_i64(columns.get(1)?).unwrap_or(RowState::Held),
        due: timestamp(columns.get(2)?),
        waiting_for: hop.and_then(|hop| hop.parse().ok()),
        // The history of attempts is worth less than the mail.
        details: serde_json::from_str(&details).unwrap_or_else(|_| Details::default()),
    };
    Ok((columns.get(0)?, row))
}

pub(super) fn value(db: &Connection, space: &str, key: &str) -> Result<Option<Value>> {
    let mut statement = db.prepare_cached("SELECT value, expires FROM kv WHERE space = ? AND key = ?")?;
    statement.query_row([space, key], read_value).optional()
}

pub(super) fn values(db: &Connection, space: &str, prefix: &str) -> Result<Vec<(String, Value)>> {
    // No character sorts behind U+10FFFF.
    let sql =
        "SELECT value, expires, key FROM kv WHERE space = ?1 AND key >= ?2 AND key < ?2 || char(1114111) ORDER BY key";
    let mut statement = db.prepare_cached(sql)?;
    let one = |columns: &rusqlite::Row<'_>| Ok((columns.get(2)?, read_value(columns)?));
    statement.query_map([space, prefix], one)?.collect()
}

fn read_value(columns: &rusqlite::Row<'_>) -> Result<Value> {
    let bytes: Vec<u8> = columns.get(0)?;
    Ok(Value { bytes: bytes.into(), expires: columns.get::<_, Option<i64>>(1)?.map(timestamp) })
}

pub(super) fn spaces(db: &Connection) -> Result<Vec<SpaceUse>> {
    let sql = "SELECT space, count(*), sum(length(CAST(key AS BLOB)) + length(value)) FROM kv GROUP BY space";
    let one = |columns: &rusqlite::Row<'_>| {
        let (keys, bytes): (i64, i64) = (columns.get(1)?, columns.get(2)?);
        Ok(SpaceUse { space: columns.get::<_, String>(0)?.into(), keys: keys as u64, bytes: bytes as u64 })
    };
    db.prepare(sql)?.query_map([], one)?.collect()
}

pub(super) fn expired(db: &Connection, now: Timestamp, limit: usize) -> Result<Vec<(Arc<str>, String)>> {
    let mut statement = db.prepare_cached("SELECT space, key FROM kv WHERE expires <= ? LIMIT ?")?;
    let one = |columns: &rusqlite::Row<'_>| Ok((columns.get::<_, String>(0)?.into(), columns.get(1)?));
    statement.query_map(params![millis(now), limit as i64], one)?.collect()
}

fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or_default())
}
