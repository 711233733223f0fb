//! Counts what happened within the last minute. Pure: the time is an argument.

/// In seconds.
const MINUTE: u64 = 60;

/// Of this minute and the one before, which counts for as much of it as the last 60 seconds reach into: never more
/// than the limit in a minute by the clock, and no burst of twice as many around its end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    minute: u32,
    now: u32,
    before: u32,
}

impl Rate {
    /// `at` is in milliseconds, from any fixed point in time.
    pub(super) fn add(&mut self, count: u32, at: u64) {
        self.advance(at);
        self.now = self.now.saturating_add(count);
    }

    /// How many within the last minute.
    pub(super) fn at(mut self, at: u64) -> u64 {
        self.advance(at);
        let left = 1000 * MINUTE - at % (1000 * MINUTE);
        u64::from(self.now) + (u64::from(self.before) * left).div_ceil(1000 * MINUTE)
    }

    fn advance(&mut self, at: u64) {
        let minute = minute(at);
        if minute == self.minute {
            return;
        }
        self.before = if minute == self.minute.wrapping_add(1) { self.now } else { 0 };
        (self.minute, self.now) = (minute, 0);
    }
}

fn minute(at: u64) -> u32 {
    (at / 1000 / MINUTE) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_fades_within_the_two_minutes_after() {
        let (mut rate, second) = (Rate::default(), 1000);
        rate.add(6, 30 * second);
        assert_eq!([30, 59, 60, 90, 110, 120, 600].map(|at| rate.at(at * second)), [6, 6, 6, 3, 1, 0, 0]);
        rate.add(4, 90 * second);
        assert_eq!([90, 110, 120, 150, 180].map(|at| rate.at(at * second)), [7, 5, 4, 2, 0]);
    }

    #[test]
    fn no_minute_sees_twice_the_limit_around_its_end() {
        let mut rate = Rate::default();
        let (mut taken, limit) = (0, 10);
        for at in (59_000..61_000).step_by(10) {
            if rate.at(at) < limit {
                rate.add(1, at);
                taken += 1;
            }
        }
        assert_eq!(taken, limit);
    }
}
