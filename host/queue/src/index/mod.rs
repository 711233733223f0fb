//! Decides whose turn it is: every waiting recipient, by domain and due time, and by the next hop it waits for.
//!
//! Pure: the clock is an argument, nothing is read or written. It knows what is durable, no more.

mod segments;
mod slot;
#[cfg(test)]
mod tests;

use crate::model::State;
use crate::store::{Location, Seq};
use mail::{Domain, MailId, NextHop, Timestamp};
use segments::Segments;
use slot::{Slot, Slots};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound,
};

/// Recipients by state, and what they belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub queued: u64,
    pub deferred: u64,
    pub held: u64,
    pub quarantined: u64,
    pub claimed: u64,
    pub mails: u64,
    /// Of content, in bytes; counted once for each mail.
    pub bytes: u64,
}

#[derive(Default)]
pub(crate) struct Index {
    mails: HashMap<Seq, Entry>,
    lanes: Vec<Lane>,
    lane_of: HashMap<Domain, u32>,
    /// The first due time of each lane that has one.
    heads: BTreeSet<(Timestamp, u32)>,
    hops: Vec<NextHop>,
    hop_of: HashMap<NextHop, u32>,
    waiting: HashMap<u32, BTreeSet<(Seq, u32)>>,
    pub(crate) segments: Segments,
    counts: Counts,
}

struct Lane {
    domain: Domain,
    due: BTreeSet<(Timestamp, Seq, u32)>,
}

struct Entry {
    id: [u8; 16],
    at: Location,
    lane: u32,
    live: u32,
    damaged: bool,
    slots: Slots,
}

/// How a recipient waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) state: State,
    pub(crate) due: Timestamp,
    pub(crate) waiting_for: Option<NextHop>,
}

/// One recipient as a person may ask for it.
#[derive(Clone, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) seq: Seq,
    pub(crate) index: u32,
    pub(crate) id: MailId,
    pub(crate) domain: &'a Domain,
    pub(crate) state: State,
    pub(crate) due: Timestamp,
}

impl Index {
    /// A mail whose recipients all wait alike.
    pub(crate) fn insert(&mut self, seq: Seq, id: MailId, domain: &Domain, at: Location, recipients: u32, wait: &Wait) {
        let lane = self.lane(domain);
        let slot = Slot { due: Timestamp::NEVER, hop: 0, state: None };
        let slots = Slots::new(slot, recipients);
        self.remove(seq);
        self.mails.insert(seq, Entry { id: id.to_bytes(), at, lane, live: 0, damaged: false, slots });
        self.segments.add(at);
        self.counts.mails += 1;
        self.counts.bytes += u64::from(at.length);
        for index in 0..recipients {
            self.set(seq, index, Some(wait));
        }
    }

    /// Puts a recipient where it now waits; none is done. A mail without recipients left is forgotten.
    /// True when something may have become due earlier than before.
    pub(crate) fn set(&mut self, seq: Seq, index: u32, wait: Option<&Wait>) -> bool {
        let before = self.next_due();
        let hop = wait.and_then(|w| w.waiting_for.as_ref()).map_or(0, |hop| self.hop(hop) + 1);
        let slot = wait.map_or(Slot { due: Timestamp::NEVER, hop, state: None }, |w| Slot {
            due: w.due,
            hop,
            state: Some(w.state),
        });
        self.replace(seq, index, slot);
        if self.mails.get(&seq).is_some_and(|entry| entry.live == 0) {
            self.remove(seq);
        }
        self.next_due() < before || (before.is_none() && self.next_due().is_some())
    }

    /// Marks a recipient as claimed; false where it is already claimed, done or unknown.
    pub(crate) fn take(&mut self, seq: Seq, index: u32) -> bool {
        match self.slot(seq, index) {
            Some(slot) if slot.state.is_some_and(|s| s != State::Claimed) => {
                self.replace(seq, index, Slot { state: Some(State::Claimed), ..slot });
                true
            }
            _ => false,
        }
    }

    /// As `take`, where its state is one of `which`; says how it waited.
    pub(crate) fn take_if(&mut self, seq: Seq, index: u32, which: fn(State) -> bool) -> Option<Wait> {
        let slot = self.slot(seq, index)?;
        let state = slot.state.filter(|state| which(*state))?;
        let waiting_for = slot.hop.checked_sub(1).and_then(|hop| self.hops.get(hop as usize)).cloned();
        self.take(seq, index).then_some(Wait { state, due: slot.due, waiting_for })
    }

    /// Next hops that somebody waits for.
    pub(crate) fn awaited(&self) -> Vec<NextHop> {
        let awaited = self.waiting.iter().filter(|(_, waiting)| !waiting.is_empty());
        awaited.filter_map(|(hop, _)| self.hops.get(*hop as usize).cloned()).collect()
    }

    /// The domains that wait for `hop`.
    pub(crate) fn waiting_domains(&self, hop: &NextHop) -> BTreeSet<Domain> {
        let lanes: BTreeSet<u32> =
            self.waiting_for(hop).filter_map(|(seq, _)| self.mails.get(seq)).map(|entry| entry.lane).collect();
        lanes.iter().filter_map(|lane| self.lanes.get(*lane as usize)).map(|lane| lane.domain.clone()).collect()
    }

    fn waiting_for(&self, hop: &NextHop) -> impl Iterator<Item = &(Seq, u32)> {
        self.hop_of.get(hop).and_then(|hop| self.waiting.get(hop)).into_iter().flatten()
    }

    /// Back to waiting as queued, if it is still claimed.
    pub(crate) fn give_back(&mut self, seq: Seq, index: u32, due: Timestamp) {
        if let Some(slot) = self.slot(seq, index)
            && slot.state == Some(State::Claimed)
        {
            self.replace(seq, index, Slot { due, state: Some(State::Queued), ..slot });
        }
    }

    /// Claims at most `max` recipients of a lane, those due longest first, grouped by mail.
    pub(crate) fn take_due(&mut self, domain: &Domain, now: Timestamp, max: usize) -> Vec<(Seq, Vec<u32>)> {
        let Some(lane) = self.lane_of.get(domain).and_then(|lane| self.lanes.get(*lane as usize)) else {
            return Vec::new();
        };
        let upto = (now, Seq::MAX, u32::MAX);
        let due: Vec<_> = lane.due.range(..=upto).take(max).map(|(_, seq, index)| (*seq, *index)).collect();
        self.take_each(due)
    }

    /// As `take_due`, but also those that wait for a time or a next hop, save for those in `except`. Who waits for a
    /// person stays.
    pub(crate) fn take_waiting(
        &mut self,
        domain: &Domain,
        max: usize,
        except: &HashSet<(MailId, u32)>,
    ) -> Vec<(Seq, Vec<u32>)> {
        let Some(lane) = self.lane_of.get(domain).and_then(|lane| self.lanes.get(*lane as usize)) else {
            return Vec::new();
        };
        let wanted =
            |seq: Seq, index: u32| except.is_empty() || self.id(seq).is_some_and(|id| !except.contains(&(id, index)));
        let waiting = lane.due.iter().map(|(_, seq, index)| (*seq, *index)).filter(|(seq, index)| wanted(*seq, *index));
        let waiting = waiting.take(max).collect();
        self.take_each(waiting)
    }

    fn take_each(&mut self, due: Vec<(Seq, u32)>) -> Vec<(Seq, Vec<u32>)> {
        let mut place: HashMap<Seq, usize> = HashMap::with_capacity(due.len());
        let mut mails: Vec<(Seq, Vec<u32>)> = Vec::new();
        for (seq, index) in due {
            self.take(seq, index);
            let at = *place.entry(seq).or_insert(mails.len());
            match mails.get_mut(at) {
                Some((_, indexes)) => indexes.push(index),
                None => mails.push((seq, vec![index])),
            }
        }
        mails
    }

    /// Those of `domain` that wait and are due by `until`, as each mail is at its end; with the next hop that
    /// they wait for.
    pub(crate) fn waiting_until(
        &self,
        domain: &Domain,
        until: Timestamp,
    ) -> impl Iterator<Item = (Option<&NextHop>, Seq, u32)> {
        let lane = self.lane_of.get(domain).and_then(|lane| self.lanes.get(*lane as usize));
        let due = lane.into_iter().flat_map(move |lane| lane.due.range(..=(until, Seq::MAX, u32::MAX)));
        due.filter_map(|(_, seq, index)| {
            let slot = self.slot(*seq, *index)?;
            let waits = matches!(slot.state, Some(State::Deferred | State::Held));
            let hop = slot.hop.checked_sub(1).and_then(|hop| self.hops.get(hop as usize));
            waits.then_some((hop, *seq, *index))
        })
    }

    /// How many of each domain wait for `hop`.
    pub(crate) fn waiting(&self, hop: &NextHop) -> HashMap<Domain, usize> {
        let mut of_lane: HashMap<u32, usize> = HashMap::new();
        let waiting = self.hop_of.get(hop).and_then(|hop| self.waiting.get(hop)).into_iter().flatten();
        for entry in waiting.filter_map(|(seq, _)| self.mails.get(seq)) {
            *of_lane.entry(entry.lane).or_default() += 1;
        }
        let named = |(lane, count): (u32, usize)| Some((self.lanes.get(lane as usize)?.domain.clone(), count));
        of_lane.into_iter().filter_map(named).collect()
    }

    pub(crate) fn due_domains(&self, now: Timestamp) -> Vec<Domain> {
        let lanes = self.heads.range(..=(now, u32::MAX));
        lanes.filter_map(|(_, lane)| self.lanes.get(*lane as usize)).map(|lane| lane.domain.clone()).collect()
    }

    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.heads.first().map(|(due, _)| *due)
    }

    /// At most `max` of those of `domains` who wait for `hop`, behind `after`, are due now. Returns how many, and the last
    /// one that was looked at; none when nobody is left behind it.
    pub(crate) fn wake(
        &mut self,
        hop: &NextHop,
        after: Option<(Seq, u32)>,
        now: Timestamp,
        max: usize,
        domains: &dyn Fn(&Domain) -> bool,
    ) -> (usize, Option<(Seq, u32)>) {
        let Some(waiting) = self.hop_of.get(hop).and_then(|hop| self.waiting.get(hop)) else { return (0, None) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let keys: Vec<(Seq, u32)> = waiting.range((from, Bound::Unbounded)).take(max).copied().collect();
        let last = keys.last().copied().filter(|_| keys.len() == max);
        let mut woken = 0;
        for (seq, index) in keys {
            let of = self.mails.get(&seq).and_then(|entry| self.lanes.get(entry.lane as usize));
            if !of.is_some_and(|lane| domains(&lane.domain)) {
                continue;
            }
            if let Some(slot) = self.slot(seq, index) {
                let due = slot.due.min(now);
                self.replace(seq, index, Slot { due, hop: 0, state: Some(State::Queued) });
                woken += 1;
            }
        }
        (woken, last)
    }

    /// Due now, where it waits for a time or a next hop; who waits for a person stays.
    pub(crate) fn hurry(&mut self, seq: Seq, index: u32, now: Timestamp) -> bool {
        match self.slot(seq, index) {
            Some(slot) if slot.in_due_order() => {
                self.replace(seq, index, Slot { due: slot.due.min(now), ..slot });
                true
            }
            _ => false,
        }
    }

    /// The record of `seq` or its body is damaged: it must not be tried again before a person has looked.
    pub(crate) fn mark_damaged(&mut self, seq: Seq) -> bool {
        self.mails.get_mut(&seq).is_some_and(|entry| !std::mem::replace(&mut entry.damaged, true))
    }
    pub(crate) fn is_damaged(&self, seq: Seq) -> bool {
        self.mails.get(&seq).is_some_and(|entry| entry.damaged)
    }

    /// Recipients of `seq` that are not done, claimed ones included.
    pub(crate) fn live(&self, seq: Seq) -> u32 {
        self.mails.get(&seq).map_or(0, |entry| entry.live)
    }
    pub(crate) fn contains(&self, seq: Seq) -> bool {
        self.mails.contains_key(&seq)
    }
    pub(crate) fn location(&self, seq: Seq) -> Option<Location> {
        self.mails.get(&seq).map(|entry| entry.at)
    }
    pub(crate) fn id(&self, seq: Seq) -> Option<MailId> {
        self.mails.get(&seq).map(|entry| MailId::from_bytes(entry.id))
    }
    pub(crate) fn seqs(&self) -> impl Iterator<Item = Seq> {
        self.mails.keys().copied()
    }
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Recipients of each domain that has any; mails and bytes are not counted.
    pub(crate) fn counts_by_domain(&self) -> BTreeMap<Domain, Counts> {
        let mut all: BTreeMap<Domain, Counts> = BTreeMap::new();
        for seen in self.all() {
            let counts = match all.get_mut(seen.domain) {
                Some(counts) => counts,
                None => all.entry(seen.domain.clone()).or_default(),
            };
            match seen.state {
                State::Queued => counts.queued += 1,
                State::Deferred => counts.deferred += 1,
                State::Held => counts.held += 1,
                State::Quarantined => counts.quarantined += 1,
                State::Claimed => counts.claimed += 1,
            }
        }
        all
    }

    /// The body of `seq` is now at `at`, the former place may go.
    pub(crate) fn relocate(&mut self, seq: Seq, at: Location) {
        if let Some(entry) = self.mails.get_mut(&seq) {
            self.segments.remove(entry.at);
            self.segments.add(at);
            entry.at = at;
        }
    }

    /// Mails whose body is in `segment`.
    pub(crate) fn in_segment(&self, segment: u32) -> Vec<(Seq, MailId, Location)> {
        let here = self.mails.iter().filter(|(_, entry)| entry.at.segment == segment);
        here.map(|(seq, entry)| (*seq, MailId::from_bytes(entry.id), entry.at)).collect()
    }

    /// Every recipient that is not done, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = Seen<'_>> {
        self.mails.iter().flat_map(|(seq, entry)| self.seen(*seq, entry))
    }
    pub(crate) fn of_mail(&self, seq: Seq) -> Vec<Seen<'_>> {
        self.mails.get(&seq).map(|entry| self.seen(seq, entry).collect()).unwrap_or_default()
    }

    fn seen<'a>(&'a self, seq: Seq, entry: &'a Entry) -> impl Iterator<Item = Seen<'a>> {
        let lane = self.lanes.get(entry.lane as usize);
        entry.slots.as_slice().iter().enumerate().filter_map(move |(index, slot)| {
            Some(Seen {
                seq,
                index: index as u32,
                id: MailId::from_bytes(entry.id),
                domain: &lane?.domain,
                state: slot.state?,
                due: slot.due,
            })
        })
    }

    pub(crate) fn remove(&mut self, seq: Seq) {
        let Some(entry) = self.mails.get(&seq) else { return };
        let recipients = entry.slots.as_slice().len() as u32;
        for index in 0..recipients {
            self.replace(seq, index, Slot { due: Timestamp::NEVER, hop: 0, state: None });
        }
        if let Some(entry) = self.mails.remove(&seq) {
            self.segments.remove(entry.at);
            self.counts.mails -= 1;
            self.counts.bytes -= u64::from(entry.at.length);
        }
    }

    fn slot(&self, seq: Seq, index: u32) -> Option<Slot> {
        self.mails.get(&seq)?.slots.as_slice().get(index as usize).copied()
    }

    /// The one place where a slot changes, so that orders and counts follow.
    fn replace(&mut self, seq: Seq, index: u32, new: Slot) {
        let Some(entry) = self.mails.get_mut(&seq) else { return };
        let Some(slot) = entry.slots.as_mut_slice().get_mut(index as usize) else { return };
        let old = std::mem::replace(slot, new);
        entry.live = entry.live + u32::from(new.state.is_some()) - u32::from(old.state.is_some());
        let lane = entry.lane;
        self.count(old.state, false);
        self.count(new.state, true);
        if old.in_due_order() {
            self.due_order(lane, |due| {
                due.remove(&(old.due, seq, index));
            });
        }
        if new.in_due_order() {
            self.due_order(lane, |due| {
                due.insert((new.due, seq, index));
            });
        }
        if let Some(hop) = old.waits_for()
            && let Some(waiting) = self.waiting.get_mut(&hop)
        {
            waiting.remove(&(seq, index));
        }
        if let Some(hop) = new.waits_for() {
            self.waiting.entry(hop).or_default().insert((seq, index));
        }
    }

    fn due_order(&mut self, lane_number: u32, change: impl FnOnce(&mut BTreeSet<(Timestamp, Seq, u32)>)) {
        let Some(lane) = self.lanes.get_mut(lane_number as usize) else { return };
        let head = lane.due.first().map(|(due, ..)| *due);
        change(&mut lane.due);
        let new_head = lane.due.first().map(|(due, ..)| *due);
        if head != new_head {
            if let Some(head) = head {
                self.heads.remove(&(head, lane_number));
            }
            if let Some(head) = new_head {
                self.heads.insert((head, lane_number));
            }
        }
    }

    fn count(&mut self, state: Option<State>, more: bool) {
        let count = match state {
            None => return,
            Some(State::Queued) => &mut self.counts.queued,
            Some(State::Deferred) => &mut self.counts.deferred,
            Some(State::Held) => &mut self.counts.held,
            Some(State::Quarantined) => &mut self.counts.quarantined,
            Some(State::Claimed) => &mut self.counts.claimed,
        };
        *count = if more { *count + 1 } else { *count - 1 };
    }

    fn lane(&mut self, domain: &Domain) -> u32 {
        if let Some(lane) = self.lane_of.get(domain) {
            return *lane;
        }
        let number = self.lanes.len() as u32;
        self.lanes.push(Lane { domain: domain.clone(), due: BTreeSet::new() });
        self.lane_of.insert(domain.clone(), number);
        number
    }

    fn hop(&mut self, hop: &NextHop) -> u32 {
        if let Some(number) = self.hop_of.get(hop) {
            return *number;
        }
        let number = self.hops.len() as u32;
        self.hops.push(hop.clone());
        self.hop_of.insert(hop.clone(), number);
        number
    }
}
