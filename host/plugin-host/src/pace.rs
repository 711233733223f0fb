//! Where a call of a binding begins: with the mail that asks, or in the background because it will run long.
//!
//! Nothing is known of a binding that has not been asked yet, so one call at a time is the trial and the
//! others begin in the background: sixteen endless loops that begin together block one thread, and once.

use crate::settings::TICK;
use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

/// A call is long once it has computed for so long.
pub(crate) const LONG: Duration = TICK;
/// Calls that begin in the background after one that was long.
const WARY: u32 = 32;

/// What is known of one hook of a binding.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The last calls were short.
    short: AtomicBool,
    /// Calls that still begin in the background.
    wary: AtomicU32,
    on_trial: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Here,
    Trial,
    Background,
}

impl Pace {
    pub(crate) fn start(&self) -> Start {
        if self.short.load(Ordering::Relaxed) {
            Start::Here
        } else if self.wary.load(Ordering::Relaxed) > 0 || self.on_trial.swap(true, Ordering::Relaxed) {
            Start::Background
        } else {
            Start::Trial
        }
    }

    /// The call told nothing about the next one: it never ran, or only waited.
    pub(crate) fn gave_up(&self, start: Start) {
        if start == Start::Trial {
            self.on_trial.store(false, Ordering::Relaxed);
        }
    }

    /// `spent` is the call's time on a processor.
    pub(crate) fn ended(&self, start: Start, spent: Duration) {
        self.gave_up(start);
        if spent >= LONG {
            self.short.store(false, Ordering::Relaxed);
            self.wary.store(WARY, Ordering::Relaxed);
            return;
        }
        let one_less = self.wary.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |wary| wary.checked_sub(1));
        if one_less.is_err() {
            self.short.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(50);

    #[test]
    fn one_call_at_a_time_is_the_trial_until_one_has_been_short() {
        let pace = Pace::default();
        assert_eq!([pace.start(), pace.start(), pace.start()], [Start::Trial, Start::Background, Start::Background]);
        pace.ended(Start::Trial, SHORT);
        assert_eq!([pace.start(), pace.start()], [Start::Here, Start::Here]);
    }

    #[test]
    fn after_a_long_call_the_next_ones_begin_in_the_background() {
        let pace = Pace::default();
        pace.ended(pace.start(), LONG);
        for _ in 0..WARY {
            assert_eq!(pace.start(), Start::Background);
            pace.ended(Start::Background, SHORT);
        }
        assert_eq!(pace.start(), Start::Trial, "short for a while: here again, one at first");
    }

    #[test]
    fn a_call_that_never_ran_proves_nothing() {
        let pace = Pace::default();
        pace.gave_up(pace.start());
        assert_eq!([pace.start(), pace.start()], [Start::Trial, Start::Background]);
    }

    #[test]
    fn a_trial_that_never_ended_stops_nobody() {
        let pace = Pace::default();
        assert_eq!(pace.start(), Start::Trial);
        pace.ended(pace.start(), SHORT);
        assert_eq!(pace.start(), Start::Here);
    }
}
