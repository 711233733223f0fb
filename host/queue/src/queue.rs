//! The queue as its callers see it.

use crate::admin::{self, Filter, Listing};
use crate::claim::{Claim, Guard};
use crate::expiring::{self, Expiring};
use crate::fail_point::{self, FailPoint};
use crate::inbox::{Accepted, Op, Ticket, Work};
use crate::index::Counts;
use crate::kv::Kv;
use crate::model::{EnqueueError, Health, NewMail, OpenError, QueuedMail, Recovered, SettleError, Settlement, State};
use crate::options::Options;
use crate::recover::{self, Found};
use crate::settle;
use crate::shared::{self, Shared};
use crate::store::{self, Encoded, Medium, Record, Row, StoreError, disk::Disk, memory::Memory};
use crate::writer::Writer;
use bytes::Bytes;
use mail::{Domain, KvError, KvStore, MailId, NextHop, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use tokio::sync::{oneshot, watch};

/// Recipients that are woken while nobody else gets at the index.
const WOKEN_AT_ONCE: usize = 500;

/// Whose turn it was among those who wait for a next hop.
#[derive(Clone, Debug, Default)]
pub struct Round(Option<(u64, u32)>);

/// Cheap to clone: all clones are one queue.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    kv: Arc<Kv>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Queue {
    /// Takes over the data directory `dir` and recovers what is there. Blocks.
    pub fn open(dir: &Path, options: Options, now: Timestamp) -> Result<(Self, Recovered), OpenError> {
        let disk = Disk::new(dir, options.segment_size);
        Self::start(Arc::new(disk), dir, options, now)
    }

    /// A queue that forgets everything when it goes, for tests.
    pub fn open_in_memory(options: Options, now: Timestamp) -> Result<Self, OpenError> {
        let memory = Memory::new(options.segment_size);
        Self::start(Arc::new(memory), Path::new("memory"), options, now).map(|(queue, _)| queue)
    }

    pub(crate) fn start(
        medium: Arc<dyn Medium>,
        dir: &Path,
        options: Options,
        now: Timestamp,
    ) -> Result<(Self, Recovered), OpenError> {
        let failed = |error: StoreError| OpenError::Store { dir: dir.to_owned(), reason: error.to_string() };
        let opened = medium.prepare()?;
        let Found { index, mut recovered, last_seq, holds, empty_segments } =
            recover::recover(&*medium, now).map_err(failed)?;
        recovered.set_aside_store = opened.set_aside;
        recovered.set_aside += opened.damaged;
        let mut store = medium.open().map_err(failed)?;
        for number in empty_segments {
            if let Err(error) = store.remove_segment(number) {
                tracing::warn!(number, %error, "segment not removed; the next start will");
            }
            fail_point::reached(FailPoint::StartUnlinked);
        }
        let shared = Arc::new(Shared::new(options, medium, index));
        let kv = Arc::new(Kv::open(shared.clone()).map_err(failed)?);
        for hold in holds {
            shared.inbox.push(hold);
        }
        let writer = Writer::new(shared.clone(), kv.clone(), store, last_seq);
        let thread = thread::Builder::new().name("queue-writer".into()).spawn(move || writer.run());
        let thread = thread.map_err(|source| OpenError::Io { dir: dir.to_owned(), source })?;
        Ok((Self(Arc::new(Inner { shared, kv, writer: Mutex::new(Some(thread)) })), recovered))
    }

    /// When it returns, the mail is ours: durable, names of files included. A queued mail comes back
    /// claimed for its first attempt. A caller that stops waiting must not answer 250, but may have
    /// queued the mail all the same.
    pub async fn enqueue(&self, mail: NewMail) -> Result<Claim, EnqueueError> {
        let mail = accept(mail)?;
        let place = match self.health() {
            Health::Unhealthy { reason, .. } => return Err(EnqueueError::Unhealthy(reason)),
            // What frees room may itself wait in the line.
            Health::Full => self.shared().inbox.try_permit().ok_or(EnqueueError::Full)?,
            Health::Healthy => self.shared().inbox.permit().await.ok_or(EnqueueError::Closed)?,
        };
        let (ticket, answered) = Ticket::new(place);
        self.shared().inbox.push(Op::Enqueue { mail: Box::new(mail), ticket });
        answered.await.unwrap_or(Err(EnqueueError::Closed))
    }

    /// Domains with recipients that are due.
    pub fn due_domains(&self, now: Timestamp) -> Vec<Domain> {
        self.shared().index().due_domains(now)
    }

    /// When the next recipient is due, which may be in the past.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.shared().index().next_due()
    }

    /// Changes whenever `next_due` may have become earlier.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared().subscribe()
    }

    /// Recipients of `domain` that are due, at most `max`, those due longest first, one claim for each mail.
    pub async fn claim(&self, domain: &Domain, now: Timestamp, max: usize) -> Vec<Claim> {
        let taken = self.shared().index().take_due(domain, now, max);
        self.claim_taken(taken).await
    }

    /// For a next hop that has come for its mail: also what waits for a time or for a next hop, at most `max`
    /// recipients, save for those in `except`. What waits for a person stays.
    pub async fn claim_waiting(&self, domain: &Domain, max: usize, except: &HashSet<(MailId, u32)>) -> Vec<Claim> {
        let taken = self.shared().index().take_waiting(domain, max, except);
        self.claim_taken(taken).await
    }

    async fn claim_taken(&self, taken: Vec<(u64, Vec<u32>)>) -> Vec<Claim> {
        if taken.is_empty() {
            return Vec::new();
        }
        let guards: Vec<Guard> =
            taken.into_iter().map(|(seq, indexes)| Guard::new(self.shared().clone(), seq, indexes)).collect();
        let shared = self.shared().clone();
        blocking(move || claims(&shared, guards)).await.unwrap_or_default()
    }

    /// When it returns, the outcomes are durable. While the disk fails this waits; the outcomes are kept and
    /// written when it works again. The claim of the DSN comes back, if there was one.
    pub async fn settle(&self, settlement: Settlement) -> Result<Option<Claim>, SettleError> {
        fail_point::reached(FailPoint::Settling);
        let Settlement { claim, outcomes, dsn, attributes, expires_at, delay_told } = settlement;
        let now = (self.shared().options.clock)();
        let mut moves: Vec<(u32, Option<Row>)> = Vec::with_capacity(outcomes.len());
        for (index, outcome) in outcomes {
            let claimed = claim.guard.indexes.contains(&index) && moves.iter().all(|(i, _)| *i != index);
            if let Some(recipient) = claim.recipients.iter().find(|r| r.index == index).filter(|_| claimed) {
                let mut row = settle::settled(recipient, outcome, expires_at, now);
                if let Some(row) = row.as_mut().filter(|_| delay_told.contains(&index)) {
                    row.details.delay_told = true;
                }
                moves.push((index, row));
            }
        }
        let dsn = dsn.map(accept).transpose().unwrap_or_else(|error| {
            tracing::error!(queue_id = %claim.mail.id, %error, "the DSN cannot be queued");
            None
        });
        self.write(Work { guard: claim.guard, moves, attributes, dsn }).await
    }

    /// Given back untried: due now.
    pub fn unclaim(&self, mut claim: Claim) {
        let indexes = claim.guard.disarm();
        self.shared().give_back(claim.guard.seq, &indexes, (self.shared().options.clock)());
    }

    /// The next hop is back: everyone of these domains who waits for it is due now. Returns how many. In memory only:
    /// after a restart they wait for it again, and are woken again.
    pub fn wake(&self, next_hop: &NextHop, now: Timestamp, domains: impl Fn(&Domain) -> bool) -> usize {
        let (mut woken, mut at) = (0, None);
        loop {
            // A part at a time: others need the index too.
            let (count, last) = self.shared().index().wake(next_hop, at, now, WOKEN_AT_ONCE, &domains);
            woken += count;
            at = last;
            if count > 0 {
                self.shared().notify();
            }
            if at.is_none() {
                return woken;
            }
        }
    }

    /// One of those who wait for `next_hop` is due now, to try whether it takes mail: the next one behind `round`, in a
    /// round. False where nobody of these domains waits.
    pub fn wake_one(
        &self,
        next_hop: &NextHop,
        round: &mut Round,
        now: Timestamp,
        domains: impl Fn(&Domain) -> bool,
    ) -> bool {
        let begun = round.0.is_some();
        loop {
            let (count, last) = self.shared().index().wake(next_hop, round.0, now, 1, &domains);
            round.0 = last;
            if count > 0 {
                self.shared().notify();
                return true;
            }
            if last.is_none() {
                return begun && self.wake_one(next_hop, round, now, domains);
            }
        }
    }

    /// The domains whose recipients wait for `next_hop`.
    pub fn waiting_domains(&self, next_hop: &NextHop) -> BTreeSet<Domain> {
        self.shared().index().waiting_domains(next_hop)
    }

    /// Next hops that recipients wait for, as `Deferred` or `Held` told.
    pub fn awaited(&self) -> Vec<NextHop> {
        self.shared().index().awaited()
    }

    /// Oldest first, at most `limit` mails.
    pub async fn list(&self, filter: &Filter, limit: usize) -> Vec<Listing> {
        self.select(filter, limit).await.into_iter().map(|(_, listing)| listing).collect()
    }

    /// Recipients that wait for a time or a next hop are due now; a restart forgets that. Returns how many.
    pub async fn retry(&self, filter: &Filter) -> usize {
        if filter.is_known_to_index() {
            return self.hurry_indexed(filter);
        }
        let found = self.select(filter, usize::MAX).await;
        let now = (self.shared().options.clock)();
        let mut index = self.shared().index();
        let each = found.iter().flat_map(|(seq, listing)| listing.recipients.iter().map(|r| (*seq, r.index)));
        let hurried = each.filter(|(seq, i)| index.hurry(*seq, *i, now)).count();
        drop(index);
        self.shared().notify();
        hurried
    }

    /// Reads no record: a backlog of a domain is hurried in memory.
    fn hurry_indexed(&self, filter: &Filter) -> usize {
        let now = (self.shared().options.clock)();
        let mut index = self.shared().index();
        let found: Vec<_> =
            index.all().filter(|seen| filter.may_fit(seen)).map(|seen| (seen.seq, seen.index)).collect();
        let hurried = found.into_iter().filter(|(seq, i)| index.hurry(*seq, *i, now)).count();
        drop(index);
        self.shared().notify();
        hurried
    }

    /// Kept until released. Recipients in an attempt are left alone. Returns how many; durable when it returns.
    pub async fn hold(&self, filter: &Filter, reason: &str) -> usize {
        self.change(filter, |_| true, |row, _| Some(settle::held(row, reason.to_owned()))).await
    }

    /// Held and quarantined recipients are due now. Returns how many; durable when it returns.
    pub async fn release(&self, filter: &Filter) -> usize {
        let waits = |state| matches!(state, State::Held | State::Quarantined);
        self.change(filter, waits, |row, now| Some(settle::released(row, now))).await
    }

    /// Gone without a DSN, each with a log line. Recipients in an attempt are left alone. Returns how many;
    /// durable when it returns.
    pub async fn remove(&self, filter: &Filter) -> usize {
        self.change(filter, |_| true, |_, _| None).await
    }

    /// Recipients of `domain` that wait and whose time is over at `until`, by the next hop that they wait for;
    /// none for the next hops in `known`. Domains that may have some are `due_domains(until)`.
    pub async fn expiring(&self, domain: &Domain, known: Vec<Option<NextHop>>, until: Timestamp) -> Vec<Expiring> {
        let (shared, domain) = (self.shared().clone(), domain.clone());
        blocking(move || expiring::expiring(&shared, &domain, &known, until)).await.unwrap_or_default()
    }

    /// How many recipients of each domain wait for `next_hop`.
    pub fn waiting(&self, next_hop: &NextHop) -> HashMap<Domain, usize> {
        self.shared().index().waiting(next_hop)
    }

    pub fn counts(&self) -> Counts {
        self.shared().index().counts()
    }

    /// Of recipients, by domain; mails and bytes are not counted.
    pub fn counts_by_domain(&self) -> BTreeMap<Domain, Counts> {
        self.shared().index().counts_by_domain()
    }

    pub fn health(&self) -> Health {
        self.shared().health()
    }

    /// Durable state for plugins.
    pub fn kv(&self) -> Arc<dyn KvStore> {
        self.0.kv.clone()
    }

    /// A small value that the gateway has noted for itself.
    pub fn fact(&self, key: &str) -> Result<Option<Bytes>, KvError> {
        self.0.kv.fact(key)
    }

    /// Those whose key begins with `prefix`, in order of key. Blocks on the disk: for a start.
    pub fn facts(&self, prefix: &str) -> Result<Vec<(String, Bytes)>, KvError> {
        self.0.kv.facts(prefix)
    }

    /// None forgets it. Seen at once, durable soon, and no later than a mail that is enqueued after it.
    pub fn set_fact(&self, key: &str, value: Option<&[u8]>) -> Result<(), KvError> {
        self.0.kv.set_fact(key, value)
    }

    /// As `set_fact`, for several: after a crash either all of them are there or none.
    pub fn set_facts(&self, facts: &[(String, Option<Vec<u8>>)]) -> Result<(), KvError> {
        self.0.kv.set_facts(facts)
    }

    /// When it returns, the facts that were set before are durable. While the disk fails this waits.
    pub async fn facts_written(&self) {
        self.0.kv.all_written().await;
    }

    /// Writes what waits, and ends. Callers on other clones hear `Closed`.
    pub async fn close(self) {
        self.shared().inbox.close();
        let thread = shared::lock(&self.0.writer).take();
        if let Some(thread) = thread {
            blocking(move || thread.join().ok()).await;
        }
    }

    #[cfg(test)]
    pub(crate) fn purge_kv(&self) {
        self.0.kv.purge();
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    async fn write(&self, work: Work) -> Result<Option<Claim>, SettleError> {
        let answered = self.send(work).await.ok_or(SettleError::Closed)?;
        answered.await.unwrap_or(Err(SettleError::Closed))
    }

    /// None when the queue is closed.
    async fn send(&self, work: Work) -> Option<oneshot::Receiver<Result<Option<Claim>, SettleError>>> {
        let place = self.shared().inbox.permit().await?;
        let (ticket, answered) = Ticket::new(place);
        self.shared().inbox.push(Op::Settle { work: Box::new(work), ticket });
        Some(answered)
    }

    async fn select(&self, filter: &Filter, limit: usize) -> Vec<(u64, Listing)> {
        let (shared, filter) = (self.shared().clone(), filter.clone());
        blocking(move || admin::select(&shared, &filter, limit)).await.unwrap_or_default()
    }

    /// Claims what fits and writes what `new` makes of each recipient's row; none removes it.
    async fn change(
        &self,
        filter: &Filter,
        which: fn(State) -> bool,
        new: impl Fn(Option<Row>, Timestamp) -> Option<Row>,
    ) -> usize {
        let now = (self.shared().options.clock)();
        let found = self.select(filter, usize::MAX).await;
        let mut answers = Vec::new();
        let mut found = found.into_iter().peekable();
        while found.peek().is_some() {
            let chunk = found.by_ref().take(admin::CHUNK).collect();
            let shared = self.shared().clone();
            let taken = blocking(move || admin::take(&shared, chunk, which)).await;
            for (guard, record) in taken.unwrap_or_default() {
                let row = |i: u32| record.rows.iter().find(|(j, _)| *j == i).map(|(_, row)| row.clone());
                let moves: Vec<_> = guard.indexes.iter().map(|i| (*i, new(row(*i), now))).collect();
                log_removed(&record, &moves);
                let count = moves.len();
                answers.push((count, self.send(Work { guard, moves, attributes: None, dsn: None }).await));
            }
        }
        let mut changed = 0;
        for (count, answer) in answers {
            if let Some(answer) = answer
                && answer.await.is_ok_and(|settled| settled.is_ok())
            {
                changed += count;
            }
        }
        changed
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.inbox.close();
    }
}

fn accept(new: NewMail) -> Result<Accepted, EnqueueError> {
    if new.envelope.recipients.is_empty() {
        return Err(EnqueueError::NoRecipients);
    }
    // Lengths and places in a segment have 32 bits.
    if new.content.len() as u64 > u64::from(u32::MAX) - 1024 {
        return Err(EnqueueError::TooLarge);
    }
    let (mail, content, state) = QueuedMail::split(new);
    Ok(Accepted { encoded: Encoded::of(&mail), mail: Arc::new(mail), content, row: settle::initial(state) })
}

/// Reads the records of what was taken; what cannot be read is due again soon.
fn claims(shared: &Shared, guards: Vec<Guard>) -> Vec<Claim> {
    let seqs: Vec<u64> = guards.iter().map(|guard| guard.seq).collect();
    let (records, unread) = store::read_each(&*shared.medium, &seqs);
    let mut records: HashMap<u64, Record> = records.into_iter().map(|record| (record.seq, record)).collect();
    let mut claims = Vec::with_capacity(guards.len());
    for guard in guards {
        match records.remove(&guard.seq) {
            Some(record) => claims.push(Claim::from_record(guard, record)),
            // Left out of the answer: its record is damaged, and the mail is held as its guard goes.
            None if !unread.contains(&guard.seq) => {
                shared.index().mark_damaged(guard.seq);
            }
            // Perhaps a passing failure: due again soon.
            None => {}
        }
    }
    claims
}

fn log_removed(record: &Record, moves: &[(u32, Option<Row>)]) {
    for (index, _) in moves.iter().filter(|(_, row)| row.is_none()) {
        if let Some(recipient) = record.mail.envelope.recipients.get(*index as usize) {
            tracing::info!(queue_id = %record.mail.id, recipient = %recipient.address, outcome = "removed");
        }
    }
}

/// Off the async threads; none if the closure has panicked.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
