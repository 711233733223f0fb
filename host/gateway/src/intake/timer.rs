//! Until when a client's next bytes must be there, and what it has missed when they are not.
//!
//! Pure but for [`Instant`]: reads nothing and closes nothing.

use crate::{config::Patience, limits::Cut};
use std::time::Duration;
use tokio::time::Instant;

/// Of one session.
#[derive(Debug)]
pub struct Timer {
    patience: Patience,
    /// The last answer, or the greeting.
    answered: Instant,
    /// The command that has begun and not ended.
    command: Option<Instant>,
    data: Option<Data>,
}

/// A message's data, with what is between the chunks of one.
#[derive(Debug)]
struct Data {
    began: Instant,
    /// How much longer it may stay behind the least rate. Time in which nobody waited for the client costs nothing.
    credit: Duration,
}

/// What the client is expected to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Command,
    /// The rest of one.
    RestOfCommand,
    Data,
}

/// When to look again, and what has run out then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    pub at: Instant,
    pub cut: Cut,
}

impl Timer {
    pub fn new(patience: Patience, now: Instant) -> Self {
        Self { patience, answered: now, command: None, data: None }
    }

    /// Replies have gone out: whatever the client sends now is new.
    pub fn answered(&mut self, now: Instant) {
        (self.answered, self.command) = (now, None);
    }

    /// A message's data begins, unless it has.
    pub fn data_begins(&mut self, now: Instant) {
        let credit = self.patience.stall;
        self.data.get_or_insert(Data { began: now, credit });
    }

    pub fn data_ends(&mut self) {
        self.data = None;
    }

    /// Of what is waited for from `now` on.
    pub fn deadline(&mut self, expected: Expected, now: Instant, crowded: bool) -> Deadline {
        let step = match expected {
            Expected::Command => {
                let at = self.answered + if crowded { self.idle_when_crowded() } else { self.patience.idle };
                Deadline { at, cut: Cut::Idle }
            }
            Expected::RestOfCommand => {
                let began = *self.command.get_or_insert(now);
                Deadline { at: began + self.patience.command, cut: Cut::Command }
            }
            Expected::Data => {
                self.data_begins(now);
                let credit = self.data.as_ref().map_or(self.patience.stall, |data| data.credit);
                Deadline { at: now + credit, cut: Cut::Slow }
            }
        };
        let whole =
            self.data.as_ref().map(|data| Deadline { at: data.began + self.patience.message, cut: Cut::Message });
        let no_rate = expected == Expected::Data && self.patience.least_rate == 0;
        match whole {
            Some(whole) if no_rate || whole.at < step.at => whole,
            _ => step,
        }
    }

    /// Somebody who only waits is asked to leave as soon as it is crowded: when to look for that.
    pub fn look(&self, expected: Expected, now: Instant) -> Option<Instant> {
        let idle = self.idle_when_crowded();
        (expected == Expected::Command && idle < self.patience.idle).then(|| (self.answered + idle).max(now + idle / 8))
    }

    /// So many bytes of data have come after so long a wait.
    pub fn received(&mut self, bytes: usize, waited: Duration) {
        let Some(data) = &mut self.data else { return };
        // u32 of bytes in one read is more than a read brings.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = match u32::try_from(self.patience.least_rate) {
            Ok(0) | Err(_) => Duration::MAX,
            Ok(rate) => Duration::from_secs(1) * bytes / rate,
        };
        data.credit = data.credit.saturating_sub(waited).saturating_add(earned).min(self.patience.stall);
    }

    fn idle_when_crowded(&self) -> Duration {
        self.patience.idle_when_crowded.min(self.patience.idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn timer() -> (Timer, Instant) {
        let now = Instant::now();
        let patience = Patience {
            idle: 300 * SECOND,
            idle_when_crowded: 30 * SECOND,
            command: 60 * SECOND,
            message: 3600 * SECOND,
            least_rate: 100,
            stall: 180 * SECOND,
            ..Patience::default()
        };
        (Timer::new(patience, now), now)
    }

    /// What a client that sends `bytes` each `every` is cut for, and after how long.
    fn trickle(expected: Expected, bytes: usize, every: Duration) -> (Cut, u64) {
        let (mut timer, start) = timer();
        let mut now = start;
        loop {
            let deadline = timer.deadline(expected, now, false);
            if deadline.at <= now + every {
                return (deadline.cut, (deadline.at - start).as_secs());
            }
            now += every;
            timer.received(bytes, every);
        }
    }

    #[test]
    fn a_byte_now_and_then_gains_no_time() {
        assert_eq!(trickle(Expected::Command, 1, 299 * SECOND), (Cut::Idle, 300));
        assert_eq!(trickle(Expected::RestOfCommand, 1, SECOND), (Cut::Command, 60));
        assert_eq!(trickle(Expected::RestOfCommand, 1, 59 * SECOND), (Cut::Command, 60));
        assert_eq!(trickle(Expected::Data, 1, SECOND), (Cut::Slow, 181));
        assert_eq!(trickle(Expected::Data, 99, SECOND).0, Cut::Message);
        assert_eq!(trickle(Expected::Data, 90, SECOND).0, Cut::Slow);
        assert_eq!(trickle(Expected::Data, 100, SECOND), (Cut::Message, 3600));
        assert_eq!(trickle(Expected::Data, 17_000, 170 * SECOND), (Cut::Message, 3600));
        assert_eq!(trickle(Expected::Data, 1 << 20, 181 * SECOND), (Cut::Slow, 180));
    }

    #[test]
    fn an_answer_gives_new_time_for_commands_and_none_for_a_message() {
        let (mut timer, start) = timer();
        timer.data_begins(start);
        for minute in 1..=59 {
            let now = start + minute * 60 * SECOND;
            timer.answered(now);
            let expected = Deadline { at: now + 300 * SECOND, cut: Cut::Idle };
            let whole = Deadline { at: start + 3600 * SECOND, cut: Cut::Message };
            let deadline = timer.deadline(Expected::Command, now, false);
            assert_eq!(deadline, if whole.at < expected.at { whole } else { expected });
        }
        timer.data_ends();
        let now = start + 3599 * SECOND;
        timer.answered(now);
        assert_eq!(timer.deadline(Expected::Command, now, false).at, now + 300 * SECOND);
    }

    #[test]
    fn time_in_which_nobody_waits_for_the_client_costs_it_nothing() {
        let (mut timer, start) = timer();
        timer.data_begins(start);
        // The disk was slow for ten minutes.
        let now = start + 600 * SECOND;
        timer.received(0, SECOND);
        assert_eq!(timer.deadline(Expected::Data, now, false).at, now + 179 * SECOND);
    }

    #[test]
    fn who_only_waits_leaves_sooner_when_it_is_crowded() {
        let (mut timer, start) = timer();
        assert_eq!(
            timer.deadline(Expected::Command, start, true),
            Deadline { at: start + 30 * SECOND, cut: Cut::Idle }
        );
        assert_eq!(timer.look(Expected::Command, start), Some(start + 30 * SECOND));
        let later = start + 100 * SECOND;
        assert!(timer.look(Expected::Command, later).is_some_and(|at| at > later));
        assert_eq!((timer.look(Expected::Data, start), timer.look(Expected::RestOfCommand, start)), (None, None));
        assert_eq!(timer.deadline(Expected::Data, start, true).at, start + 180 * SECOND);
    }

    #[test]
    fn without_a_least_rate_only_the_whole_message_has_a_time() {
        let (mut timer, start) = timer();
        timer.patience.least_rate = 0;
        assert_eq!(
            timer.deadline(Expected::Data, start, false),
            Deadline { at: start + 3600 * SECOND, cut: Cut::Message }
        );
    }
}
