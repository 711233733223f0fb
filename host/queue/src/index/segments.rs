//! Decides which segments may go: those without mail, and those that are nearly empty.

use crate::store::Location;
use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Segments(BTreeMap<u32, Use>);

#[derive(Clone, Copy, Default)]
struct Use {
    mails: u32,
    /// Of content that is still needed.
    live: u64,
    /// The end of the last body that was seen here: what the file takes, about.
    end: u64,
    stuck: bool,
}

impl Segments {
    pub(crate) fn add(&mut self, at: Location) {
        let segment = self.0.entry(at.segment).or_default();
        segment.mails += 1;
        segment.live += u64::from(at.length);
        segment.end = segment.end.max(u64::from(at.offset) + u64::from(at.length));
    }

    pub(crate) fn remove(&mut self, at: Location) {
        if let Some(segment) = self.0.get_mut(&at.segment) {
            segment.mails = segment.mails.saturating_sub(1);
            segment.live = segment.live.saturating_sub(u64::from(at.length));
        }
    }

    /// Never to be removed: something that cannot be read refers to it.
    pub(crate) fn pin(&mut self, segment: u32) {
        let segment = self.0.entry(segment).or_default();
        (segment.mails, segment.stuck) = (segment.mails + 1, true);
    }

    /// Not to be emptied: some of its bodies cannot be read.
    pub(crate) fn set_stuck(&mut self, segment: u32) {
        self.0.entry(segment).or_default().stuck = true;
    }

    /// The file is this long, whatever is still needed of it.
    pub(crate) fn set_size(&mut self, segment: u32, size: u64) {
        self.0.entry(segment).or_default().end = size;
    }

    /// Removes and returns the sealed segments that hold no mail.
    pub(crate) fn take_empty(&mut self, current: Option<u32>) -> Vec<u32> {
        let empty = |number: &u32, segment: &Use| segment.mails == 0 && Some(*number) != current;
        let numbers: Vec<u32> = self.0.iter().filter(|(n, s)| empty(n, s)).map(|(n, _)| *n).collect();
        self.0.retain(|number, segment| !empty(number, segment));
        numbers
    }

    /// The sealed segment, at least `least` bytes long, with the smallest share in use, if that is under a quarter.
    pub(crate) fn sparse(&self, current: Option<u32>, least: u64) -> Option<u32> {
        let sparse = |s: &Use| !s.stuck && s.end >= least && s.live * 4 < s.end;
        let sealed = self.0.iter().filter(|(n, s)| Some(**n) != current && sparse(s));
        sealed.min_by_key(|(_, s)| s.live * 1000 / s.end.max(1)).map(|(n, _)| *n)
    }
}
