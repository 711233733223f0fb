//! Where next hops are: their addresses, and TLSA records that DNSSEC vouches for; and what checks of authenticity ask.
//!
//! Asks the servers that waypost.toml names, else the system's, and `/etc/hosts` before any. Believes no answer for
//! long: a next hop that moves is to be found again within a minute. Never decides what an answer means for mail.

mod lookup;
mod pulse;
mod tlsa;

pub use lookup::{Family, Lookup, Unavailable};
pub use tlsa::{Tlsa, TlsaAnswer};

use crate::config::DnsSettings;
use hickory_resolver::{
    Hosts, TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{
        dnssec::TrustAnchors,
        op::Query,
        rr::{Name, RData, RecordType},
    },
    system_conf::read_system_conf,
};
use std::{
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime},
};

/// Of one question to one server; there are two tries.
const TIMEOUT: Duration = Duration::from_secs(4);
const LONGEST_TTL: Duration = Duration::from_secs(60);
/// A record that has just been made is to be found soon.
const LONGEST_NEGATIVE_TTL: Duration = Duration::from_secs(5);
/// At the system's files, whether they have changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Answers kept.
const CACHE: u64 = 4096;
/// Addresses that are tried, at most.
const MAX_ADDRESSES: usize = 16;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

pub struct Dns {
    settings: DnsSettings,
    anchors: Arc<TrustAnchors>,
    current: RwLock<Arc<Built>>,
    looks: Looks,
    pulse: pulse::Pulse,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read {path} as DNSKEY records: {reason}")]
pub struct AnchorError {
    path: String,
    reason: String,
}

/// When the system's files were looked at: a mail may come with dozens of questions, and none should wait for a disk.
#[derive(Default)]
struct Looks(Mutex<Option<Instant>>);

/// Made from the system's files as they were.
struct Built {
    stamp: [Option<SystemTime>; 2],
    hosts: Hosts,
    /// Why nobody can be asked.
    servers: Result<Resolvers, String>,
}

struct Resolvers {
    plain: TokioResolver,
    validating: TokioResolver,
    /// For what strangers claim.
    checks: TokioResolver,
    /// Whether anybody answers now; remembers nothing.
    pulse: TokioResolver,
}

impl Dns {
    /// Reads the trust anchors. What the system's files say is read again whenever they change.
    pub fn new(settings: DnsSettings) -> Result<Self, AnchorError> {
        let anchors = settings.trust_anchor.as_deref().map(read_anchors).transpose()?.unwrap_or_default();
        let anchors = Arc::new(anchors);
        let current = RwLock::new(Arc::new(Built::new(&settings, &anchors)));
        Ok(Self { settings, anchors, current, looks: Looks::default(), pulse: pulse::Pulse::default() })
    }

    /// As the system resolves names, with its trust anchors for the root.
    pub fn of_system() -> Self {
        let (settings, anchors) = (DnsSettings::default(), Arc::new(TrustAnchors::default()));
        let current = RwLock::new(Arc::new(Built::new(&settings, &anchors)));
        Self { settings, anchors, current, looks: Looks::default(), pulse: pulse::Pulse::default() }
    }

    /// Not empty. The error says why there is none, now or at all.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let built = self.current();
        let name = name_of(host).map_err(|error| error.to_string())?;
        let known = in_hosts(&built.hosts, &name);
        if !known.is_empty() {
            return Ok(known);
        }
        let resolvers = built.servers.as_ref().map_err(Clone::clone)?;
        let found = resolvers.plain.lookup_ip(name).await.map_err(|error| plainly(&error))?;
        let found: Vec<IpAddr> = found.iter().take(MAX_ADDRESSES).collect();
        if found.is_empty() { Err("it has no address".to_owned()) } else { Ok(found) }
    }

    /// RFC 6698 §3: the records of this port. The error is about now: nobody answered.
    pub async fn tlsa(&self, host: &str, port: u16) -> Result<TlsaAnswer, String> {
        let built = self.current();
        let name = Name::from_ascii(format!("_{port}._tcp.{host}.")).map_err(|error| error.to_string())?;
        let resolvers = built.servers.as_ref().map_err(Clone::clone)?;
        tlsa::judge(&name, resolvers.validating.lookup(name.clone(), RecordType::TLSA).await)
    }

    fn current(&self) -> Arc<Built> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !self.looks.is_due(Instant::now()) || current.stamp == stamp() {
            return current;
        }
        let fresh = Arc::new(Built::new(&self.settings, &self.anchors));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh.clone();
        fresh
    }
}

/// DNSKEY records of the root, or of another zone that is trusted.
pub fn read_anchors(path: &Path) -> Result<TrustAnchors, AnchorError> {
    TrustAnchors::from_file(path)
        .map_err(|error| AnchorError { path: path.display().to_string(), reason: error.to_string() })
}

fn stamp() -> [Option<SystemTime>; 2] {
    [RESOLV_CONF, HOSTS].map(|file| std::fs::metadata(file).and_then(|data| data.modified()).ok())
}

impl Looks {
    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= LOOK_EVERY);
        if due {
            *last = Some(now);
        }
        due
    }
}

impl Built {
    fn new(settings: &DnsSettings, anchors: &Arc<TrustAnchors>) -> Self {
        let stamp = stamp();
        let hosts = Hosts::from_system().unwrap_or_default();
        Self { stamp, hosts, servers: Resolvers::new(settings, anchors) }
    }
}

impl Resolvers {
    fn new(settings: &DnsSettings, anchors: &Arc<TrustAnchors>) -> Result<Self, String> {
        let (config, mut options) = if settings.servers.is_empty() {
            read_system_conf().map_err(|error| format!("{RESOLV_CONF} names no server: {error}"))?
        } else {
            let servers = settings.servers.iter().map(|address| {
                let mut server = NameServerConfig::udp_and_tcp(address.ip());
                server.connections.iter_mut().for_each(|connection| connection.port = address.port());
                server
            });
            (ResolverConfig::from_name_servers(servers.collect()), ResolverOpts::default())
        };
        options.timeout = TIMEOUT;
        options.attempts = 2;
        options.cache_size = CACHE;
        options.positive_max_ttl = Some(LONGEST_TTL);
        options.negative_max_ttl = Some(LONGEST_NEGATIVE_TTL);
        options.use_hosts_file = ResolveHosts::Never;
        options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        options.preserve_intermediates = true;
        let builder = || TokioResolver::builder_with_config(config.clone(), TokioRuntimeProvider::default());
        let plain = builder().with_options(options.clone()).build();
        let validating = builder().with_options(options.clone()).with_trust_anchor(anchors.clone()).build();
        options.timeout = lookup::TIMEOUT;
        options.cache_size = lookup::CACHE;
        options.positive_max_ttl = Some(lookup::LONGEST_TTL);
        options.negative_max_ttl = Some(lookup::LONGEST_NEGATIVE_TTL);
        let checks = builder().with_options(options.clone()).build();
        options.timeout = lookup::PULSE_TIMEOUT;
        options.cache_size = 0;
        (options.positive_max_ttl, options.negative_max_ttl) = (Some(Duration::ZERO), Some(Duration::ZERO));
        let pulse = builder().with_options(options).build();
        let wrong = |error: NetError| error.to_string();
        Ok(Self {
            plain: plain.map_err(wrong)?,
            validating: validating.map_err(wrong)?,
            checks: checks.map_err(wrong)?,
            pulse: pulse.map_err(wrong)?,
        })
    }
}

/// A name with a dot is complete: a search list could turn it into a stranger's.
fn name_of(host: &str) -> Result<Name, hickory_resolver::proto::ProtoError> {
    let mut name = Name::from_ascii(host)?;
    if host.contains('.') {
        name.set_fqdn(true);
    }
    Ok(name)
}

fn in_hosts(hosts: &Hosts, name: &Name) -> Vec<IpAddr> {
    let of = |kind| hosts.lookup_static_host(&Query::query(name.clone(), kind));
    let found = [RecordType::AAAA, RecordType::A].into_iter().filter_map(of);
    let addresses = found.flat_map(|lookup| {
        lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(ip) => Some(IpAddr::V4(ip.0)),
                RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
                _ => None,
            })
            .collect::<Vec<_>>()
    });
    addresses.take(MAX_ADDRESSES).collect()
}

fn plainly(error: &NetError) -> String {
    if error.is_nx_domain() {
        "there is no such name (NXDOMAIN)".to_owned()
    } else if error.is_no_records_found() {
        "the name has no address".to_owned()
    } else {
        error.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_of_the_hosts_file_need_no_server() {
        let nobody = DnsSettings { servers: vec!["127.0.0.1:9".parse().unwrap()], trust_anchor: None };
        let found = Dns::new(nobody).unwrap().addresses("localhost").await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    }

    #[test]
    fn the_systems_files_are_looked_at_once_a_second_however_many_ask() {
        let (looks, start) = (Looks::default(), Instant::now());
        let times = [0, 1, 500, 999, 1000, 1001, 1999, 2001].map(|ms| start + Duration::from_millis(ms));
        let due = times.map(|at| looks.is_due(at));
        assert_eq!(due, [true, false, false, false, true, false, false, true]);
    }

    #[test]
    fn a_name_with_a_dot_is_never_completed_by_a_search_list() {
        assert!(name_of("mail.example.org").unwrap().is_fqdn());
        assert!(!name_of("mail").unwrap().is_fqdn());
    }

    #[test]
    fn a_file_without_keys_is_no_trust_anchor() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "this is not a zone file (").unwrap();
        assert!(read_anchors(file.path()).is_err());
        assert!(read_anchors(Path::new("/nowhere/root.key")).is_err());
    }
}
