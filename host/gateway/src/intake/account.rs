//! What is kept of a transaction for people: its step in the journal, and its files for replay.
//!
//! Nothing here decides or waits.

use crate::{
    config::Record,
    domains::{Domains, Table},
    stories::Stories,
};
use journal::{
    Asked, Intake, Step,
    recorded::{self, Bounds, Recorded, RecordedRecipient, RecordedSession},
};
use mail::{Authenticity, CallRecord, Content, Domain, MailId, Recipient, Reply, ReversePath, SessionFacts};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// RCPTs of one transaction that are kept; a client may ask for many.
const MAX_ASKED: usize = 1000;
/// Transactions that are being written at once; beyond, they are not kept.
const WRITING: usize = 8;
const PRUNE_EVERY: Duration = Duration::from_secs(10);
const PRUNE_ALL_EVERY: Duration = Duration::from_secs(3600);
/// Of a domain that records no longer: as of one whose file says nothing of them.
const BOUNDS: Bounds = Bounds { keep: Duration::from_secs(7 * 86400), max_size: 100 << 20 };

/// One transaction as it goes on.
#[derive(Default)]
pub struct Account {
    pub domain: Option<Domain>,
    asked: Vec<(Recipient, Reply, Vec<CallRecord>)>,
}

/// How it ended.
pub struct Ending<'a> {
    pub session: &'a SessionFacts,
    pub id: MailId,
    pub sender: &'a ReversePath,
    pub outcome: &'static str,
    pub reply: &'a Reply,
    pub size: Option<usize>,
    pub authenticity: Authenticity,
    /// Of on-connect and on-message.
    pub calls: Vec<CallRecord>,
}

impl Account {
    pub fn asked(&mut self, domain: &Domain, recipient: Recipient, reply: &Reply, calls: Vec<CallRecord>) {
        if self.asked.len() < MAX_ASKED {
            self.domain.get_or_insert_with(|| domain.clone());
            self.asked.push((recipient, reply.clone(), calls));
        }
    }

    /// A client that goes after its last recipient was refused has been answered all the same.
    pub fn last_reply(&self) -> Option<&Reply> {
        self.asked.last().map(|(_, reply, _)| reply)
    }

    pub fn all_calls(&self) -> Vec<CallRecord> {
        self.asked.iter().flat_map(|(.., calls)| calls.iter().cloned()).collect()
    }

    pub fn recipients(&self) -> Vec<RecordedRecipient> {
        let one = |(recipient, reply, _): &(Recipient, Reply, Vec<CallRecord>)| RecordedRecipient {
            recipient: recipient.clone(),
            reply: reply.clone(),
        };
        self.asked.iter().map(one).collect()
    }

    pub fn close(self, ending: Ending<'_>, stories: &Stories) {
        let Some(domain) = self.domain.filter(|_| stories.journal.is_on()) else { return };
        let Ending { session, id, sender, outcome, reply, size, authenticity, calls } = ending;
        let asked = |(recipient, reply, calls): (Recipient, Reply, Vec<CallRecord>)| Asked {
            address: recipient.address.to_string(),
            reply: reply.to_string(),
            calls,
        };
        let intake = Intake {
            domain: domain.to_string(),
            session: Some(RecordedSession::from(session)),
            sender: sender.to_string(),
            recipients: self.asked.into_iter().map(asked).collect(),
            size: size.map(|size| size as u64),
            authenticity,
            outcome: outcome.to_owned(),
            reply: reply.to_string(),
            calls,
        };
        stories.record(id, Step::Intake(Box::new(intake)));
    }
}

/// Keeps transactions for replay.
pub struct Recorder {
    directory: PathBuf,
    writing: Arc<Semaphore>,
    pruned: Mutex<HashMap<Domain, Instant>>,
}

impl Recorder {
    pub fn new(directory: PathBuf) -> Arc<Self> {
        Arc::new(Self { directory, writing: Arc::new(Semaphore::new(WRITING)), pruned: Mutex::default() })
    }

    /// Is this one of the domain's share?
    pub fn wants(record: Option<&Record>, id: MailId) -> bool {
        record.is_some_and(|record| id.as_u128() % 100 < u128::from(record.sample))
    }

    /// In the background.
    pub fn keep(self: &Arc<Self>, recorded: Recorded, content: Content, record: Record) {
        let Ok(permit) = self.writing.clone().try_acquire_owned() else { return };
        let this = self.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = recorded.write(&this.directory, &content) {
                warn!(id = %recorded.id, domain = %recorded.domain, %error, "not kept for replay");
            }
            if this.is_due(&recorded.domain) {
                let directory = this.directory.join(recorded.domain.as_str());
                if let Err(error) = recorded::prune(&directory, record.bounds, SystemTime::now()) {
                    warn!(domain = %recorded.domain, %error, "recorded mail cannot be removed");
                }
            }
            drop(permit);
        });
    }

    /// A domain that receives nothing has its files removed in time too, and so does one that records no longer.
    pub async fn prune_hourly(self: Arc<Self>, domains: Arc<Domains>, shutdown: CancellationToken) {
        loop {
            let (this, table) = (self.clone(), domains.all());
            let _ = tokio::task::spawn_blocking(move || this.prune_all(&table)).await;
            tokio::select! {
                () = tokio::time::sleep(PRUNE_ALL_EVERY) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    fn prune_all(&self, table: &Table) {
        let Ok(directories) = std::fs::read_dir(&self.directory) else { return };
        for directory in directories.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            let name: Option<Domain> =
                directory.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let Some(name) = name else { continue };
            let record = table.get(&name).and_then(|domain| domain.config.record);
            let bounds = record.map_or(BOUNDS, |record| record.bounds);
            if let Err(error) = recorded::prune(&directory, bounds, SystemTime::now()) {
                warn!(domain = %name, %error, "recorded mail cannot be removed");
            }
        }
    }

    fn is_due(&self, domain: &Domain) -> bool {
        let mut pruned = self.pruned.lock().unwrap_or_else(PoisonError::into_inner);
        let due = pruned.get(domain).is_none_or(|at| at.elapsed() > PRUNE_EVERY);
        if due {
            pruned.insert(domain.clone(), Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_of_a_domain_that_records_no_longer_go_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("gone.example/1.json");
        std::fs::create_dir(dir.path().join("gone.example")).unwrap();
        std::fs::write(&old, "{}").unwrap();
        let file = std::fs::File::options().write(true).open(&old).unwrap();
        file.set_modified(SystemTime::now() - 2 * BOUNDS.keep).unwrap();
        Recorder::new(dir.path().to_owned()).prune_all(&Table::new());
        assert!(!old.exists());
    }
}
