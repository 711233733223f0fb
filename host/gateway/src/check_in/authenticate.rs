//! Who somebody is: a user and a password become the domains that they may speak for.
//!
//! Guessing is slow: failures are counted by address and by user, and a comparison costs the same whether there is such a
//! user or not. Guesses of others don't keep a user out who comes from where they came from before, and leave one
//! try to a network that has not guessed: a host that has just moved comes from such a one.

use super::gate::Gate;
use crate::{
    limits::customer,
    odmr::{Accounts, Busy},
};
use mail::Domain;
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

pub struct Authenticator {
    accounts: Arc<Accounts>,
    by_address: Gate<IpAddr>,
    by_user: Gate<String>,
    /// Where each user has last come from with the right password.
    known: Mutex<HashMap<String, IpAddr>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the user or the password is wrong")]
    BadAuth,
    #[error("too many failures: come back later")]
    TooMany,
    #[error("too busy to compare passwords")]
    Busy,
}

impl Authenticator {
    pub fn new(accounts: Arc<Accounts>) -> Self {
        Self {
            accounts,
            by_address: Gate::new(10, Duration::from_secs(30)),
            by_user: Gate::new(20, Duration::from_secs(5)),
            known: Mutex::default(),
        }
    }

    /// The domains whose `[check-in]` names this user with this password: at least one.
    pub async fn authenticate(&self, peer: IpAddr, user: &str, password: String) -> Result<BTreeSet<Domain>, Refusal> {
        let (network, now) = (customer(peer), Instant::now());
        let trusted = self.known().get(user) == Some(&network);
        // A long name is nobody's, and is not remembered.
        let name: String = user.chars().take(64).collect();
        if !self.by_address.is_open(&network, now) {
            return Err(Refusal::TooMany);
        }
        let is_one_try = !trusted && !self.by_user.is_open(&name, now);
        if is_one_try && !self.by_address.enter_first(network, now) {
            return Err(Refusal::TooMany);
        }
        let found = self.accounts.plain(user, password).await;
        if is_one_try && !matches!(found, Ok(None)) {
            self.by_address.take_back(&network);
        }
        match found {
            Ok(Some(login)) => {
                self.known().insert(name, network);
                Ok(login.domains.into_keys().collect())
            }
            Ok(None) => {
                if !is_one_try {
                    self.by_address.count(network, now);
                }
                self.by_user.count(name, now);
                Err(Refusal::BadAuth)
            }
            Err(Busy) => Err(Refusal::Busy),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, IpAddr>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
