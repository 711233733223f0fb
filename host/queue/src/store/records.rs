//! Records as rows: how each change is written and how a record is read back.

use super::checksum::{self, Field};
use super::{Change, Details, Location, Record, Row, RowState, Scanned, Seq, SpaceUse, Value};
use crate::model::QueuedMail;
use mail::{MailId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Result, params};
use std::sync::Arc;

type Unsound = Box<dyn std::error::Error>;

/// In the order of `MailRow::read`, behind which the three checksums stand.
pub(super) const MAIL_BUT_CRCS: &str =
    "SELECT seq, id, domain, received, expires, recipients, segment, offset, length, envelope, attributes,";
const MAIL_CRCS: &str = "crc, place_crc, attributes_crc FROM mail";

pub(super) fn apply(db: &Connection, change: &Change) -> Result<()> {
    match change {
        Change::Insert { seq, at, mail, encoded } => {
            let (id, attributes) = (mail.id.to_bytes(), encoded.attributes.as_deref());
            let row = MailRow {
                seq: *seq as i64,
                id: &id,
                domain: mail.domain.as_str(),
                received: millis(mail.received_at),
                expires: millis(mail.expires_at),
                recipients: mail.envelope.recipients.len() as i64,
                place: *at,
                envelope: &encoded.envelope,
                attributes,
            };
            row.insert(db)?;
        }
        Change::PutRow { seq, index, row } => put_row(db, *seq, *index, row)?,
        Change::SetAttributes { seq, attributes } => {
            let text = (!attributes.is_empty()).then(|| serde_json::to_string(attributes).unwrap_or_default());
            let crc = attributes_crc(*seq as i64, text.as_deref());
            let sql = "UPDATE mail SET attributes = ?2, attributes_crc = ?3 WHERE seq = ?1";
            db.prepare_cached(sql)?.execute(params![*seq as i64, text, crc])?;
        }
        Change::MoveBody { seq, at } => {
            let sql = "UPDATE mail SET segment = ?2, offset = ?3, length = ?4, place_crc = ?5 WHERE seq = ?1";
            let crc = checksum::of(&place_fields(*seq as i64, *at));
            db.prepare_cached(sql)?.execute(params![*seq as i64, at.segment, at.offset, at.length, crc])?;
        }
        Change::Remove { seq } => {
            db.prepare_cached("DELETE FROM recipient WHERE mail = ?")?.execute([*seq as i64])?;
            db.prepare_cached("DELETE FROM mail WHERE seq = ?")?.execute([*seq as i64])?;
        }
        Change::PutValue { space, key, value } => put_value(db, space, key, value)?,
        Change::DeleteValue { space, key } => {
            db.prepare_cached("DELETE FROM kv WHERE space = ? AND key = ?")?.execute(params![space, key])?;
        }
    }
    Ok(())
}

pub(super) fn put_row(db: &Connection, seq: Seq, index: u32, row: &Row) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO recipient VALUES (?,?,?,?,?,?,?)";
    let hop = row.waiting_for.as_ref().map(ToString::to_string);
    let details = serde_json::to_string(&row.details).unwrap_or_default();
    let (state, due) = (row.state as i64, millis(row.due));
    let crc = checksum::of(&row_fields(seq as i64, index.into(), state, due, hop.as_deref(), &details));
    db.prepare_cached(sql)?.execute(params![seq as i64, index, state, due, hop, details, crc])?;
    Ok(())
}

pub(super) fn put_value(db: &Connection, space: &str, key: &str, value: &Value) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO kv VALUES (?,?,?,?,?)";
    let expires = value.expires.map(millis);
    let crc = checksum::of(&value_fields(space, key, &value.bytes, expires));
    db.prepare_cached(sql)?.execute(params![space, key, &value.bytes[..], expires, crc]).map(|_| ())
}

/// A mail's row as it stands in the database.
pub(super) struct MailRow<'a> {
    pub(super) seq: i64,
    id: &'a [u8],
    domain: &'a str,
    received: i64,
    expires: i64,
    pub(super) recipients: i64,
    pub(super) place: Location,
    envelope: &'a str,
    attributes: Option<&'a str>,
}

impl<'a> MailRow<'a> {
    /// An error where the columns make no sense or a checksum doesn't fit.
    pub(super) fn read(columns: &'a rusqlite::Row<'_>) -> Result<Self, Unsound> {
        let row = Self {
            seq: columns.get(0)?,
            id: columns.get_ref(1)?.as_blob()?,
            domain: columns.get_ref(2)?.as_str()?,
            received: columns.get(3)?,
            expires: columns.get(4)?,
            recipients: columns.get(5)?,
            place: Location { segment: columns.get(6)?, offset: columns.get(7)?, length: columns.get(8)? },
            envelope: columns.get_ref(9)?.as_str()?,
            attributes: columns.get_ref(10)?.as_str_or_null()?,
        };
        let sound = checksum::fits(columns.get(11)?, &row.fields())
            && checksum::fits(columns.get(12)?, &place_fields(row.seq, row.place))
            && checksum::fits(columns.get(13)?, &attributes_fields(row.seq, row.attributes));
        if !sound {
            return Err("its checksum is wrong".into());
        }
        if row.recipients < 1 || row.recipients > i64::from(u32::MAX) {
            return Err("it has no recipients".into());
        }
        Ok(row)
    }

    pub(super) fn insert(&self, db: &Connection) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO mail VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
        db.prepare_cached(sql)?.execute(params![
            self.seq,
            self.id,
            self.domain,
            self.received,
            self.expires,
            self.recipients,
            self.place.segment,
            self.place.offset,
            self.place.length,
            self.envelope,
            self.attributes,
            checksum::of(&self.fields()),
            checksum::of(&place_fields(self.seq, self.place)),
            attributes_crc(self.seq, self.attributes),
        ])?;
        Ok(())
    }

    fn fields(&self) -> [Field<'_>; 7] {
        [
            Field::Number(self.seq),
            Field::Bytes(self.id),
            Field::Text(Some(self.domain)),
            Field::Number(self.received),
            Field::Number(self.expires),
            Field::Number(self.recipients),
            Field::Text(Some(self.envelope)),
        ]
    }

    pub(super) fn mail(&self) -> Result<QueuedMail, Unsound> {
        Ok(QueuedMail {
            id: MailId::from_bytes(self.id.try_into()?),
            domain: self.domain.parse()?,
            received_at: timestamp(self.received),
            expires_at: timestamp(self.expires),
            size: self.place.length.into(),
            envelope: serde_json::from_str(self.envelope)?,
            attributes: self.attributes.map(serde_json::from_str).transpose()?.unwrap_or_default(),
        })
    }
}

fn place_fields(seq: i64, at: Location) -> [Field<'static>; 4] {
    [seq, at.segment.into(), at.offset.into(), at.length.into()].map(Field::Number)
}

fn attributes_fields(seq: i64, text: Option<&str>) -> [Field<'_>; 2] {
    [Field::Number(seq), Field::Text(text)]
}

fn attributes_crc(seq: i64, text: Option<&str>) -> u32 {
    checksum::of(&attributes_fields(seq, text))
}

fn row_fields<'a>(
    seq: i64,
    index: i64,
    state: i64,
    due: i64,
    hop: Option<&'a str>,
    details: &'a str,
) -> [Field<'a>; 6] {
    let number = Field::Number;
    [number(seq), number(index), number(state), number(due), Field::Text(hop), Field::Text(Some(details))]
}

fn value_fields<'a>(space: &'a str, key: &'a str, value: &'a [u8], expires: Option<i64>) -> [Field<'a>; 4] {
    let expires = Field::Number(expires.unwrap_or(i64::MIN));
    [Field::Text(Some(space)), Field::Text(Some(key)), Field::Bytes(value), expires]
}

pub(super) fn scan(db: &Connection, visit: &mut dyn FnMut(Scanned)) -> Result<()> {
    let mut mails = db.prepare(&format!("{MAIL_BUT_CRCS} {MAIL_CRCS} ORDER BY seq"))?;
    let mut rows =
        db.prepare("SELECT mail, idx, state, due, waiting_for, details, crc FROM recipient ORDER BY mail, idx")?;
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
    let read = || -> Result<Scanned, Unsound> {
        let row = MailRow::read(columns)?;
        let id = MailId::from_bytes(row.id.try_into()?);
        Ok(Scanned::Mail { seq, id, domain: row.domain.parse()?, recipients: row.recipients as u32, at: row.place })
    };
    read().unwrap_or_else(|why| Scanned::Damaged { seq, why: why.to_string() })
}

fn next_row(rows: &mut rusqlite::Rows<'_>) -> Result<Option<(Seq, Scanned)>> {
    let Some(columns) = rows.next()? else { return Ok(None) };
    let seq = columns.get::<_, i64>(0)? as Seq;
    let scanned = match read_row(columns) {
        Ok((index, Row { state, due, waiting_for, .. })) => Scanned::Row { seq, index, state, due, waiting_for },
        Err(why) => Scanned::Damaged { seq, why: why.to_string() },
    };
    Ok(Some((seq, scanned)))
}

/// Records that cannot be read are left out, with a log line.
pub(super) fn records(db: &Connection, seqs: &[Seq]) -> Result<Vec<Record>> {
    let mut mails = db.prepare_cached(&format!("{MAIL_BUT_CRCS} {MAIL_CRCS} WHERE seq = ?"))?;
    let mut records = Vec::with_capacity(seqs.len());
    for seq in seqs {
        let read = |columns: &rusqlite::Row<'_>| Ok(MailRow::read(columns).and_then(|row| row.mail()));
        let Some(mail) = mails.query_row([*seq as i64], read).optional()? else { continue };
        let rows = rows_of(db, *seq as i64, true)?;
        match mail.and_then(|mail| Ok((mail, rows?))) {
            Ok((mail, rows)) => records.push(Record { seq: *seq, mail: Arc::new(mail), rows }),
            Err(error) => tracing::error!(seq, %error, "record damaged"),
        }
    }
    Ok(records)
}

/// All rows of a mail; unsound where one of them is. Columns of format 1 have no checksum.
pub(super) fn rows_of(db: &Connection, seq: i64, checksums: bool) -> Result<Result<Vec<(u32, Row)>, Unsound>> {
    let crc = if checksums { "crc" } else { "NULL" };
    let sql =
        format!("SELECT mail, idx, state, due, waiting_for, details, {crc} FROM recipient WHERE mail = ? ORDER BY idx");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([seq])?;
    let mut read = Ok(Vec::new());
    while let Some(columns) = rows.next()? {
        read = read.and_then(|mut rows: Vec<_>| {
            rows.push(read_row(columns)?);
            Ok(rows)
        });
    }
    Ok(read)
}

fn read_row(columns: &rusqlite::Row<'_>) -> Result<(u32, Row), Unsound> {
    let (seq, index, state, due) = (columns.get(0)?, columns.get(1)?, columns.get(2)?, columns.get(3)?);
    let (hop, details) = (columns.get_ref(4)?.as_str_or_null()?, columns.get_ref(5)?.as_str()?);
    let crc: Option<i64> = columns.get(6)?;
    if !checksum::fits(crc, &row_fields(seq, index, state, due, hop, details)) {
        return Err("the checksum of a recipient is wrong".into());
    }
    let row = Row {
        // A state that we don't know waits for a person.
        state: RowState::from_i64(state).unwrap_or(RowState::Held),
        due: timestamp(due),
        waiting_for: hop.and_then(|hop| hop.parse().ok()),
        // The history of attempts is worth less than the mail.
        details: serde_json::from_str(details).unwrap_or_else(|_| Details::default()),
    };
    Ok((index.try_into()?, row))
}

/// A value that cannot be trusted is none.
pub(super) fn value(db: &Connection, space: &str, key: &str) -> Result<Option<Value>> {
    let mut statement = db.prepare_cached("SELECT value, expires, crc FROM kv WHERE space = ? AND key = ?")?;
    let read = |columns: &rusqlite::Row<'_>| read_value(columns, space, key);
    Ok(statement.query_row([space, key], read).optional()?.flatten())
}

pub(super) fn values(db: &Connection, space: &str, prefix: &str) -> Result<Vec<(String, Value)>> {
    // No character sorts behind U+10FFFF.
    let sql = "SELECT value, expires, crc, key FROM kv WHERE space = ?1 AND key >= ?2 AND key < ?2 || char(1114111) ORDER BY key";
    let mut statement = db.prepare_cached(sql)?;
    let one = |columns: &rusqlite::Row<'_>| {
        let key: String = columns.get(3)?;
        Ok(read_value(columns, space, &key)?.map(|value| (key, value)))
    };
    statement.query_map([space, prefix], one)?.filter_map(Result::transpose).collect()
}

/// From value, time and checksum; none where it cannot be trusted.
pub(super) fn read_value(columns: &rusqlite::Row<'_>, space: &str, key: &str) -> Result<Option<Value>> {
    let (bytes, expires) = (columns.get_ref(0)?.as_blob()?, columns.get(1)?);
    if !checksum::fits(columns.get(2)?, &value_fields(space, key, bytes, expires)) {
        tracing::error!(space, key, "a value's checksum is wrong: taken as not there");
        return Ok(None);
    }
    Ok(Some(Value { bytes: bytes.to_vec().into(), expires: expires.map(timestamp) }))
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
