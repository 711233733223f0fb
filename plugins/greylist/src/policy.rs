//! Decides who is a stranger. The clock and the store are arguments.

use crate::key;
use crate::record::{Client, Triplet};
use crate::settings::{NullSender, Settings};
use std::net::IpAddr;
use waypost_sdk::Verdict;
use waypost_sdk::text::{Address, Network, Senders};

/// What is kept between calls; `ttl` in seconds.
pub trait Store {
    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, String>;
    fn set(&mut self, key: &str, value: &[u8], ttl: u32) -> Result<(), String>;
    /// False, and no change, where the key exists.
    fn add(&mut self, key: &str, value: &[u8], ttl: u32) -> Result<bool, String>;
}

/// One RCPT.
#[derive(Clone, Copy, Debug)]
pub struct Contact<'a> {
    pub ip: IpAddr,
    pub authenticated: bool,
    /// None is the null reverse-path.
    pub sender: Option<&'a str>,
    pub recipient: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Pass,
    /// Come back in so many seconds.
    Wait(u64),
}

impl Decision {
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Pass => Verdict::Pass,
            Self::Wait(seconds) if seconds < 120 => {
                Verdict::tempfail(451, "4.7.1", format!("[WP-GREY] Please try again in {seconds} s"))
            }
            Self::Wait(seconds) => {
                let minutes = seconds.div_ceil(60);
                Verdict::tempfail(451, "4.7.1", format!("[WP-GREY] Please try again in {minutes} min"))
            }
        }
    }
}

/// The settings, checked. Times in seconds.
#[derive(Debug)]
pub struct Policy {
    delay: u64,
    window: u32,
    keep: u32,
    networks: Vec<Network>,
    senders: Senders,
    auto_whitelist_after: u32,
    null_sender: NullSender,
}

impl Policy {
    pub fn new(settings: Settings) -> Result<Self, String> {
        settings.check()?;
        let (networks, senders) = settings.whitelist()?;
        Ok(Self {
            // A delay of less than a second would be no delay.
            delay: settings.delay.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
            window: settings.window.as_secs().try_into().unwrap_or(u32::MAX),
            keep: settings.keep.as_secs().try_into().unwrap_or(u32::MAX),
            networks,
            senders,
            auto_whitelist_after: settings.auto_whitelist_after,
            null_sender: settings.null_sender,
        })
    }

    /// `now` in Unix seconds. An error is the store's.
    pub fn decide(&self, contact: &Contact<'_>, now: u64, store: &mut impl Store) -> Result<Decision, String> {
        if self.is_exempt(contact) {
            return Ok(Decision::Pass);
        }
        let network = Network::of_client(contact.ip);
        let key = key::triplet(network, contact.sender, contact.recipient);
        match store.get(&key)?.as_deref().and_then(Triplet::from_bytes) {
            Some(Triplet::Known { seen }) => {
                if self.is_stale(seen, now) {
                    store.set(&key, &Triplet::Known { seen: now }.to_bytes(), self.keep)?;
                }
                Ok(Decision::Pass)
            }
            // The clock was put back: the wait starts again, or it might never end.
            Some(Triplet::Waiting { since }) if since > now => self.start_waiting(&key, now, store),
            Some(Triplet::Waiting { since }) if now - since < self.delay => {
                Ok(Decision::Wait(self.delay - (now - since)))
            }
            Some(Triplet::Waiting { .. }) => {
                store.set(&key, &Triplet::Known { seen: now }.to_bytes(), self.keep)?;
                self.count_return(network, now, store)?;
                Ok(Decision::Pass)
            }
            None => self.first_contact(network, &key, now, store),
        }
    }

    fn is_exempt(&self, contact: &Contact<'_>) -> bool {
        contact.authenticated
            // RFC 5321 §4.5.1: postmaster must be reachable, by strangers above all.
            || Address::new(contact.recipient).is_postmaster()
            || (contact.sender.is_none() && self.null_sender == NullSender::Pass)
            || self.networks.iter().any(|network| network.contains(contact.ip))
            || self.senders.contains(contact.sender)
    }

    fn first_contact(&self, network: Network, key: &str, now: u64, store: &mut impl Store) -> Result<Decision, String> {
        if self.delay == 0 {
            store.set(key, &Triplet::Known { seen: now }.to_bytes(), self.keep)?;
            return Ok(Decision::Pass);
        }
        if self.is_trusted(network, now, store)? {
            return Ok(Decision::Pass);
        }
        // Of two first contacts at the same time one starts the wait, and the other has only begun it.
        store.add(key, &Triplet::Waiting { since: now }.to_bytes(), self.window)?;
        Ok(Decision::Wait(self.delay))
    }

    fn start_waiting(&self, key: &str, now: u64, store: &mut impl Store) -> Result<Decision, String> {
        store.set(key, &Triplet::Waiting { since: now }.to_bytes(), self.window)?;
        Ok(if self.delay == 0 { Decision::Pass } else { Decision::Wait(self.delay) })
    }

    /// Enough mails of this network have come back.
    fn is_trusted(&self, network: Network, now: u64, store: &mut impl Store) -> Result<bool, String> {
        if self.auto_whitelist_after == 0 {
            return Ok(false);
        }
        let key = key::client(network);
        let Some(client) = store.get(&key)?.as_deref().and_then(Client::from_bytes) else { return Ok(false) };
        let trusted = client.returned >= self.auto_whitelist_after;
        if trusted && self.is_stale(client.seen, now) {
            store.set(&key, &Client { seen: now, ..client }.to_bytes(), self.keep)?;
        }
        Ok(trusted)
    }

    /// Not atomic: of two returns at the same time one may go uncounted, which costs a little patience.
    fn count_return(&self, network: Network, now: u64, store: &mut impl Store) -> Result<(), String> {
        if self.auto_whitelist_after == 0 {
            return Ok(());
        }
        let key = key::client(network);
        let before = store.get(&key)?.as_deref().and_then(Client::from_bytes).map_or(0, |client| client.returned);
        store.set(&key, &Client { returned: before.saturating_add(1), seen: now }.to_bytes(), self.keep)
    }

    /// Written again only now and then: a steady contact costs one read, and no write.
    fn is_stale(&self, seen: u64, now: u64) -> bool {
        now.abs_diff(seen) > u64::from(self.keep / 4)
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
