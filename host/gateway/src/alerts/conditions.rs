//! Decides what is news: a condition is told once when it has lasted, and its end only where it was told.
//!
//! Pure but for the monotonic clock's type; nothing is read, written or sent.

use super::What;
use mail::{Domain, NextHop, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet, VecDeque};
use tokio::time::Instant;

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Key {
    pub domain: Domain,
    pub what: What,
    pub next_hop: Option<NextHop>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    pub since: Timestamp,
    pub reason: Option<String>,
    /// How many recipients, and when the first is given up.
    pub expiring: Option<(usize, Timestamp)>,
}

/// What is to be told, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    Begun(Key, Begun),
    /// Since when it was so.
    Ended(Key, Timestamp),
}

#[derive(Default)]
pub struct Conditions {
    known: HashMap<Key, Stage>,
    /// Next hops of which somebody has heard, or will, that they refuse: asked for each mail that is taken.
    refusing: HashSet<NextHop>,
    ended: VecDeque<(Key, Timestamp)>,
}

enum Stage {
    /// Too short so far for anybody to hear of it.
    Waits {
        until: Instant,
        begun: Begun,
    },
    Told {
        since: Timestamp,
    },
}

impl Conditions {
    /// As a former process had told.
    pub fn told(&mut self, key: Key, since: Timestamp) {
        self.note_refusing(&key);
        self.known.insert(key, Stage::Told { since });
    }

    /// False where it is known.
    pub fn begins(&mut self, key: Key, begun: Begun, until: Instant) -> bool {
        let new = !self.known.contains_key(&key);
        if new {
            self.note_refusing(&key);
            self.known.insert(key, Stage::Waits { until, begun });
        }
        new
    }

    /// False where nobody was told that it had begun.
    pub fn ends(&mut self, key: &Key) -> bool {
        let Some(stage) = self.known.remove(key) else { return false };
        if key.what == What::Refusing {
            self.count_refusing();
        }
        let Stage::Told { since } = stage else { return false };
        self.ended.push_back((key.clone(), since));
        true
    }

    pub fn is_told(&self, key: &Key) -> bool {
        matches!(self.known.get(key), Some(Stage::Told { .. }))
    }

    pub fn next_due(&self) -> Option<Instant> {
        let waits = self.known.values().filter_map(|stage| match stage {
            Stage::Waits { until, .. } => Some(*until),
            Stage::Told { .. } => None,
        });
        waits.min()
    }

    /// What is to be told now; it counts as told.
    pub fn take_due(&mut self, now: Instant) -> Vec<Turn> {
        let mut turns: Vec<Turn> = self.ended.drain(..).map(|(key, since)| Turn::Ended(key, since)).collect();
        for (key, stage) in &mut self.known {
            let Stage::Waits { until, begun } = stage else { continue };
            if *until <= now {
                let begun = begun.clone();
                *stage = Stage::Told { since: begun.since };
                turns.push(Turn::Begun(key.clone(), begun));
            }
        }
        turns
    }

    /// Those that were told and have not ended.
    pub fn all_told(&self) -> impl Iterator<Item = (&Key, Timestamp)> {
        self.known.iter().filter_map(|(key, stage)| match stage {
            Stage::Told { since } => Some((key, *since)),
            Stage::Waits { .. } => None,
        })
    }

    /// Next hops with which something is wrong, whether it was told already or not.
    pub fn in_trouble(&self) -> HashSet<(Domain, NextHop)> {
        let keys = self.known.keys().filter(|key| key.what != What::Expiring);
        keys.filter_map(|key| Some((key.domain.clone(), key.next_hop.clone()?))).collect()
    }

    /// Forgets, without a word, what is not to be kept. Returns what had been told.
    pub fn retain(&mut self, mut keep: impl FnMut(&Key) -> bool) -> Vec<Key> {
        let mut forgotten = Vec::new();
        self.known.retain(|key, stage| {
            let kept = keep(key);
            if !kept && matches!(stage, Stage::Told { .. }) {
                forgotten.push(key.clone());
            }
            kept
        });
        self.count_refusing();
        forgotten
    }

    pub fn is_refusing(&self, next_hop: &NextHop) -> bool {
        self.refusing.contains(next_hop)
    }

    fn note_refusing(&mut self, key: &Key) {
        if key.what == What::Refusing {
            self.refusing.extend(key.next_hop.clone());
        }
    }

    fn count_refusing(&mut self) {
        let refusing = self.known.keys().filter(|key| key.what == What::Refusing);
        self.refusing = refusing.filter_map(|key| key.next_hop.clone()).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SINCE: Timestamp = Timestamp::from_secs(1000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn key(what: What) -> Key {
        let next_hop = Some("mx.example:25".parse().unwrap());
        Key { domain: "a.example".parse().unwrap(), what, next_hop }
    }
    fn begun() -> Begun {
        Begun { since: SINCE, reason: Some("refused".to_owned()), expiring: None }
    }

    #[test]
    fn an_outage_that_lasts_is_told_once_and_so_is_its_end() {
        let (mut conditions, now) = (Conditions::default(), Instant::now());
        assert!(conditions.begins(key(What::Offline), begun(), now + MINUTE));
        assert!(!conditions.begins(key(What::Offline), begun(), now));
        assert_eq!(conditions.take_due(now), []);
        assert_eq!(conditions.next_due(), Some(now + MINUTE));
        assert_eq!(conditions.take_due(now + MINUTE), [Turn::Begun(key(What::Offline), begun())]);
        assert!(!conditions.begins(key(What::Offline), begun(), now));
        assert_eq!((conditions.take_due(now + MINUTE), conditions.next_due()), (vec![], None));
        assert!(conditions.ends(&key(What::Offline)));
        assert!(!conditions.ends(&key(What::Offline)));
        assert_eq!(conditions.take_due(now), [Turn::Ended(key(What::Offline), SINCE)]);
    }

    #[test]
    fn of_an_outage_that_was_short_nobody_hears_anything() {
        let (mut conditions, now) = (Conditions::default(), Instant::now());
        conditions.begins(key(What::Offline), begun(), now + MINUTE);
        assert!(!conditions.ends(&key(What::Offline)));
        assert_eq!(conditions.take_due(now + 2 * MINUTE), []);
    }

    #[test]
    fn an_end_is_told_before_the_next_beginning() {
        let (mut conditions, now) = (Conditions::default(), Instant::now());
        conditions.told(key(What::Offline), SINCE);
        conditions.ends(&key(What::Offline));
        conditions.begins(key(What::Offline), begun(), now);
        let turns = conditions.take_due(now);
        assert_eq!(turns, [Turn::Ended(key(What::Offline), SINCE), Turn::Begun(key(What::Offline), begun())]);
    }

    #[test]
    fn what_is_forgotten_is_told_no_end() {
        let mut conditions = Conditions::default();
        conditions.told(key(What::Refusing), SINCE);
        conditions.begins(key(What::Offline), begun(), Instant::now());
        assert_eq!(conditions.retain(|_| false), [key(What::Refusing)]);
        assert!(!conditions.ends(&key(What::Refusing)));
        assert_eq!(conditions.next_due(), None);
    }

    #[test]
    fn a_next_hop_refuses_until_the_last_that_heard_of_it_hears_its_end() {
        let (mut conditions, hop) = (Conditions::default(), "mx.example:25".parse().unwrap());
        let other = Key { domain: "b.example".parse().unwrap(), ..key(What::Refusing) };
        conditions.told(key(What::Refusing), SINCE);
        conditions.begins(other.clone(), begun(), Instant::now());
        conditions.ends(&key(What::Refusing));
        assert!(conditions.is_refusing(&hop));
        assert!(!conditions.ends(&other));
        assert!(!conditions.is_refusing(&hop));
    }
}
