//! Tells a domain's plugins what has happened, behind the mail's back: never waited for, dropped where they are slow.

use mail::{Chain, DeliveryFacts, Domain, Event, Timestamp};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::mpsc;
use tracing::warn;

/// Events of one domain that wait for its plugins.
const WAITING: usize = 1024;

/// The plugins of one chain that listen; all clones feed one queue, which ends with the last of them.
#[derive(Clone)]
pub struct Listeners(Option<Arc<Inner>>);

struct Inner {
    domain: Domain,
    queue: mpsc::Sender<Event>,
    dropped: AtomicU64,
}

impl Listeners {
    /// Starts telling, where somebody listens.
    pub fn of(domain: &Domain, chain: &Arc<dyn Chain>) -> Self {
        if !chain.hooks().on_event {
            return Self(None);
        }
        let (queue, mut events) = mpsc::channel(WAITING);
        let chain = chain.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                chain.on_event(&event, &mut Vec::new()).await;
            }
        });
        Self(Some(Arc::new(Inner { domain: domain.clone(), queue, dropped: AtomicU64::new(0) })))
    }

    pub fn are_there(&self) -> bool {
        self.0.is_some()
    }

    /// `more` is what the event's JSON holds; see docs/plugins.md.
    pub fn tell(&self, kind: &'static str, at: Timestamp, delivery: Option<DeliveryFacts>, more: &serde_json::Value) {
        let Some(inner) = &self.0 else { return };
        let event = Event { kind, at, delivery, json: more.to_string() };
        if inner.queue.try_send(event).is_err()
            && inner.dropped.fetch_add(1, Ordering::Relaxed).is_multiple_of(WAITING as u64)
        {
            warn!(domain = %inner.domain, kind, "on-event plugins are too slow: events are dropped");
        }
    }

    /// Events that nobody was told.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.dropped.load(Ordering::Relaxed))
    }
}
