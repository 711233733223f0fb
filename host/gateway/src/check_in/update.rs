//! Takes one update: who asks, for which of their hosts, and what follows for their mail.

use super::{
    address::may_claim,
    authenticate::{Authenticator, Refusal},
    gate::Gate,
    leases::{Change, Leases, is_leased},
    request::{Answer, Host, Offline, Update},
};
use crate::{
    delivery::{Deliverer, own},
    domains::{DomainState, Domains},
    limits::customer,
    probe::Prober,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use mail::Domain;
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::{info, warn};

/// Characters of a user's name that are logged.
const LOGGED_USER: usize = 64;

pub struct CheckIns {
    domains: Arc<Domains>,
    leases: Arc<Leases>,
    parts: CheckInParts,
    requests: Gate<IpAddr>,
}

pub struct CheckInParts {
    pub deliverer: Arc<Deliverer>,
    pub prober: Arc<Prober>,
    pub authenticator: Authenticator,
    /// Where the gateway listens, by whatever protocol.
    pub own: Vec<SocketAddr>,
}

/// Of an `Authorization: Basic` field.
struct Credentials {
    user: String,
    password: String,
}

impl CheckIns {
    pub fn new(parts: CheckInParts) -> Self {
        let (domains, leases) = (parts.deliverer.domains.clone(), parts.deliverer.connector.leases.clone());
        Self { domains, leases, parts, requests: Gate::new(60, Duration::from_secs(1)) }
    }

    /// A line for each host, or one for all.
    pub async fn update(&self, peer: IpAddr, authorization: Option<&str>, query: &str) -> Vec<Answer> {
        if !self.requests.enter(customer(peer), Instant::now()) {
            return vec![Answer::Abuse];
        }
        let Some(Credentials { user, password }) = authorization.and_then(credentials) else {
            return vec![Answer::BadAuth];
        };
        let domains = match self.parts.authenticator.authenticate(peer, &user, password).await {
            Ok(domains) => domains,
            Err(refusal) => {
                // Nobody has proven to be it: it must not write lines of its own.
                let user: String = user.chars().take(LOGGED_USER).collect();
                warn!(?user, %peer, reason = %refusal, outcome = "refused", "check-in");
                return vec![match refusal {
                    Refusal::BadAuth => Answer::BadAuth,
                    Refusal::TooMany => Answer::Abuse,
                    Refusal::Busy => Answer::Trouble,
                }];
            }
        };
        let update = Update::parse(query);
        if let Some(refusal) = update.refusal() {
            return vec![refusal];
        }
        let mut answers = Vec::with_capacity(update.hosts.len());
        for host in &update.hosts {
            answers.push(match host {
                Host::Unqualified => Answer::NotFqdn,
                Host::Name(name) => self.host(name, &domains, &update, peer).await,
            });
        }
        answers
    }

    /// Every domain of this user that the name means: its own, or that of its next hop.
    async fn host(&self, name: &Domain, domains: &BTreeSet<Domain>, update: &Update, peer: IpAddr) -> Answer {
        let mut answer = Answer::NoHost;
        for domain in domains.iter().filter_map(|domain| self.domains.get(domain)) {
            let config = &domain.config;
            let is_meant =
                config.name == *name || config.next_hops.first().is_some_and(|hop| hop.host == name.as_str());
            // Where no lease is asked for, mail would not follow.
            let Some(lease) = config.lease().filter(|_| is_meant) else { continue };
            match self.domain(&domain, lease, update, peer).await {
                // One that has changed is told before one that has not, one that cannot before both.
                Answer::NoChange(_) if matches!(answer, Answer::Good(_)) => {}
                refused @ (Answer::DnsError | Answer::Trouble) => return refused,
                other => answer = other,
            }
        }
        answer
    }

    async fn domain(&self, domain: &Arc<DomainState>, lease: Duration, update: &Update, peer: IpAddr) -> Answer {
        let name = &domain.config.name;
        let Some(addresses) = update.at.resolve(peer) else { return Answer::DnsError };
        let is_away = || self.leases.of(name).is_some_and(|lease| lease.offline);
        let changed = match update.offline {
            Offline::AsItWas if is_away() => return Answer::NoChange(addresses),
            Offline::Yes => {
                let changed = self.leases.go_offline(name).await;
                self.parts.deliverer.lease_ended(domain);
                changed
            }
            Offline::No | Offline::AsItWas => {
                if let Some(refused) = addresses.iter().find(|ip| !may_claim(**ip, peer) || self.is_own(domain, **ip)) {
                    warn!(domain = %name, %peer, address = %refused, outcome = "refused", "check-in");
                    return Answer::DnsError;
                }
                let changed = self.leases.check_in(name, &addresses, lease).await;
                if !matches!(changed, Ok(Change::Prolonged)) {
                    self.parts.prober.hurry(name);
                    self.parts.deliverer.checked_in(name).await;
                }
                changed
            }
        };
        match changed {
            Ok(change) => {
                let offline = update.offline == Offline::Yes;
                info!(domain = %name, %peer, ?addresses, offline, ?change, "check-in");
                match change {
                    Change::New => Answer::Good(addresses),
                    Change::Prolonged => Answer::NoChange(addresses),
                }
            }
            Err(error) => {
                warn!(domain = %name, %peer, %error, "a check-in could not be written: the host has to say it again");
                Answer::Trouble
            }
        }
    }

    /// Mail to a listener of our own would go round in a circle.
    fn is_own(&self, domain: &DomainState, ip: IpAddr) -> bool {
        let leased = domain.config.next_hops.iter().filter(|hop| is_leased(&domain.config, hop));
        leased.map(|hop| SocketAddr::new(ip, hop.port)).any(|hop| {
            let local = our_end(hop).unwrap_or(hop);
            own::reached(&self.parts.own, hop, local).is_some()
        })
    }
}

/// From which of our addresses a connection there would be made; no packet is sent.
fn our_end(to: SocketAddr) -> Option<SocketAddr> {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(to).ok()?;
    socket.local_addr().ok()
}

fn credentials(field: &str) -> Option<Credentials> {
    let (scheme, encoded) = field.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("Basic"))?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(Credentials { user: user.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_may_hold_a_colon_and_what_is_not_basic_is_nobody() {
        let Credentials { user, password } = credentials("basic YW5uOmE6Yg==").unwrap();
        assert_eq!((user.as_str(), password.as_str()), ("ann", "a:b"));
        for field in ["", "Basic", "Basic YW5u", "Bearer YW5uOmE6Yg==", "Basic ***", "Basic /zph"] {
            assert!(credentials(field).is_none(), "{field}");
        }
    }
}
