//! Decides how many notifications are sent: who is flooded in a forged name is not flooded by us. Pure.

use mail::{Mailbox, Timestamp};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// In an hour; as many may go out at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub in_all: u32,
    pub per_address: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { in_all: 1000, per_address: 100 }
    }
}

pub struct Caps {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    all: Option<Bucket>,
    by_address: HashMap<Mailbox, Bucket>,
}

/// Tokens, as of a moment.
#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

/// Which one was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cap {
    #[error("its address has had {0} notifications within an hour")]
    Address(u32),
    #[error("the gateway has sent {0} notifications within an hour")]
    Gateway(u32),
}

/// Addresses that are kept count of; those that have not been told lately are forgotten first.
const MANY: usize = 4096;

impl Caps {
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// A notification may go to `to` now.
    pub fn take(&self, to: &Mailbox, now: Timestamp) -> Result<(), Cap> {
        let Limits { in_all, per_address } = self.limits;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let all = Bucket::filled(state.all, in_all, now);
        if all.tokens < 1.0 {
            return Err(Cap::Gateway(in_all));
        }
        if state.by_address.len() >= MANY {
            state.by_address.retain(|_, bucket| !Bucket::filled(Some(*bucket), per_address, now).is_full(per_address));
        }
        let known = state.by_address.get(to).copied();
        if known.is_none() && state.by_address.len() >= MANY {
            return Err(Cap::Gateway(in_all));
        }
        let own = Bucket::filled(known, per_address, now);
        if own.tokens < 1.0 {
            return Err(Cap::Address(per_address));
        }
        state.all = Some(all.less_one());
        state.by_address.insert(to.clone(), own.less_one());
        Ok(())
    }
}

impl Bucket {
    fn filled(before: Option<Self>, per_hour: u32, now: Timestamp) -> Self {
        let full = f64::from(per_hour);
        let Some(before) = before else { return Self { tokens: full, at: now } };
        let gained = now.since(before.at).as_secs_f64() / 3600.0 * full;
        Self { tokens: (before.tokens + gained).min(full), at: now }
    }

    fn is_full(&self, per_hour: u32) -> bool {
        self.tokens >= f64::from(per_hour)
    }

    fn less_one(self) -> Self {
        Self { tokens: self.tokens - 1.0, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: usize) -> Mailbox {
        format!("a{n}@client.example").parse().unwrap()
    }

    #[test]
    fn an_address_and_the_gateway_have_their_share_of_each_hour() {
        let caps = Caps::new(Limits { in_all: 6, per_address: 4 });
        let t = Timestamp::from_secs;
        let sent = |n, at| (0..10).filter(|_| caps.take(&address(n), t(at)).is_ok()).count();
        assert_eq!(sent(1, 0), 4);
        assert_eq!(caps.take(&address(1), t(0)), Err(Cap::Address(4)));
        assert_eq!(sent(2, 0), 2);
        assert_eq!(caps.take(&address(3), t(0)), Err(Cap::Gateway(6)));
        assert_eq!(sent(1, 1800), 2, "half an hour later, half of it");
        assert_eq!(sent(2, 1800), 1);
        assert_eq!(sent(1, 1000), 0, "a clock that goes back gives nothing");
    }

    #[test]
    fn addresses_are_forgotten_when_they_have_all_their_share_again() {
        let caps = Caps::new(Limits { in_all: 1_000_000, per_address: 2 });
        let known = |caps: &Caps| caps.state.lock().unwrap().by_address.len();
        for n in 0..MANY {
            assert!(caps.take(&address(n), Timestamp::from_secs(0)).is_ok());
        }
        assert!(caps.take(&address(MANY), Timestamp::from_secs(1)).is_err());
        assert!(caps.take(&address(MANY), Timestamp::from_secs(1801)).is_ok());
        assert_eq!(known(&caps), 1);
    }
}
