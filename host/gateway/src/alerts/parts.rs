//! What alerts are made of. Decides nothing.

use crate::{clock::Clock, config::Alerting, domains::Domains};
use queue::Queue;
use std::sync::Arc;

pub struct AlertParts {
    pub alerting: Alerting,
    pub domains: Arc<Domains>,
    pub queue: Queue,
    pub clock: Clock,
    /// The gateway's own name.
    pub hostname: String,
    /// For webhooks: with the system's certificate authorities.
    pub tls: Arc<rustls::ClientConfig>,
}
