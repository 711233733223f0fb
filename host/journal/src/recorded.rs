//! A transaction as it came in, kept so that a plugin's new version can be tried on real mail.
//!
//! Two files of one name in `data/recorded/<domain>/`: `<id>.json` holds a [`Recorded`], `<id>.eml` the content as the
//! client sent it, before any edit and without a Received field of ours. Both with mode 0600.

use bytes::Bytes;
use mail::{
    Attributes, Authenticity, CallRecord, Content, Domain, MailId, Recipient, Reply, ReversePath, SessionFacts,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// The format that this version writes; a reader refuses a higher one.
pub const VERSION: u32 = 1;

/// `<id>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Recorded {
    pub version: u32,
    pub id: MailId,
    /// In milliseconds since the Unix epoch.
    pub received_at: Timestamp,
    /// The domain whose chain was asked.
    pub domain: Domain,
    pub session: RecordedSession,
    pub sender: ReversePath,
    /// Of MAIL, names in upper case.
    #[serde(default)]
    pub mail_params: Vec<(String, Option<String>)>,
    /// Every RCPT of the transaction in order, refused ones too.
    pub recipients: Vec<RecordedRecipient>,
    /// What the gateway had found out of where the mail comes from.
    #[serde(default, skip_serializing_if = "Authenticity::is_none")]
    pub authenticity: Authenticity,
    /// What on-connect plugins had noted on the connection.
    #[serde(default)]
    pub attributes: Attributes,
    /// What plugins said of it then.
    #[serde(default)]
    pub calls: Vec<CallRecord>,
    /// What the client was told at the end of the data.
    pub answer: Reply,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecordedSession {
    /// The listener's address, as configured.
    pub listener: String,
    pub peer: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helo: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_user: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecordedRecipient {
    #[serde(flatten)]
    pub recipient: Recipient,
    /// What the client was told at RCPT.
    pub reply: Reply,
}

/// Files that are older, or beyond this size, are removed, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub keep: Duration,
    /// Of both files of all transactions of a domain, in bytes.
    pub max_size: u64,
}

impl From<&SessionFacts> for RecordedSession {
    fn from(facts: &SessionFacts) -> Self {
        Self {
            listener: facts.listener.to_string(),
            peer: facts.peer,
            peer_name: facts.peer_name.clone(),
            helo: facts.helo.clone(),
            tls_version: facts.tls_version.clone(),
            auth_user: facts.auth_user.clone(),
        }
    }
}

impl From<&RecordedSession> for SessionFacts {
    fn from(recorded: &RecordedSession) -> Self {
        Self {
            listener: recorded.listener.as_str().into(),
            peer: recorded.peer,
            peer_name: recorded.peer_name.clone(),
            helo: recorded.helo.clone(),
            tls_version: recorded.tls_version.clone(),
            auth_user: recorded.auth_user.clone(),
        }
    }
}

impl Recorded {
    /// Both files of one transaction, by the path of its `.json`. Blocks.
    pub fn read(json: &Path) -> io::Result<(Self, Content)> {
        let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {text}", json.display()));
        let recorded: Self = serde_json::from_slice(&fs::read(json)?).map_err(|error| wrong(error.to_string()))?;
        if recorded.version > VERSION {
            let found = recorded.version;
            return Err(wrong(format!("it has format {found}, this program knows up to {VERSION}: use a newer one")));
        }
        let content = fs::read(json.with_extension("eml"))?;
        Ok((recorded, Content::new(Bytes::from(content))))
    }

    /// Writes both files under `directory`, the content first: a `.json` never stands alone. Leaves none where it
    /// fails. Blocks.
    pub fn write(&self, directory: &Path, content: &Content) -> io::Result<()> {
        let directory = directory.join(self.domain.as_str());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let path = |ending: &str| directory.join(format!("{}.{ending}", self.id));
        let written = || {
            private(&path("eml"), &[content.header(), content.body()])?;
            // A reader that lists the directory meanwhile must not find half a file.
            private(&path("json.new"), &[&serde_json::to_vec_pretty(self)?])?;
            fs::rename(path("json.new"), path("json"))
        };
        // A full disk must not stay full of what nobody lists.
        written().inspect_err(|_| ["eml", "json.new"].iter().for_each(|ending| drop(fs::remove_file(path(ending)))))
    }
}

fn private(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    parts.iter().try_for_each(|part| io::Write::write_all(&mut file, part))
}

/// The `.json` files of a directory of recorded transactions, the oldest first. Blocks.
pub fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            found.push(path);
        }
    }
    // An id begins with the time.
    found.sort();
    Ok(found)
}

/// What a gateway that was killed left half written, by its age alone: younger ones may be being written.
fn orphans(directory: &Path, keep: Duration, now: SystemTime) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let orphan = match path.extension().and_then(|ending| ending.to_str()) {
            Some("eml") => !path.with_extension("json").exists(),
            Some("new") => true,
            _ => false,
        };
        let modified = entry.metadata().and_then(|file| file.modified());
        if orphan && modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > keep)) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Removes what is beyond `bounds` from one domain's directory; how many transactions went. Blocks.
pub fn prune(directory: &Path, bounds: Bounds, now: SystemTime) -> io::Result<usize> {
    let sized = |path: PathBuf| {
        let of = |path: &Path| fs::metadata(path).ok();
        let (json, eml) = (of(&path)?, of(&path.with_extension("eml")));
        let size = json.len() + eml.map_or(0, |eml| eml.len());
        Some((path, size, json.modified().ok()?))
    };
    let files: Vec<_> = list(directory)?.into_iter().filter_map(sized).collect();
    let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
    let mut removed = 0;
    for (path, size, modified) in files {
        let old = now.duration_since(modified).is_ok_and(|age| age > bounds.keep);
        if !old && total <= bounds.max_size {
            break;
        }
        fs::remove_file(&path)?;
        let _ = fs::remove_file(path.with_extension("eml"));
        (total, removed) = (total.saturating_sub(size), removed + 1);
    }
    for path in orphans(directory, bounds.keep, now)? {
        fs::remove_file(path)?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn recorded(id: u128) -> Recorded {
        let recipient = Recipient::new("ann@example.org".parse().unwrap());
        Recorded {
            version: VERSION,
            id: MailId::from_u128(id),
            received_at: Timestamp::from_secs(1),
            domain: "example.org".parse().unwrap(),
            session: RecordedSession {
                listener: "127.0.0.1:25".to_owned(),
                peer: "192.0.2.7:4000".parse().unwrap(),
                peer_name: None,
                helo: Some("client.example".to_owned()),
                tls_version: None,
                auth_user: None,
            },
            sender: ReversePath::Null,
            mail_params: vec![("SIZE".to_owned(), Some("12".to_owned()))],
            recipients: vec![RecordedRecipient { recipient, reply: Reply::fixed(250, (2, 1, 5), "ok") }],
            authenticity: Authenticity { spf: mail::AuthResult::Pass, ..Authenticity::default() },
            attributes: [("seen".to_owned(), "1".to_owned())].into(),
            calls: Vec::new(),
            answer: Reply::fixed(250, (2, 0, 0), "ok"),
        }
    }

    #[test]
    fn a_transaction_reads_back_as_it_was_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::new(Bytes::from_static(b"A: 1\r\n\r\nbody\r\n"));
        recorded(1).write(dir.path(), &content).unwrap();
        let [json] = list(&dir.path().join("example.org")).unwrap().try_into().unwrap();
        assert_eq!(Recorded::read(&json).unwrap(), (recorded(1), content));
        for file in [json.clone(), json.with_extension("eml")] {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&json, fs::read_to_string(&json).unwrap().replace("\"version\": 1", "\"version\": 2")).unwrap();
        assert!(Recorded::read(&json).unwrap_err().to_string().contains("use a newer one"));
    }

    #[test]
    fn the_oldest_go_when_there_is_too_much() {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::new(Bytes::from(vec![b'x'; 1000]));
        (1..=4).for_each(|id| recorded(id).write(dir.path(), &content).unwrap());
        let domain = dir.path().join("example.org");
        let size = fs::metadata(&list(&domain).unwrap()[0]).unwrap().len() + 1000;
        let bounds = Bounds { keep: Duration::from_secs(3600), max_size: 2 * size };
        assert_eq!(prune(&domain, bounds, SystemTime::now()).unwrap(), 2);
        let left = list(&domain).unwrap();
        assert!(left[0].ends_with(format!("{}.json", MailId::from_u128(3))) && left.len() == 2);
        assert_eq!(prune(&domain, bounds, SystemTime::now() + 2 * bounds.keep).unwrap(), 2);
    }

    #[test]
    fn a_failed_write_leaves_nothing_and_what_a_crash_left_goes_by_its_age() {
        let dir = tempfile::tempdir().unwrap();
        let domain = dir.path().join("example.org");
        let names = || fs::read_dir(&domain).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        let content = Content::new(Bytes::from_static(b"A: 1\r\n\r\nbody\r\n"));
        let in_the_way = domain.join(format!("{}.json", MailId::from_u128(1)));
        fs::create_dir_all(&in_the_way).unwrap();
        recorded(1).write(dir.path(), &content).unwrap_err();
        assert_eq!(names(), [in_the_way.file_name().unwrap()]);
        fs::remove_dir(in_the_way).unwrap();

        recorded(2).write(dir.path(), &content).unwrap();
        for name in ["1.eml", "1.json.new"] {
            fs::write(domain.join(name), "half").unwrap();
        }
        let bounds = Bounds { keep: Duration::from_secs(3600), max_size: 1 << 20 };
        assert_eq!(prune(&domain, bounds, SystemTime::now()).unwrap(), 0);
        assert_eq!(names().len(), 4);
        assert_eq!(prune(&domain, bounds, SystemTime::now() + 2 * bounds.keep).unwrap(), 1);
        assert!(names().is_empty());
    }
}
