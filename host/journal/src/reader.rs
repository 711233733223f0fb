//! Finds mails in the journal and reads their stories. Never writes.

use crate::{
    schema,
    shadow::Difference,
    step::{Story, Told},
};
use mail::MailId;
use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
#[error("cannot read the journal {path}: {reason}", path = .path.display())]
pub struct ReadError {
    path: PathBuf,
    reason: String,
}

/// Which mails; all that is given must fit.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub id: Option<MailId>,
    /// In any case of letters; `<>` is the null reverse-path.
    pub sender: Option<String>,
    pub recipient: Option<String>,
    pub limit: usize,
}

pub struct Reader {
    path: PathBuf,
    connection: Connection,
}

const SAMPLES: i64 = 3;

impl Reader {
    /// Blocks, as all here does.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let wrong = |error: rusqlite::Error| ReadError { path: path.to_owned(), reason: error.to_string() };
        Ok(Self { path: path.to_owned(), connection: schema::open_to_read(path).map_err(wrong)? })
    }

    /// The latest mails first.
    pub fn stories(&self, wanted: &Found) -> Result<Vec<Story>, ReadError> {
        self.find(wanted).map_err(|error| self.wrong(&error))
    }

    /// What shadows of this plugin, or domain, or of all would have changed; the most frequent first.
    pub fn differences(&self, plugin: Option<&str>, domain: Option<&str>) -> Result<Vec<Difference>, ReadError> {
        self.compare(plugin, domain).map_err(|error| self.wrong(&error))
    }

    fn wrong(&self, error: &rusqlite::Error) -> ReadError {
        ReadError { path: self.path.clone(), reason: error.to_string() }
    }

    fn find(&self, wanted: &Found) -> rusqlite::Result<Vec<Story>> {
        let limit = wanted.limit.clamp(1, 10_000) as i64;
        let sender = wanted.sender.as_deref().map(|text| if text == "<>" { "" } else { text });
        let ids: Vec<MailId> = match (wanted.id, &wanted.recipient, sender) {
            (Some(id), ..) => vec![id],
            (None, Some(recipient), Some(sender)) => {
                let senders = self.by_address(schema::SENDER, sender, 100_000)?;
                let both = self.by_address(schema::RECIPIENT, recipient, 100_000)?;
                both.into_iter().filter(|id| senders.contains(id)).take(limit as usize).collect()
            }
            (None, Some(recipient), None) => self.by_address(schema::RECIPIENT, recipient, limit)?,
            (None, None, Some(sender)) => self.by_address(schema::SENDER, sender, limit)?,
            (None, None, None) => Vec::new(),
        };
        let stories: rusqlite::Result<Vec<Story>> = ids.into_iter().map(|id| self.story(id)).collect();
        Ok(stories?.into_iter().filter(|story| !story.steps.is_empty()).collect())
    }

    fn by_address(&self, role: i64, address: &str, limit: i64) -> rusqlite::Result<Vec<MailId>> {
        let sql =
            "SELECT id, max(seq) FROM addresses WHERE address = ?1 AND role = ?2 GROUP BY id ORDER BY 2 DESC LIMIT ?3";
        let mut select = self.connection.prepare(sql)?;
        let rows = select.query_map(params![address.to_lowercase(), role, limit], |row| row.get::<_, [u8; 16]>(0))?;
        rows.map(|id| id.map(MailId::from_bytes)).collect()
    }

    fn story(&self, id: MailId) -> rusqlite::Result<Story> {
        let mut select = self.connection.prepare_cached("SELECT body FROM steps WHERE id = ?1 ORDER BY seq")?;
        let bodies: rusqlite::Result<Vec<String>> = select.query_map([id.to_bytes()], |row| row.get(0))?.collect();
        // A step of a newer version is left out rather than all of them.
        let told = |line: &str| serde_json::from_str::<Told>(line).ok();
        let mut steps: Vec<Told> =
            bodies?.iter().flat_map(|body| body.lines().filter_map(told).collect::<Vec<_>>()).collect();
        steps.sort_by_key(|told| told.at);
        Ok(Story { id, steps })
    }

    fn compare(&self, plugin: Option<&str>, domain: Option<&str>) -> rusqlite::Result<Vec<Difference>> {
        let sql = "SELECT plugin, domain, hook, would, did, count(*) FROM shadow \
                   WHERE (?1 IS NULL OR plugin = ?1) AND (?2 IS NULL OR domain = ?2) \
                   GROUP BY plugin, domain, hook, would, did ORDER BY plugin, domain, hook, count(*) DESC";
        let mut select = self.connection.prepare(sql)?;
        let rows = select.query_map(params![plugin, domain], |row| {
            Ok(Difference {
                plugin: row.get(0)?,
                domain: row.get(1)?,
                hook: row.get(2)?,
                would: row.get(3)?,
                did: row.get(4)?,
                count: row.get::<_, i64>(5)? as u64,
                samples: Vec::new(),
            })
        })?;
        let mut found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let sql = "SELECT DISTINCT id FROM shadow WHERE plugin = ?1 AND domain = ?2 AND hook = ?3 AND would = ?4 \
                   AND did = ?5 ORDER BY seq DESC LIMIT ?6";
        let mut select = self.connection.prepare(sql)?;
        for difference in found.iter_mut().filter(|difference| !difference.is_none()) {
            let Difference { plugin, domain, hook, would, did, .. } = &*difference;
            let rows = select.query_map(params![plugin, domain, hook, would, did, SAMPLES], |row| {
                Ok(MailId::from_bytes(row.get::<_, [u8; 16]>(0)?).to_string())
            })?;
            difference.samples = rows.collect::<rusqlite::Result<_>>()?;
        }
        Ok(found)
    }
}
