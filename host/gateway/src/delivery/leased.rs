//! Next hops that say themselves where they are: their lanes follow their leases.

use super::{connection::Connection, deliver::Deliverer, lane::LaneKey, probing};
use crate::{check_in::Place, domains::DomainState};
use mail::{Domain, Failure};
use queue::{Filter, State};
use std::sync::Arc;
use tracing::info;

impl Deliverer {
    /// The connection, or another where it leads to an address that is not the next hop's any more, or was opened with
    /// another proof than is asked for now.
    pub(super) async fn current(&self, key: &LaneKey, connection: Connection) -> Result<Connection, Failure> {
        let Some(domain) = self.owner(key)? else { return Ok(connection) };
        let current = match self.connector.leases.place(&domain.config, &key.hop)? {
            Place::LookedUp => true,
            Place::Leased(addresses) => connection.peer().is_some_and(|ip| addresses.contains(&ip)),
        };
        let current = current && self.connector.is_still_proven(&connection, &domain, &key.hop);
        if current { Ok(connection) } else { self.connect(key).await }
    }

    /// Its host has moved or is back: what waits for it is tried at once.
    pub async fn checked_in(&self, domain: &Domain) {
        self.try_lanes(domain);
        let deferred = Filter { domain: Some(domain.clone()), state: Some(State::Deferred), ..Filter::default() };
        let hurried = self.queue.retry(&deferred).await;
        info!(%domain, hurried, "its host has said where it is");
    }

    /// Its host is away until it checks in again: no need for a mail to find out.
    pub fn lease_ended(self: &Arc<Self>, domain: &DomainState) {
        let config = &domain.config;
        for hop in &config.next_hops {
            let Err(failure) = self.connector.leases.place(config, hop) else { continue };
            let lane = self.lane(hop, config.tls, &config.name);
            let (away, waiting) = lane.went_away(failure, probing::FIRST, self);
            for job in waiting {
                self.unreachable(job, &away);
            }
        }
    }
}
