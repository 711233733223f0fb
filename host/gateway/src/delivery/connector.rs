//! Opens connections to next hops as a domain asks for them: the one way out, for mail and for probes.
//!
//! What the domain's file says is looked up at each connection, so that a change holds from the next one on.

use super::{
    connection::{self, Connection, Target},
    watch::{Patience, Watch},
};
use crate::{config::Timeouts, domains::DomainState, tls::ClientTls};
use mail::{Domain, Failure, NextHop, TlsMode};
use std::{net::SocketAddr, sync::Arc};

pub struct Connector {
    pub hostname: Domain,
    pub tls: Arc<ClientTls>,
    pub timeouts: Timeouts,
    /// Where the gateway itself listens.
    pub own: Vec<SocketAddr>,
}

impl Connector {
    /// `tls` is what the next hop's own setting and the domain's have come to. `domain` is whose proof of the
    /// next hop must hold; none for next hops that are no domain's.
    pub async fn connect(
        &self,
        hop: &NextHop,
        tls: TlsMode,
        domain: Option<&DomainState>,
    ) -> Result<Connection, Failure> {
        self.connect_watched(hop, tls, domain, self.patience(), None).await
    }

    pub fn patience(&self) -> Patience {
        Patience { connect: self.timeouts.connect, step: self.timeouts.greeting }
    }

    /// The same for somebody who looks on.
    pub async fn connect_watched(
        &self,
        hop: &NextHop,
        tls: TlsMode,
        _domain: Option<&DomainState>,
        patience: Patience,
        watch: Option<&dyn Watch>,
    ) -> Result<Connection, Failure> {
        let target = Target { own: &self.own, patience, timeouts: self.timeouts, watch, ..Target::new(hop, tls) };
        connection::connect(&target, &self.hostname, &self.tls).await
    }
}
