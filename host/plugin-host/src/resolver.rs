//! DNS for plugins by the system's own name servers: what is not there is an empty list, what cannot be
//! found out now is an error. Answers are kept as long as they say, in a bounded cache.

use crate::settings::{HostError, ResolveError, Resolver};
use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    proto::rr::{Name, RData, RecordType},
    system_conf::read_system_conf,
};
use mail::BoxFuture;
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Of one question to one server; there are two tries.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Answers kept.
const CACHE: u64 = 10_000;
/// However long an answer says that it holds.
const LONGEST_TTL: Duration = Duration::from_secs(3600);
/// How long "no such record" is believed: a list or a record may be new.
const LONGEST_NEGATIVE_TTL: Duration = Duration::from_secs(300);
/// Records of one answer.
const MAX_RECORDS: usize = 100;

/// Of the system: its name servers and its hosts file.
#[derive(Clone)]
pub struct SystemResolver {
    resolver: TokioResolver,
}

impl SystemResolver {
    /// Reads `/etc/resolv.conf` and `/etc/hosts`.
    pub fn from_system() -> Result<Self, HostError> {
        let (config, options) = read_system_conf().map_err(|error| HostError::Resolver(error.to_string()))?;
        Self::new(config, options)
    }

    /// Asks these servers and nobody else.
    pub fn with_servers(servers: &[SocketAddr]) -> Result<Self, HostError> {
        let server = |address: &SocketAddr| {
            let mut server = NameServerConfig::udp_and_tcp(address.ip());
            server.connections.iter_mut().for_each(|connection| connection.port = address.port());
            server
        };
        let mut options = ResolverOpts::default();
        options.use_hosts_file = ResolveHosts::Never;
        Self::new(ResolverConfig::from_name_servers(servers.iter().map(server).collect()), options)
    }

    fn new(config: ResolverConfig, mut options: ResolverOpts) -> Result<Self, HostError> {
        options.timeout = TIMEOUT;
        options.attempts = 2;
        options.cache_size = CACHE;
        options.positive_max_ttl = Some(LONGEST_TTL);
        options.negative_max_ttl = Some(LONGEST_NEGATIVE_TTL);
        let provider = TokioRuntimeProvider::default();
        let built = TokioResolver::builder_with_config(config, provider).with_options(options).build();
        built.map(|resolver| Self { resolver }).map_err(|error| HostError::Resolver(error.to_string()))
    }

    /// What is in the answer to `name` and of that kind; nothing where there is no such name or record.
    async fn records<T>(
        &self,
        name: Name,
        kind: RecordType,
        value: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, ResolveError> {
        match self.resolver.lookup(name, kind).await {
            // Aliases on the way are of another kind.
            Ok(found) => {
                Ok(found.answers().iter().filter_map(|record| value(&record.data)).take(MAX_RECORDS).collect())
            }
            // NXDOMAIN and NODATA; a server that fails answers with another code.
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(ResolveError(error.to_string())),
        }
    }

    async fn all_addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let name = absolute(name)?;
        let address = |data: &RData| match data {
            RData::A(ip) => Some(IpAddr::V4(ip.0)),
            RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
            _ => None,
        };
        let (v4, v6) = tokio::join!(
            self.records(name.clone(), RecordType::A, address),
            self.records(name, RecordType::AAAA, address)
        );
        match (v4, v6) {
            (Ok(mut v4), Ok(v6)) => {
                v4.extend(v6);
                Ok(v4)
            }
            // Half of an answer is one, unless it is empty.
            (Ok(found), Err(error)) | (Err(error), Ok(found)) => {
                if found.is_empty() {
                    Err(error)
                } else {
                    Ok(found)
                }
            }
            (Err(error), Err(_)) => Err(error),
        }
    }

    async fn exchangers(&self, name: &str) -> Result<Vec<(u16, String)>, ResolveError> {
        let exchanger = |data: &RData| match data {
            RData::MX(mx) => Some((mx.preference, written(&mx.exchange))),
            _ => None,
        };
        let mut found = self.records(absolute(name)?, RecordType::MX, exchanger).await?;
        found.sort();
        Ok(found)
    }

    async fn texts(&self, name: &str) -> Result<Vec<String>, ResolveError> {
        let text = |data: &RData| match data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        };
        self.records(absolute(name)?, RecordType::TXT, text).await
    }

    async fn names(&self, ip: IpAddr) -> Result<Vec<String>, ResolveError> {
        let name = |data: &RData| match data {
            RData::PTR(ptr) => Some(written(&ptr.0)),
            _ => None,
        };
        self.records(Name::from(ip.to_canonical()), RecordType::PTR, name).await
    }
}

impl Resolver for SystemResolver {
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(self.all_addresses(name))
    }
    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        Box::pin(self.texts(name))
    }
    fn mx<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<(u16, String)>, ResolveError>> {
        Box::pin(self.exchangers(name))
    }
    fn ptr(&self, ip: IpAddr) -> BoxFuture<'_, Result<Vec<String>, ResolveError>> {
        Box::pin(self.names(ip))
    }
}

impl std::fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemResolver").finish_non_exhaustive()
    }
}

/// Search domains never apply: the same plugin asks the same on every machine.
fn absolute(name: &str) -> Result<Name, ResolveError> {
    let mut name = Name::from_ascii(name).map_err(|error| ResolveError(error.to_string()))?;
    name.set_fqdn(true);
    Ok(name)
}

/// Without the final dot; the root stays ".".
fn written(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    match text.strip_suffix('.') {
        Some(text) if !text.is_empty() => text.to_owned(),
        _ => text,
    }
}
