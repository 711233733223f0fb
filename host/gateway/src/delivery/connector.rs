//! Opens connections to next hops as a domain asks for them: the one way out, for mail and for probes.
//!
//! What the domain's file says is looked up at each connection, so that a change holds from the next one on.

use super::{
    connection::{self, Connection, Means, Target},
    watch::{Patience, Watch},
};
use crate::{
    alerts::{Alert, Alerts},
    check_in::{Leases, Place},
    config::{Identity, Timeouts},
    dns::Dns,
    domains::DomainState,
    identity::{Identities, KeyHash, Proof},
    tls::ClientTls,
};
use mail::{Domain, Failure, FailureKind, NextHop, TlsMode};
use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};
use tracing::warn;

/// How often a next hop may move while it is being connected to.
const MOVES: usize = 10;

pub struct Connector {
    pub hostname: Domain,
    pub tls: Arc<ClientTls>,
    pub timeouts: Timeouts,
    /// Where the gateway itself listens.
    pub own: Vec<SocketAddr>,
    /// Where next hops are that say so themselves.
    pub leases: Arc<Leases>,
    pub dns: Arc<Dns>,
    pub identities: Arc<Identities>,
    pub alerts: Alerts,
}

/// What the connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Mail,
    /// A key that is seen for the first time is trusted from now on.
    Probe,
    /// Nothing follows from it.
    Look,
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
        self.open(self.target(hop, tls), domain, Asked::Mail).await
    }

    pub fn patience(&self) -> Patience {
        Patience { connect: self.timeouts.connect, step: self.timeouts.greeting }
    }

    /// For a probe, which carries no mail: where the domain trusts the key that is seen first, this is when.
    pub async fn introduce(
        &self,
        hop: &NextHop,
        tls: TlsMode,
        domain: Option<&DomainState>,
    ) -> Result<Connection, Failure> {
        self.open(self.target(hop, tls), domain, Asked::Probe).await
    }

    /// A probe for somebody who looks on.
    pub async fn connect_watched(
        &self,
        hop: &NextHop,
        tls: TlsMode,
        domain: Option<&DomainState>,
        patience: Patience,
        watch: Option<&dyn Watch>,
    ) -> Result<Connection, Failure> {
        self.open(Target { patience, watch, ..Target::new(hop, tls) }, domain, Asked::Look).await
    }

    fn target<'a>(&self, hop: &'a NextHop, tls: TlsMode) -> Target<'a> {
        Target { patience: self.patience(), ..Target::new(hop, tls) }
    }

    /// Where the next hop says itself where it is, only there.
    async fn open(
        &self,
        target: Target<'_>,
        domain: Option<&DomainState>,
        asked: Asked,
    ) -> Result<Connection, Failure> {
        let target = Target { own: &self.own, timeouts: self.timeouts, ..target };
        let hop = target.hop;
        let place = || domain.map_or(Ok(Place::LookedUp), |domain| self.leases.place(&domain.config, hop));
        for _ in 0..MOVES {
            let mut changes = self.leases.changes();
            let Place::Leased(addresses) = place()? else { return self.open_at(target, domain, asked).await };
            let target = Target { addresses: Some(&addresses), ..target };
            let still = || place().is_ok_and(|now| matches!(now, Place::Leased(now) if now == addresses));
            let moved = async {
                while still() {
                    // The sender is ours: there is always another change to wait for.
                    let _ = changes.changed().await;
                }
            };
            tokio::select! {
                // Nobody waits for an address that the next hop has left.
                () = moved => {}
                opened = self.open_at(target, domain, asked) => {
                    if still() || opened.is_err() {
                        return opened;
                    }
                }
            }
        }
        Err(Failure::new(FailureKind::Connect, Some(hop), format!("{} moves faster than it can be reached", hop.host)))
    }

    async fn open_at(
        &self,
        target: Target<'_>,
        domain: Option<&DomainState>,
        asked: Asked,
    ) -> Result<Connection, Failure> {
        let means = Means { tls: &self.tls, dns: &self.dns };
        let Some((domain, identity)) = domain.and_then(|domain| Some((domain, domain.identity_of(target.hop)?))) else {
            return connection::connect(&target, &self.hostname, means).await;
        };
        let (name, hop) = (&domain.config.name, target.hop);
        let unreadable = |error| Failure::new(FailureKind::Identity, Some(hop), format!("{hop}: {error}"));
        let trusted = match identity.trust_on_first_probe {
            true => self.identities.known(name, hop).map_err(unreadable)?.trusted_key(),
            false => None,
        };
        let proof =
            Proof { identity, domain: name, trusted, introducing: asked != Asked::Mail, shown: OnceLock::new() };
        let mut opened = connection::connect(&Target { proof: Some(&proof), ..target }, &self.hostname, means).await;
        match &mut opened {
            Ok(connection) => {
                connection.set_asked(identity.clone(), trusted);
                self.proven(domain, hop, &proof, asked);
            }
            Err(failure) if failure.kind == FailureKind::Identity => self.refused(domain, hop, &proof, failure),
            Err(_) => {}
        }
        opened
    }

    /// Whether the proof that `connection` was opened with is still what the domain asks for.
    pub fn is_still_proven(&self, connection: &Connection, domain: &DomainState, hop: &NextHop) -> bool {
        let trusted = |identity: &Identity| match identity.trust_on_first_probe {
            true => self.trusted_key(domain, hop),
            false => None,
        };
        let now = domain.identity_of(hop).map(|identity| (identity.clone(), trusted(identity)));
        *connection.asked() == now
    }

    /// A probe of the next hop has passed: where the domain trusts the key that is seen first, it is seen now.
    pub async fn introduce_passed(&self, hop: &NextHop, tls: TlsMode, domain: &DomainState) {
        let waits = domain.identity_of(hop).is_some_and(|identity| identity.trust_on_first_probe);
        if waits
            && self.trusted_key(domain, hop).is_none()
            && let Ok(connection) = self.introduce(hop, tls, Some(domain)).await
        {
            connection.quit().await;
        }
    }

    fn trusted_key(&self, domain: &DomainState, hop: &NextHop) -> Option<KeyHash> {
        self.identities.known(&domain.config.name, hop).ok().and_then(|known| known.trusted_key())
    }

    fn proven(&self, domain: &DomainState, hop: &NextHop, proof: &Proof<'_>, asked: Asked) {
        let name = &domain.config.name;
        // A person may look at a next hop that is none of the domain's yet.
        let may_learn = asked == Asked::Probe && domain.reachable(hop).is_some();
        if let Some(shown) = proof.shown.get().filter(|_| may_learn && proof.is_first_sight())
            && let Err(error) = self.identities.learn(name, hop, shown)
        {
            warn!(domain = %name, next_hop = %hop, %error, "the key of the first probe could not be noted: the next probe is the first");
        }
        if self.identities.held(name, hop) {
            self.alerts.raise(&domain.config, Alert::Trusted { next_hop: hop.clone() });
        }
    }

    fn refused(&self, domain: &DomainState, hop: &NextHop, proof: &Proof<'_>, failure: &Failure) {
        // A person may probe a next hop that is none of the domain's yet.
        let is_its = domain.reachable(hop).is_some();
        if is_its && self.identities.refused(&domain.config.name, hop, proof.shown.get(), &failure.detail) {
            warn!(domain = %domain.config.name, next_hop = %hop, identity = "refused", reason = %failure);
            self.alerts.raise(&domain.config, Alert::Identity { next_hop: hop.clone(), failure: failure.clone() });
        }
    }
}
