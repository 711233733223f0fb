//! Why a client is turned away or cut off, in the words that it and the metrics hear.

use super::table::{Counted, Whose};
use mail::Reply;
use std::sync::atomic::{AtomicU64, Ordering};

/// What there would be too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    Open,
    Connections,
    Messages,
    Recipients,
    Errors,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All listeners together.
    Gateway,
    Listener,
    Network,
    Address,
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub excess: Excess,
    pub scope: Scope,
}

/// Why a connection was ended from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// No command came.
    Idle,
    /// One began and did not end.
    Command,
    /// A message's data took too long as a whole.
    Message,
    /// Its data came too slowly.
    Slow,
    /// The client did not take its replies.
    Write,
    Handshake,
    /// It talked before the greeting.
    Early,
    /// A peer that must send a PROXY header did not.
    Proxy,
}

const EXCESSES: [(Excess, &str); 5] = [
    (Excess::Open, "open"),
    (Excess::Connections, "connections"),
    (Excess::Messages, "messages"),
    (Excess::Recipients, "recipients"),
    (Excess::Errors, "errors"),
];
const SCOPES: [(Scope, &str); 4] = [
    (Scope::Gateway, "gateway"),
    (Scope::Listener, "listener"),
    (Scope::Network, "network"),
    (Scope::Address, "address"),
];
const CUTS: [(Cut, &str); 8] = [
    (Cut::Idle, "idle"),
    (Cut::Command, "command"),
    (Cut::Message, "message"),
    (Cut::Slow, "slow"),
    (Cut::Write, "write"),
    (Cut::Handshake, "handshake"),
    (Cut::Early, "early"),
    (Cut::Proxy, "proxy"),
];

impl From<Counted> for Excess {
    fn from(counted: Counted) -> Self {
        match counted {
            Counted::Connections => Self::Connections,
            Counted::Messages => Self::Messages,
            Counted::Recipients => Self::Recipients,
            Counted::Errors => Self::Errors,
        }
    }
}

impl Scope {
    pub(super) fn of(listener: Option<u16>, whose: Whose) -> Self {
        match whose {
            Whose::Address(_) => Self::Address,
            Whose::Network(_) | Whose::Site(_) => Self::Network,
            Whose::Everybody if listener.is_some() => Self::Listener,
            Whose::Everybody => Self::Gateway,
        }
    }
}

impl Refusal {
    /// 421 ends the session, 451 and 452 refuse the one question.
    pub fn reply(self) -> Reply {
        let whose = match self.scope {
            Scope::Gateway | Scope::Listener => "",
            Scope::Network => " from your network",
            Scope::Address => " from your address",
        };
        let rate = |code, enhanced, what| {
            Reply::new(code, enhanced, format!("[WP-RATE] Too many {what}{whose} within a minute; try again later"))
        };
        match (self.excess, self.scope) {
            (Excess::Open, Scope::Gateway | Scope::Listener) => CROWDED,
            (Excess::Open, Scope::Network | Scope::Address) => {
                Reply::new(421, (4, 7, 0), format!("[WP-CROWDED] Too many connections{whose}"))
            }
            (Excess::Connections, _) => rate(421, (4, 7, 0), "connections"),
            (Excess::Errors, _) => rate(421, (4, 7, 0), "errors"),
            (Excess::Messages, _) => rate(451, (4, 7, 0), "messages"),
            (Excess::Recipients, _) => rate(452, (4, 5, 3), "recipients"),
        }
    }
}

const CROWDED: Reply = Reply::fixed(421, (4, 3, 2), "[WP-CROWDED] Too many connections; try again later");

/// How often each has happened.
#[derive(Default)]
pub(super) struct Tally {
    refused: [[AtomicU64; SCOPES.len()]; EXCESSES.len()],
    cut: [AtomicU64; CUTS.len()],
}

impl Tally {
    pub(super) fn refused(&self, refusal: Refusal) {
        let row = self.refused.get(refusal.excess as usize);
        add_one(row.and_then(|row| row.get(refusal.scope as usize)));
    }

    pub(super) fn cut(&self, cut: Cut) {
        add_one(self.cut.get(cut as usize));
    }

    /// What, whose, how often; those that have happened.
    pub(super) fn refusals(&self) -> Vec<(&'static str, &'static str, u64)> {
        let rows = EXCESSES.iter().zip(&self.refused);
        let all =
            rows.flat_map(|((_, excess), row)| SCOPES.iter().zip(row).map(|((_, scope), n)| (*excess, *scope, n)));
        all.map(|(excess, scope, n)| (excess, scope, n.load(Ordering::Relaxed))).filter(|(.., n)| *n > 0).collect()
    }

    pub(super) fn cuts(&self) -> Vec<(&'static str, u64)> {
        CUTS.iter().zip(&self.cut).map(|((_, name), n)| (*name, n.load(Ordering::Relaxed))).collect()
    }
}

fn add_one(counter: Option<&AtomicU64>) {
    if let Some(counter) = counter {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_and_cut_is_counted_under_its_own_name() {
        let tally = Tally::default();
        for (nth, (excess, name)) in EXCESSES.into_iter().enumerate() {
            assert_eq!(excess as usize, nth, "{name}");
        }
        for (nth, (scope, name)) in SCOPES.into_iter().enumerate() {
            assert_eq!(scope as usize, nth, "{name}");
        }
        for (nth, (cut, name)) in CUTS.into_iter().enumerate() {
            assert_eq!(cut as usize, nth, "{name}");
        }
        tally.refused(Refusal { excess: Excess::Errors, scope: Scope::Network });
        tally.cut(Cut::Slow);
        tally.cut(Cut::Slow);
        assert_eq!(tally.refusals(), [("errors", "network", 1)]);
        assert!(tally.cuts().contains(&("slow", 2)) && tally.cuts().contains(&("idle", 0)));
    }
}
