//! Tells people out of band what they must know: a next hop that is away, back, or not who it should be.

use crate::config::DomainConfig;
use mail::{Failure, NextHop, Timestamp};
use tracing::warn;

/// What people are told, about one domain.
#[derive(Clone, Debug)]
pub enum Alert {
    /// The next hop cannot be reached.
    Offline {
        next_hop: NextHop,
        failure: Failure,
        since: Timestamp,
    },
    Online {
        next_hop: NextHop,
        away: std::time::Duration,
    },
    /// Whoever answers there has not shown the proof that the domain asks for.
    Identity {
        next_hop: NextHop,
        failure: Failure,
    },
    /// It refuses (5yz) what it should take: mail is held instead of bounced.
    Refusing {
        next_hop: NextHop,
        failure: Failure,
    },
    /// Mail that waits will be given up at this time.
    Expiring {
        recipients: usize,
        first: Timestamp,
    },
}

#[derive(Clone, Default)]
pub struct Alerts {}

impl Alerts {
    /// Never waits.
    pub fn raise(&self, domain: &DomainConfig, alert: Alert) {
        warn!(domain = %domain.name, ?alert);
    }
}
