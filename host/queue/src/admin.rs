//! What a person sees of the queue, and how the recipients that they mean are found.

use crate::claim::{ClaimedRecipient, Guard};
use crate::index::{Seen, Wait};
use crate::model::{QueuedMail, State};
use crate::shared::Shared;
use crate::store::{self, Record, Row, Seq};
use mail::{Domain, Failure, MailId, NextHop, Recipient, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All that is given must fit; an empty filter fits everything.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub id: Option<MailId>,
    pub domain: Option<Domain>,
    /// That the recipient waits for, or that its last attempt went to.
    pub next_hop: Option<NextHop>,
    /// That the recipient waits for.
    pub waiting_for: Option<NextHop>,
    /// An address, `@domain`, or `<>` for the null reverse-path; letter case is ignored.
    pub sender: Option<String>,
    /// An address or `@domain`, as the recipient is now; letter case is ignored.
    pub recipient: Option<String>,
    pub state: Option<State>,
    /// Received before this.
    pub older_than: Option<Timestamp>,
}

/// A mail with those of its recipients that were asked for.
#[derive(Clone, Debug)]
pub struct Listing {
    pub mail: Arc<QueuedMail>,
    pub recipients: Vec<Listed>,
}

#[derive(Clone, Debug)]
pub struct Listed {
    /// Its place in the envelope as accepted.
    pub index: u32,
    /// Under its present address.
    pub recipient: Recipient,
    pub state: State,
    /// None waits for a person.
    pub due: Option<Timestamp>,
    pub attempts: u32,
    pub offline_since: Option<Timestamp>,
    pub expires_at: Timestamp,
    /// Why it is held or quarantined.
    pub reason: Option<String>,
    pub waiting_for: Option<NextHop>,
    pub last_failure: Option<Failure>,
}

/// A recipient as the index shows it, kept after its lock is gone.
#[derive(Clone, Copy)]
struct Candidate {
    state: State,
    due: Timestamp,
}

/// Recipients that are read and matched at a time.
pub(crate) const CHUNK: usize = 256;

/// What fits `filter`, oldest first, at most `limit` mails. Blocks on the disk.
pub(crate) fn select(shared: &Shared, filter: &Filter, limit: usize) -> Vec<(Seq, Listing)> {
    let mut candidates: BTreeMap<Seq, BTreeMap<u32, Candidate>> = BTreeMap::new();
    for seen in shared.index().all().filter(|seen| filter.may_fit(seen)) {
        let candidate = Candidate { state: seen.state, due: seen.due };
        candidates.entry(seen.seq).or_default().insert(seen.index, candidate);
    }
    let seqs: Vec<Seq> = candidates.keys().copied().collect();
    let mut found = Vec::new();
    for chunk in seqs.chunks(CHUNK) {
        for record in store::read_each(&*shared.medium, chunk).0 {
            let Some(recipients) = candidates.get(&record.seq) else { continue };
            let listing = filter.listing(&record, recipients);
            if !listing.recipients.is_empty() {
                found.push((record.seq, listing));
            }
            if found.len() >= limit {
                return found;
            }
        }
    }
    found
}

/// Claims those of `found` whose state is still one of `which`, with their records as they are now.
/// Blocks on the disk.
pub(crate) fn take(shared: &Arc<Shared>, found: Vec<(Seq, Listing)>, which: fn(State) -> bool) -> Vec<(Guard, Record)> {
    let mut taken: BTreeMap<Seq, Vec<(u32, Wait)>> = BTreeMap::new();
    {
        let mut index = shared.index();
        for (seq, listing) in &found {
            for i in listing.recipients.iter().filter(|r| which(r.state)).map(|r| r.index) {
                if let Some(before) = index.take_if(*seq, i, which) {
                    taken.entry(*seq).or_default().push((i, before));
                }
            }
        }
    }
    let seqs: Vec<Seq> = taken.keys().copied().collect();
    let (records, _) = store::read_each(&*shared.medium, &seqs);
    let with_guard = |record: Record| {
        let indexes = taken.remove(&record.seq)?.into_iter().map(|(i, _)| i).collect();
        Some((Guard::new(shared.clone(), record.seq, indexes), record))
    };
    let result = records.into_iter().filter_map(with_guard).collect();
    let mut index = shared.index();
    for (seq, before) in taken {
        before.iter().for_each(|(i, wait)| {
            index.set(seq, *i, Some(wait));
        });
    }
    result
}

impl Filter {
    /// It asks for nothing that stands in records only.
    pub(crate) fn is_known_to_index(&self) -> bool {
        let Self { id: _, domain: _, state: _, next_hop, waiting_for, sender, recipient, older_than } = self;
        next_hop.is_none() && waiting_for.is_none() && sender.is_none() && recipient.is_none() && older_than.is_none()
    }

    /// As far as the index knows.
    pub(crate) fn may_fit(&self, seen: &Seen<'_>) -> bool {
        self.id.is_none_or(|id| id == seen.id)
            && self.domain.as_ref().is_none_or(|domain| domain == seen.domain)
            && self.state.is_none_or(|state| state == seen.state)
    }

    fn listing(&self, record: &Record, recipients: &BTreeMap<u32, Candidate>) -> Listing {
        let mail = &record.mail;
        let mail_fits = self.older_than.is_none_or(|time| mail.received_at < time)
            && self.sender.as_ref().is_none_or(|pattern| mail.envelope.sender.fits(pattern));
        let listed = recipients.iter().filter_map(|(i, candidate)| listed(record, *i, *candidate));
        let recipients = listed.filter(|listed| mail_fits && self.fits(listed)).collect();
        Listing { mail: mail.clone(), recipients }
    }

    fn fits(&self, listed: &Listed) -> bool {
        let hop_fits = |hop: &NextHop| {
            let last = listed.last_failure.as_ref().and_then(|failure| failure.next_hop.as_ref());
            listed.waiting_for.as_ref() == Some(hop) || last == Some(hop)
        };
        self.next_hop.as_ref().is_none_or(hop_fits)
            && self.waiting_for.as_ref().is_none_or(|hop| listed.waiting_for.as_ref() == Some(hop))
            && self.recipient.as_ref().is_none_or(|pattern| listed.recipient.address.fits(pattern))
    }
}

fn listed(record: &Record, index: u32, candidate: Candidate) -> Option<Listed> {
    let row: Option<&Row> = record.rows.iter().find(|(i, _)| *i == index).map(|(_, row)| row);
    let accepted = record.mail.envelope.recipients.get(index as usize)?;
    let r = ClaimedRecipient::new(&record.mail, index, accepted, row);
    Some(Listed {
        index,
        recipient: r.recipient,
        state: candidate.state,
        due: (candidate.due != Timestamp::NEVER).then_some(candidate.due),
        attempts: r.attempts,
        offline_since: r.offline_since,
        expires_at: r.expires_at,
        // What a record says of a wait ends, in memory, when its next hop is back.
        reason: row.filter(|_| candidate.state != State::Queued).and_then(|row| row.details.reason.clone()),
        waiting_for: r.waiting_for,
        last_failure: r.last_failure,
    })
}
