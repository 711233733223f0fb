//! How much clients may take: connections at once, and by the minute connections, messages, recipients and errors;
//! of one address, of one network, of one listener, and of the gateway.
//!
//! Never waits and never talks to a client. What changes in the configuration holds from the next question on.

mod customer;
mod place;
mod rate;
mod refusal;
mod table;

pub use customer::customer;
pub use place::Place;
pub use refusal::{Cut, Excess, Refusal, Scope};

use crate::{
    clock::Clock,
    config::{self, Caps, Config, Patience},
};
use refusal::Tally;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, RwLock},
};
use table::{Counted, Key, Table, Whose};

/// What holds for all listeners together, and for each.
#[derive(Clone, Debug, Default)]
struct Settings {
    everybody: Caps,
    network: Caps,
    address: Caps,
    /// By number.
    listeners: Vec<config::Limits>,
}

/// Of the whole gateway.
pub struct Limits {
    settings: RwLock<Settings>,
    table: Mutex<Table>,
    clock: Clock,
    tally: Tally,
}

/// Of what one network has, for all of an IPv6 site together.
const SITE: u32 = 4;
/// At which share of all connections it counts as crowded, in percent.
const CROWDED: u32 = 80;

impl Limits {
    pub fn new(config: &Config, clock: Clock) -> Arc<Self> {
        Self::with(Settings::of(config), clock)
    }

    /// Of a listener that has no more to limit than connections at once.
    pub fn of_connections(total: u32, per_address: u32) -> Arc<Self> {
        let settings = Settings { everybody: at_once(total), address: at_once(per_address), ..Settings::default() };
        Self::with(settings, Clock::system())
    }

    fn with(settings: Settings, clock: Clock) -> Arc<Self> {
        let (table, tally) = (Mutex::new(Table::new()), Tally::default());
        Arc::new(Self { settings: RwLock::new(settings), table, clock, tally })
    }

    /// For whoever comes from now on; nobody is sent away.
    pub fn configure(&self, config: &Config) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Settings::of(config);
    }

    /// What clients of a listener, by its number, are given from now on.
    pub fn patience(&self, listener: u16) -> Patience {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        settings.listeners.get(usize::from(listener)).map(|limits| limits.patience).unwrap_or_default()
    }

    /// A place for a client at this address; None: it is not known yet who it is, and [`Place::belongs_to`] follows.
    pub fn enter(self: &Arc<Self>, listener: u16, address: Option<IpAddr>) -> Result<Place, Refusal> {
        let listening = [Key { listener: Some(listener), whose: Whose::Everybody }, EVERYBODY];
        let mut keys: Vec<Key> = address.into_iter().flat_map(|address| of_client(listener, address)).collect();
        keys.extend(listening);
        self.claim(&keys, address.map(|_| Counted::Connections))?;
        Ok(Place::new(self.clone(), listener, address))
    }

    pub fn is_crowded(&self) -> bool {
        let most = self.settings.read().unwrap_or_else(PoisonError::into_inner).everybody.connections;
        most.is_some_and(|most| u64::from(self.open()) * 100 >= u64::from(most) * u64::from(CROWDED))
    }

    /// Connections at the moment.
    pub fn open(&self) -> u32 {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).get(&EVERYBODY).open
    }

    pub fn cut(&self, cut: Cut) {
        self.tally.cut(cut);
    }

    /// What there was too much of, whose, and how often.
    pub fn refusals(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.tally.refusals()
    }

    /// Why connections were ended, and how often.
    pub fn cuts(&self) -> Vec<(&'static str, u64)> {
        self.tally.cuts()
    }

    /// One connection for each, or for none. Who has made too many errors has no more of them.
    fn claim(&self, keys: &[Key], counted: Option<Counted>) -> Result<(), Refusal> {
        let (at, settings) = (self.at(), self.settings.read().unwrap_or_else(PoisonError::into_inner));
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            let (entry, caps) = (table.get(key), settings.caps(key));
            let scope = Scope::of(key.listener, key.whose);
            let is_full = caps.connections.is_some_and(|most| entry.open >= most);
            let too_many = |counted| caps.by_the_minute(counted).is_some_and(|most| entry.rate(counted, at) >= most);
            let excess = match counted {
                _ if is_full => Excess::Open,
                Some(counted) if too_many(counted) => counted.into(),
                Some(_) if too_many(Counted::Errors) => Excess::Errors,
                _ => continue,
            };
            return Err(self.refuse(Refusal { excess, scope }));
        }
        for key in keys {
            table.change(*key, at, |entry| {
                entry.open = entry.open.saturating_add(1);
                if let Some(counted) = counted {
                    entry.add(counted, 1, at);
                }
            });
        }
        Ok(())
    }

    /// So many more for each, unless one of them has too many already; errors count in any case.
    fn count(&self, keys: &[Key], counted: Counted, more: u32) -> Result<(), Refusal> {
        let (at, settings) = (self.at(), self.settings.read().unwrap_or_else(PoisonError::into_inner));
        let is_limited = |key: &&Key| settings.caps(key).by_the_minute(counted).is_some();
        let keys = || keys.iter().filter(is_limited);
        if keys().next().is_none() {
            return Ok(());
        }
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |table: &Table, key: &Key, more: u32| {
            let most = settings.caps(key).by_the_minute(counted);
            most.is_some_and(|most| table.get(key).rate(counted, at) + u64::from(more) > most)
        };
        let refusal = |key: &Key| Refusal { excess: counted.into(), scope: Scope::of(key.listener, key.whose) };
        let over = keys().find(|key| is_over(&table, key, more)).map(|key| self.refuse(refusal(key)));
        if over.is_none() || counted == Counted::Errors {
            keys().for_each(|key| table.change(*key, at, |entry| entry.add(counted, more, at)));
        }
        over.map_or(Ok(()), Err)
    }

    fn leave(&self, keys: &[Key]) {
        let at = self.at();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().for_each(|key| table.leave(key, at));
    }

    fn refuse(&self, refusal: Refusal) -> Refusal {
        self.tally.refused(refusal);
        refusal
    }

    /// In milliseconds.
    fn at(&self) -> u64 {
        self.clock.now().as_millis()
    }
}

const EVERYBODY: Key = Key { listener: None, whose: Whose::Everybody };

/// The narrower before the wider: who has had enough must not use up what is others' too.
fn of_client(listener: u16, address: IpAddr) -> Vec<Key> {
    let site = customer::site(address).map(Whose::Site);
    let whose = [Whose::Address(address.to_canonical()), Whose::Network(customer::network(address))];
    let both = |whose| [Some(listener), None].map(|listener| Key { listener, whose });
    whose.into_iter().chain(site).flat_map(both).collect()
}

fn at_once(connections: u32) -> Caps {
    Caps { connections: Some(connections), ..Caps::default() }
}

impl Settings {
    fn of(config: &Config) -> Self {
        let most = |connections| at_once(u32::try_from(connections).unwrap_or(u32::MAX));
        Self {
            everybody: most(config.max_connections),
            network: most(config.max_connections_per_network),
            address: most(config.max_connections_per_address),
            listeners: config.listeners.iter().map(|listener| listener.limits.clone()).collect(),
        }
    }

    fn caps(&self, key: &Key) -> Caps {
        let listener = key.listener.map(|number| self.listeners.get(usize::from(number)));
        match (listener, key.whose) {
            (None, Whose::Everybody) => self.everybody,
            (None, Whose::Network(_)) => self.network,
            (None, Whose::Site(_)) => self.network.times(SITE),
            (None, Whose::Address(_)) => self.address,
            (Some(limits), Whose::Everybody) => limits.map(|limits| limits.per_listener).unwrap_or_default(),
            (Some(limits), Whose::Network(_)) => limits.map(|limits| limits.per_network).unwrap_or_default(),
            (Some(limits), Whose::Site(_)) => limits.map(|limits| limits.per_network.times(SITE)).unwrap_or_default(),
            (Some(limits), Whose::Address(_)) => limits.map(|limits| limits.per_address).unwrap_or_default(),
        }
    }
}

impl Caps {
    fn times(self, n: u32) -> Self {
        let times = |cap: Option<u32>| cap.map(|cap| cap.saturating_mul(n));
        Self {
            connections: times(self.connections),
            connections_per_minute: times(self.connections_per_minute),
            messages_per_minute: times(self.messages_per_minute),
            recipients_per_minute: times(self.recipients_per_minute),
            errors_per_minute: times(self.errors_per_minute),
        }
    }

    fn by_the_minute(&self, counted: Counted) -> Option<u64> {
        match counted {
            Counted::Connections => self.connections_per_minute,
            Counted::Messages => self.messages_per_minute,
            Counted::Recipients => self.recipients_per_minute,
            Counted::Errors => self.errors_per_minute,
        }
        .map(u64::from)
    }
}

#[cfg(test)]
mod tests;
