//! Finds waiting mail that will soon be given up. Reads few records, however many wait: the oldest say enough.

use crate::claim::ClaimedRecipient;
use crate::shared::Shared;
use crate::store::{self, Record, Seq};
use mail::{Domain, NextHop, Timestamp};
use std::collections::{BTreeMap, BinaryHeap, HashMap};

/// Recipients of one domain that wait for one next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// None waits for a time alone.
    pub next_hop: Option<NextHop>,
    /// Where there are more than are looked at, all that may expire, if those looked at do.
    pub recipients: usize,
    /// When the first is given up.
    pub first: Timestamp,
}

/// Recipients whose records are read, those of the oldest mails.
const LOOKED_AT: usize = 500;

#[derive(Default)]
struct Group {
    count: usize,
    /// The largest on top, to go first.
    oldest: BinaryHeap<(Seq, u32)>,
}

/// Blocks on the disk.
pub(crate) fn expiring(shared: &Shared, domain: &Domain, known: &[Option<NextHop>], until: Timestamp) -> Vec<Expiring> {
    let mut groups: HashMap<Option<NextHop>, Group> = HashMap::new();
    for (hop, seq, index) in shared.index().waiting_until(domain, until) {
        if known.iter().any(|known| known.as_ref() == hop) {
            continue;
        }
        let group = groups.entry(hop.cloned()).or_default();
        group.count += 1;
        group.oldest.push((seq, index));
        if group.oldest.len() > LOOKED_AT {
            group.oldest.pop();
        }
    }
    groups.into_iter().filter_map(|(hop, group)| of_group(shared, hop, group, until)).collect()
}

fn of_group(shared: &Shared, next_hop: Option<NextHop>, group: Group, until: Timestamp) -> Option<Expiring> {
    let looked_at = group.oldest.len();
    let mut wanted: BTreeMap<Seq, Vec<u32>> = BTreeMap::new();
    for (seq, index) in group.oldest {
        wanted.entry(seq).or_default().push(index);
    }
    let seqs: Vec<Seq> = wanted.keys().copied().collect();
    let (records, _) = store::read_each(&*shared.medium, &seqs);
    let ends = records.iter().flat_map(|record| {
        let indexes = wanted.get(&record.seq).into_iter().flatten();
        indexes.filter_map(move |index| expires_at(record, *index))
    });
    let (mut found, mut first) = (0, Timestamp::NEVER);
    for end in ends.filter(|end| *end <= until) {
        (found, first) = (found + 1, first.min(end));
    }
    let recipients = if found == looked_at { group.count } else { found };
    (found > 0).then_some(Expiring { next_hop, recipients, first })
}

fn expires_at(record: &Record, index: u32) -> Option<Timestamp> {
    let row = record.rows.iter().find(|(i, _)| *i == index).map(|(_, row)| row);
    let accepted = record.mail.envelope.recipients.get(index as usize)?;
    Some(ClaimedRecipient::new(&record.mail, index, accepted, row).expires_at)
}
