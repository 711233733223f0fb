//! Decides whether anybody answers at all: mail must not wait for servers that are gone.
//!
//! Strangers choose most names that are asked for, and servers of their own may say nothing. So their silence proves
//! nothing: after some of it somebody asks what is nobody's choice, and that answer alone decides.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// So many questions in a row without an answer are a reason to doubt.
pub(super) const SILENT: u32 = 8;
/// Until the next question is asked in earnest.
const PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Pulse {
    started: Instant,
    silences: AtomicU32,
    /// In milliseconds since `started`.
    dead_until: AtomicU64,
    in_doubt: AtomicBool,
}

/// To be settled by whoever has it; there is one at a time.
pub(super) struct Doubt<'a>(&'a Pulse);

impl Default for Pulse {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            silences: AtomicU32::new(0),
            dead_until: AtomicU64::new(0),
            in_doubt: AtomicBool::new(false),
        }
    }
}

impl Pulse {
    pub fn is_dead(&self) -> bool {
        self.now() < self.dead_until.load(Ordering::Relaxed)
    }

    pub fn answered(&self) {
        self.silences.store(0, Ordering::Relaxed);
        self.dead_until.store(0, Ordering::Relaxed);
    }

    pub fn silent(&self) -> Option<Doubt<'_>> {
        let more = |silences: u32| Some(silences.saturating_add(1));
        let before = self.silences.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).unwrap_or_default();
        let doubts = before.saturating_add(1) >= SILENT && !self.in_doubt.swap(true, Ordering::Relaxed);
        doubts.then_some(Doubt(self))
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

impl Doubt<'_> {
    pub fn settle(self, somebody_is_there: bool) {
        match somebody_is_there {
            true => self.0.answered(),
            false => self.0.dead_until.store(self.0.now() + PAUSE.as_millis() as u64, Ordering::Relaxed),
        }
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        self.0.in_doubt.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_alone_proves_nothing() {
        let pulse = Pulse::default();
        assert!((1..SILENT).all(|_| pulse.silent().is_none()));
        let doubt = pulse.silent().unwrap();
        assert!(!pulse.is_dead());
        assert!(pulse.silent().is_none(), "one asks for all");
        doubt.settle(true);
        assert!(!pulse.is_dead());
        assert!(pulse.silent().is_none(), "it begins anew");
    }

    #[test]
    fn nobody_is_there_until_somebody_answers() {
        let pulse = Pulse::default();
        let doubt = || (0..=SILENT).find_map(|_| pulse.silent()).unwrap();
        // The one who asked has gone.
        drop(doubt());
        assert!(!pulse.is_dead());
        doubt().settle(false);
        assert!(pulse.is_dead());
        pulse.answered();
        assert!(!pulse.is_dead());
    }
}
