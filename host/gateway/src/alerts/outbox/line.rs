//! What waits for one target, in order, and how long the next try waits. Pure.

use super::{super::notice::Notice, Outstanding};
use crate::config::AlertTarget;
use mail::Timestamp;
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// An alert that is older says nothing that helps.
pub(super) const MAX_AGE: Duration = Duration::from_secs(7 * 86_400);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(15 * 60);

#[derive(Default)]
pub(super) struct Line {
    waiting: VecDeque<Arc<Notice>>,
    /// Of the first.
    pub(super) tries: u32,
    last_error: Option<String>,
    next_try: Option<Timestamp>,
}

impl Line {
    pub(super) fn push(&mut self, notice: Arc<Notice>) {
        self.waiting.push_back(notice);
    }

    pub(super) fn first(&self) -> Option<Arc<Notice>> {
        self.waiting.front().cloned()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Notice> {
        self.waiting.iter().map(|notice| &**notice)
    }

    /// False where it is not there.
    pub(super) fn remove(&mut self, notice: &Notice) -> bool {
        let same = |other: &Arc<Notice>| other.id == notice.id && other.place == notice.place;
        let Some(at) = self.waiting.iter().position(same) else { return false };
        self.waiting.remove(at);
        if at == 0 {
            (self.tries, self.last_error, self.next_try) = (0, None, None);
        }
        true
    }

    pub(super) fn drop_unless(&mut self, keep: impl Fn(&Notice) -> bool) -> Vec<Arc<Notice>> {
        let (first, all) = (self.first(), std::mem::take(&mut self.waiting));
        let dropped: Vec<_>;
        (self.waiting, dropped) = {
            let (kept, dropped): (VecDeque<_>, VecDeque<_>) = all.into_iter().partition(|notice| keep(notice));
            (kept, dropped.into())
        };
        if self.first() != first {
            (self.tries, self.last_error, self.next_try) = (0, None, None);
        }
        dropped
    }

    pub(super) fn refused(&mut self, why: String, next_try: Timestamp) {
        self.tries = self.tries.saturating_add(1);
        (self.last_error, self.next_try) = (Some(why), Some(next_try));
    }

    pub(super) fn shown(&self, target: &AlertTarget, notice: &Notice) -> Outstanding {
        Outstanding {
            id: notice.id.to_string(),
            event: notice.event.clone(),
            domain: notice.domain.to_string(),
            target: target.as_text(),
            at: notice.at.to_rfc3339(),
            tries: self.tries,
            last_error: self.last_error.clone(),
            next_try: self.next_try.map(Timestamp::to_rfc3339),
        }
    }
}

/// Doubles from a second to a quarter of an hour; `jitter` from 0 to 1 spreads it by a fifth.
pub(super) fn backoff(tries: u32, jitter: f64) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(2u32.saturating_pow(tries)).min(LAST_WAIT);
    wait.mul_f64(0.8 + 0.4 * jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_from_a_second_to_a_quarter_of_an_hour() {
        let waits: Vec<u64> = (0..12).map(|tries| backoff(tries, 0.5).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert_eq!(backoff(u32::MAX, 0.5), LAST_WAIT);
        assert_eq!((backoff(0, 0.0), backoff(0, 1.0)), (Duration::from_millis(800), Duration::from_millis(1200)));
    }
}
