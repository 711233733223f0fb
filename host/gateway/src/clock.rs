//! The time, handed in: tests set their own.
//!
//! Decides what is told from what is believed: the system's clock may be set by a day while mail waits, and no wait may then
//! last a day longer, nor a mail be returned for it. Never reads a clock on its own account.

use mail::Timestamp;
use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

type Source = Arc<dyn Fn() -> Timestamp + Send + Sync>;

#[derive(Clone)]
pub struct Clock {
    steady: Source,
    date: Source,
}

impl Clock {
    pub fn system() -> Self {
        let (begun, told) = (Instant::now(), date());
        Self { steady: Arc::new(move || told.plus(begun.elapsed())), date: Arc::new(date) }
    }

    /// One source for both.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let source: Source = Arc::new(now);
        Self { steady: source.clone(), date: source }
    }

    /// For waits and for what ends: it goes on from what the system said when this clock was made, without a jump.
    pub fn now(&self) -> Timestamp {
        (self.steady)()
    }

    /// What the system's clock says now: for dates that others read.
    pub fn date(&self) -> Timestamp {
        (self.date)()
    }
}

fn date() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_clock_goes_on_from_its_date() {
        let clock = Clock::system();
        let (first, date, second) = (clock.now(), clock.date(), clock.now());
        assert!(first <= second && second.since(first).as_secs() < 60);
        assert!(date.since(first).as_secs() < 60 && first.since(date).as_secs() < 60);
    }
}
