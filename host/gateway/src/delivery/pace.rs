//! Decides until when a next hop may keep us waiting. Pure: the time is an argument.
//!
//! Only whole replies and whole pieces of data gain time, so that a next hop which trickles cannot keep a
//! worker; and a mail as a whole has an end too.

use crate::config::Timeouts;
use smtp::{Client, Wait};
use std::time::Duration;
use tokio::time::Instant;

pub struct Pace {
    timeouts: Timeouts,
    seen: Option<(Wait, u64)>,
    wait: Limit,
    whole: Option<Limit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub until: Instant,
    pub granted: Duration,
    pub of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Wait,
    WholeMail,
}

impl Limit {
    pub fn new(now: Instant, granted: Duration, of: Of) -> Self {
        Self { until: now + granted, granted, of }
    }
}

impl Pace {
    /// While a connection is opened.
    pub fn opening(timeouts: Timeouts, now: Instant) -> Self {
        Self { timeouts, seen: None, wait: Limit::new(now, timeouts.greeting, Of::Wait), whole: None }
    }

    /// While a mail goes over it.
    pub fn mail(timeouts: Timeouts, now: Instant) -> Self {
        let whole = Some(Limit::new(now, timeouts.message, Of::WholeMail));
        Self { whole, ..Self::opening(timeouts, now) }
    }

    pub fn limit(&mut self, client: &Client, now: Instant) -> Limit {
        self.limit_of(client.waits_for(), client.progress(), now)
    }

    fn limit_of(&mut self, wait: Wait, progress: u64, now: Instant) -> Limit {
        if self.seen != Some((wait, progress)) {
            let was_in_doubt = self.seen.is_some_and(|(before, _)| before == Wait::EndOfData);
            if wait == Wait::EndOfData && !was_in_doubt {
                // Giving up now may make a duplicate: the reply has all its time, with LMTP all the replies have.
                let granted = self.timeouts.message.max(self.timeouts.end_of_data);
                self.whole = Some(Limit::new(now, granted, Of::WholeMail));
            }
            self.seen = Some((wait, progress));
            self.wait = Limit::new(now, self.timeouts.of(wait), Of::Wait);
        }
        self.whole.filter(|whole| whole.until < self.wait.until).unwrap_or(self.wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn only_a_whole_reply_gains_time() {
        let start = Instant::now();
        let mut pace = Pace::mail(Timeouts::default(), start);
        let end = |pace: &mut Pace, wait, progress, at| pace.limit_of(wait, progress, start + secs(at)).until - start;
        assert_eq!(end(&mut pace, Wait::Mail, 1, 0), secs(300));
        assert_eq!(end(&mut pace, Wait::Mail, 1, 299), secs(300));
        assert_eq!(end(&mut pace, Wait::Rcpt, 2, 299), secs(599));
        assert_eq!(end(&mut pace, Wait::DataTaken, 3, 300), secs(480));
        assert_eq!(end(&mut pace, Wait::DataTaken, 4, 400), secs(580));
    }

    #[test]
    fn a_mail_as_a_whole_has_an_end_but_the_reply_to_its_dot_has_all_its_time() {
        let start = Instant::now();
        let timeouts = Timeouts { message: secs(1000), ..Timeouts::default() };
        let mut pace = Pace::mail(timeouts, start);
        let mut end = |wait, progress, at| pace.limit_of(wait, progress, start + secs(at));
        let last = end(Wait::DataTaken, 9, 990);
        assert_eq!((last.until - start, last.of), (secs(1000), Of::WholeMail));
        assert_eq!(end(Wait::EndOfData, 9, 995).until - start, secs(1595));
        assert_eq!(end(Wait::EndOfData, 10, 1500).until - start, secs(1995), "LMTP: the second of its replies");
    }
}
