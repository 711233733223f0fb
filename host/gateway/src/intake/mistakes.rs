//! What the errors of one session come to: how much later its replies come.
//!
//! Knows no clock, and ends no session.

use crate::config::Tarpit;
use std::time::Duration;

#[derive(Debug, Default)]
pub struct Mistakes {
    /// In all.
    told: u32,
    /// Those that delay replies: half of them are forgiven with each mail that is accepted.
    weighing: u32,
    /// For those since the last reply.
    owed: Duration,
}

impl Mistakes {
    /// How many of all are new; each is paid for, however many came together.
    pub fn tell(&mut self, all: u32, tarpit: &Tarpit) -> u32 {
        let more = all.saturating_sub(std::mem::replace(&mut self.told, all));
        for _ in 0..more {
            self.weighing = self.weighing.saturating_add(1);
            self.owed = self.owed.saturating_add(tarpit.delay(self.weighing));
        }
        more
    }

    pub fn told(&self) -> u32 {
        self.told
    }

    /// The next reply comes later for errors since the last.
    pub fn are_owed_for(&self) -> bool {
        !self.owed.is_zero()
    }

    /// A relay that keeps its connection for long comes by some errors, and brings mail all the same.
    pub fn forgive(&mut self) {
        self.weighing /= 2;
    }

    /// For the next reply.
    pub fn delay(&mut self, tarpit: &Tarpit) -> Duration {
        std::mem::take(&mut self.owed).max(tarpit.delay(self.weighing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARPIT: Tarpit = Tarpit { after: 2, delay: Duration::from_secs(1), most: Duration::from_secs(3) };

    #[test]
    fn errors_that_come_together_cost_as_much_as_one_by_one() {
        let (mut together, mut single) = (Mistakes::default(), Mistakes::default());
        assert_eq!(together.tell(8, &TARPIT), 8);
        let one_by_one: u64 = (1..=8)
            .map(|all| {
                assert_eq!(single.tell(all, &TARPIT), 1);
                single.delay(&TARPIT).as_secs()
            })
            .sum();
        assert_eq!((together.delay(&TARPIT).as_secs(), one_by_one), (15, 15));
        assert_eq!(together.delay(&TARPIT).as_secs(), 3, "what comes after waits no longer than one");
    }

    #[test]
    fn each_accepted_mail_forgives_half() {
        let mut mistakes = Mistakes::default();
        mistakes.tell(8, &TARPIT);
        mistakes.delay(&TARPIT);
        let delays = [(); 4].map(|()| {
            mistakes.forgive();
            mistakes.delay(&TARPIT).as_secs()
        });
        assert_eq!(delays, [2, 0, 0, 0]);
        assert_eq!((mistakes.tell(9, &TARPIT), mistakes.delay(&TARPIT).as_secs()), (1, 0), "only those of late");
    }
}
