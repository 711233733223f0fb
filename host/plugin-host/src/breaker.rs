//! Decides whether a plugin that keeps failing is asked at all.
//!
//! Pure: the clock is an argument. One breaker serves one plugin of one domain.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const FAILURES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked as usual, after so many failures in a row.
    Closed { failures: u32 },
    /// Not asked until then.
    Open { until: Instant, wait: Duration },
    /// One call is out to see whether it works again.
    Probing { wait: Duration },
}

/// What a breaker shows to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    /// The plugin is not asked; its failure policy answers.
    Open,
    /// A single call probes whether the plugin works again.
    HalfOpen,
}

/// Leave for one call. Dropped without a report (the caller went away), it counts as nothing.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    breaker: &'a Breaker,
    reported: bool,
}

impl Default for Breaker {
    fn default() -> Self {
        Self(Mutex::new(State::Closed { failures: 0 }))
    }
}

impl Breaker {
    /// None: don't ask, apply the policy.
    pub(crate) fn permit(&self, now: Instant) -> Option<Permit<'_>> {
        let mut state = self.lock();
        match *state {
            State::Closed { .. } => {}
            State::Open { until, wait } if now >= until => *state = State::Probing { wait },
            State::Open { .. } | State::Probing { .. } => return None,
        }
        Some(Permit { breaker: self, reported: false })
    }

    pub(crate) fn state(&self) -> BreakerState {
        match *self.lock() {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::Probing { .. } => BreakerState::HalfOpen,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    pub(crate) fn succeeded(mut self) {
        self.reported = true;
        *self.breaker.lock() = State::Closed { failures: 0 };
    }

    pub(crate) fn failed(mut self, now: Instant) {
        self.reported = true;
        let mut state = self.breaker.lock();
        let open = |wait| State::Open { until: now + wait, wait };
        *state = match *state {
            State::Closed { failures } if failures + 1 < FAILURES => State::Closed { failures: failures + 1 },
            State::Closed { .. } => open(FIRST_WAIT),
            State::Probing { wait } => open((wait * 2).min(LONGEST_WAIT)),
            // A call from before it opened; the wait stands.
            State::Open { until, wait } => State::Open { until, wait },
        };
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.reported {
            return;
        }
        let mut state = self.breaker.lock();
        if let State::Probing { wait } = *state {
            *state = State::Open { until: Instant::now(), wait };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &Breaker, now: Instant) {
        breaker.permit(now).unwrap().failed(now);
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_probes_wait_longer_each_time() {
        let breaker = Breaker::default();
        let mut now = Instant::now();
        (0..4).for_each(|_| fail(&breaker, now));
        breaker.permit(now).unwrap().succeeded();
        (0..5).for_each(|_| fail(&breaker, now));
        assert_eq!(breaker.state(), BreakerState::Open);
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            now += Duration::from_secs(wait);
            assert!(breaker.permit(now - Duration::from_millis(1)).is_none());
            let probe = breaker.permit(now).unwrap();
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
            assert!(breaker.permit(now).is_none(), "only one probe at a time");
            probe.failed(now);
        }
        now += Duration::from_secs(60);
        breaker.permit(now).unwrap().succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert!(breaker.permit(now).is_some());
    }

    #[test]
    fn a_probe_whose_caller_went_away_leaves_room_for_the_next() {
        let breaker = Breaker::default();
        let now = Instant::now();
        (0..5).for_each(|_| fail(&breaker, now));
        let later = now + FIRST_WAIT;
        drop(breaker.permit(later).unwrap());
        assert!(breaker.permit(later + FIRST_WAIT).is_some());
    }
}
