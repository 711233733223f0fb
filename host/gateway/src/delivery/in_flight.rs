//! How many mails of each domain are with the deliverer: a domain takes no more than its share.

use mail::Domain;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::Notify;

/// Domains that are kept count of without looking whether any of their mail is left.
const MANY: usize = 10_000;

#[derive(Default)]
pub struct InFlight {
    by_domain: Mutex<HashMap<Domain, Arc<AtomicUsize>>>,
    /// Fires when a place becomes free.
    pub freed: Arc<Notify>,
}

/// One mail on its way; given back when dropped.
pub struct Flight {
    count: Arc<AtomicUsize>,
    freed: Arc<Notify>,
}

impl InFlight {
    pub fn count(&self, domain: &Domain) -> usize {
        let table = self.by_domain.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(domain).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub fn enter(&self, domain: &Domain) -> Flight {
        let mut table = self.by_domain.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() > MANY {
            // Notifications go to domains that strangers choose.
            table.retain(|_, count| Arc::strong_count(count) > 1);
        }
        let count = match table.get(domain) {
            Some(count) => count.clone(),
            None => table.entry(domain.clone()).or_default().clone(),
        };
        drop(table);
        count.fetch_add(1, Ordering::Relaxed);
        Flight { count, freed: self.freed.clone() }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.freed.notify_one();
    }
}
