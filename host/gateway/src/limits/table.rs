//! Who has how much at the moment. Bounded, however many addresses there are.
//!
//! Knows no limits and no clock.

use super::rate::Rate;
use std::{collections::HashMap, net::IpAddr};

/// Whose share it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// By its number; None: of all listeners together.
    pub(super) listener: Option<u16>,
    pub(super) whose: Whose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    Everybody,
    Network(IpAddr),
    /// Of IPv6 only.
    Site(IpAddr),
    Address(IpAddr),
}

/// What is counted by the minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Connections,
    Messages,
    Recipients,
    Errors,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    /// Connections at the moment.
    pub(super) open: u32,
    rates: [Rate; 4],
}

impl Entry {
    pub(super) fn rate(&self, counted: Counted, at: u64) -> u64 {
        let [connections, messages, recipients, errors] = &self.rates;
        match counted {
            Counted::Connections => connections,
            Counted::Messages => messages,
            Counted::Recipients => recipients,
            Counted::Errors => errors,
        }
        .at(at)
    }

    pub(super) fn add(&mut self, counted: Counted, count: u32, at: u64) {
        let [connections, messages, recipients, errors] = &mut self.rates;
        match counted {
            Counted::Connections => connections,
            Counted::Messages => messages,
            Counted::Recipients => recipients,
            Counted::Errors => errors,
        }
        .add(count, at);
    }

    fn is_idle(&self, at: u64) -> bool {
        self.open == 0 && self.rates.iter().all(|rate| rate.at(at) == 0)
    }
}

/// Entries beside those of open connections: some 10 MiB.
const MOST: usize = 100_000;

pub(super) struct Table {
    entries: HashMap<Key, Entry>,
    /// Entries at which the idle ones are looked for.
    sweep_at: usize,
    most: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self::holding(MOST)
    }

    fn holding(most: usize) -> Self {
        Self { entries: HashMap::new(), sweep_at: most, most }
    }

    /// Of whom nothing is known: nothing.
    pub(super) fn get(&self, key: &Key) -> Entry {
        self.entries.get(key).copied().unwrap_or_default()
    }

    pub(super) fn change(&mut self, key: Key, at: u64, change: impl FnOnce(&mut Entry)) {
        if self.entries.len() >= self.sweep_at && !self.entries.contains_key(&key) {
            self.sweep(at);
        }
        change(self.entries.entry(key).or_default());
    }

    /// One connection less. Without a trace in the last minutes the entry goes.
    pub(super) fn leave(&mut self, key: &Key, at: u64) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.open = entry.open.saturating_sub(1);
            if entry.is_idle(at) {
                self.entries.remove(key);
            }
        }
    }

    /// Whoever can fill the table has more addresses than any limit of one would hold: their past is forgotten,
    /// and the limits of networks and listeners are what is left. Whoever has as many networks loses those too. What
    /// is open stays.
    fn sweep(&mut self, at: u64) {
        self.entries.retain(|_, entry| !entry.is_idle(at));
        for forget in [|whose| matches!(whose, Whose::Address(_)), |whose| !matches!(whose, Whose::Everybody)] {
            if self.entries.len() > self.sweep_at / 2 {
                self.entries.retain(|key, entry| entry.open > 0 || !forget(key.whose));
            }
        }
        self.sweep_at = self.most.max(2 * self.entries.len());
        if self.entries.capacity() > 4 * self.sweep_at {
            self.entries.shrink_to(self.sweep_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> Key {
        Key { listener: None, whose: Whose::Address(IpAddr::from(n.to_be_bytes())) }
    }

    #[test]
    fn a_range_full_of_addresses_does_not_grow_the_table_and_open_connections_stay_counted() {
        let mut table = Table::holding(1000);
        for n in 0..300 {
            table.change(address(n), 0, |entry| entry.open += 1);
        }
        for n in 1000..200_000 {
            table.change(address(n), u64::from(n), |entry| entry.add(Counted::Connections, 1, u64::from(n)));
            assert!(table.entries.len() <= 1000);
        }
        assert!((0..300).all(|n| table.get(&address(n)).open == 1));
    }

    #[test]
    fn many_addresses_do_not_make_it_forget_what_their_network_has_done() {
        let mut table = Table::holding(1000);
        let network = |n: u32| Key { listener: None, whose: Whose::Network(IpAddr::from((n << 8).to_be_bytes())) };
        table.change(network(0), 0, |entry| entry.add(Counted::Errors, 9, 0));
        for n in 0..5000 {
            table.change(address(n), 0, |entry| entry.add(Counted::Errors, 1, 0));
        }
        assert_eq!(table.get(&network(0)).rate(Counted::Errors, 0), 9);
        for n in 1..5000 {
            table.change(network(n), 0, |entry| entry.add(Counted::Errors, 1, 0));
            assert!(table.entries.len() <= 1000, "as many networks as addresses do not grow it");
        }
    }

    #[test]
    fn an_entry_goes_with_its_last_connection_unless_its_minute_still_counts() {
        let mut table = Table::new();
        table.change(address(1), 0, |entry| entry.open += 1);
        table.leave(&address(1), 0);
        assert!(table.entries.is_empty());
        table.change(address(1), 0, |entry| {
            entry.open += 1;
            entry.add(Counted::Errors, 5, 0);
        });
        table.leave(&address(1), 0);
        assert_eq!(table.get(&address(1)).rate(Counted::Errors, 0), 5);
        table.change(address(1), 200_000, |entry| entry.open += 1);
        table.leave(&address(1), 200_000);
        assert!(table.entries.is_empty());
    }
}
