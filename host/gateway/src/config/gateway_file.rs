//! Reads `waypost.toml` into a [`Config`] without domains.
//!
//! What is missing or wrong is noted and replaced, so that the rest is read too; the caller drops
//! the result if anything was noted.

use super::{
    Admin, Alerting, Config, JournalSettings, Limits, Listener, ListenerTls, Network, Service, TlsFiles, alerting,
    authenticity, check_in, dns, hops, limits, own_address::OwnAddresses, plugins, room, timeouts,
};
use crate::dsn;
use mail::Domain;
use smtp::BareLineEnds;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};
use toml_keys::{Source, Table, Value};

pub(super) const TOP_KEYS: &[&str] = &[
    "hostname",
    "data-dir",
    "domain-dir",
    "plugin-dir",
    "max-message-size",
    "max-mail-in-memory",
    "spool-threshold",
    "min-free-space",
    "min-free-inodes",
    "max-connections",
    "max-connections-per-address",
    "max-connections-per-network",
    "max-recipients",
    "max-dsn-per-hour",
    "max-dsn-per-hour-per-address",
    "dsn-next-hop",
];

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const JOURNAL: JournalSettings =
    JournalSettings { enabled: true, keep: Duration::from_secs(14 * 86_400), max_size: GIB };
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8025);
const ANY_PORT_25: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 25);

/// `system_hostname` is what the machine calls itself.
pub(super) fn read(source: &Source<'_>, base: &Path, system_hostname: Option<&str>) -> Config {
    let document = source.parse();
    let readable = document.is_some();
    let document = document.unwrap_or_else(|| toml::Spanned::new(0..0, toml::de::DeTable::new()));
    let mut root = source.root(&document);
    let path = |value: Option<Value<'_>>, default: &str| {
        base.join(value.and_then(|v| v.string(&format!("{default:?}"))).unwrap_or(default))
    };
    let hostname = if readable { hostname(&mut root, system_hostname) } else { String::new() };
    let data_dir = path(root.get("data-dir"), "data");
    let dsn_next_hop = root.get("dsn-next-hop");
    let (chain, chain_places) = root.get("chain").map(|v| plugins::chain(&v)).unwrap_or_default().into_iter().unzip();
    let max_message_size = size(&mut root, "max-message-size", 50 * MIB);
    let limits = root.get("limits").and_then(|v| v.table());
    let limits = limits.map_or_else(Limits::default, |table| limits::read(table, &Limits::default()));
    let max_connections_per_address = count(&mut root, "max-connections-per-address", 50);
    let mut config = Config {
        file: source.file.to_owned(),
        hostname,
        domain_dir: domain_dir(&mut root, base, readable),
        plugin_dir: path(root.get("plugin-dir"), "plugins"),
        max_message_size,
        room: room::read(&mut root, max_message_size),
        max_connections: count(&mut root, "max-connections", 10_000),
        max_connections_per_network: count(
            &mut root,
            "max-connections-per-network",
            max_connections_per_address.saturating_mul(4).min(1_000_000),
        ),
        max_connections_per_address,
        max_recipients: count(&mut root, "max-recipients", 1000),
        dsn_next_hops: Vec::new(),
        dsn_limits: dsn_limits(&mut root),
        timeouts: root.get("timeouts").and_then(|v| v.table()).map(timeouts::read).unwrap_or_default(),
        listeners: listeners(&mut root, &limits),
        limits,
        tls: root.get("tls").and_then(|v| v.table()).and_then(|table| tls_files(table, base)),
        admin: Admin { listen: ADMIN, explicit: false, token_file: data_dir.join("admin-token"), hosts: Vec::new() },
        check_in: None,
        plugins: root.get("plugins").map(|v| plugins::settings(&v)).unwrap_or_default(),
        chain,
        chain_places,
        journal: root.get("journal").and_then(|v| v.table()).map(journal).unwrap_or(JOURNAL),
        alerts: match root.get("alerts").and_then(|v| v.table()) {
            Some(table) => alerting::read(table, base, &data_dir),
            None => Alerting::new(&data_dir),
        },
        dns: root.get("dns").and_then(|v| v.table()).map(|table| dns::read(table, base)).unwrap_or_default(),
        authenticity: root.get("authenticity").and_then(|v| v.table()).map(authenticity::read).unwrap_or_default(),
        authorities: root.get("next-hop-tls").and_then(|v| v.table()).and_then(|table| dns::authorities(table, base)),
        data_dir,
        domains: Default::default(),
    };
    if let Some(table) = root.get("admin").and_then(|v| v.table()) {
        admin(table, base, &mut config);
    }
    config.check_in =
        root.get("check-in").and_then(|v| v.table()).and_then(|table| check_in::of_gateway(table, &config.listeners));
    root.finish();
    if let Some(value) = dsn_next_hop {
        let own = OwnAddresses { hostname: &config.hostname, listeners: &config.listeners };
        config.dsn_next_hops = hops::read(&value, &own);
    }
    config
}

fn hostname(root: &mut Table<'_>, system_hostname: Option<&str>) -> String {
    let example = "\"mx1.example.net\"";
    if let Some(value) = root.get("hostname") {
        let name = value.parsed(example, str::parse::<Domain>).map(String::from).unwrap_or_default();
        if name.starts_with('[') {
            value.error("`hostname` must be a name, not an address", format!("for instance hostname = {example}"));
        }
        return name;
    }
    // RFC 5321 §4.1.4 asks for a fully-qualified name, which has a dot.
    let qualified = |name: &&str| name.contains('.') && !name.starts_with('[');
    match system_hostname.filter(qualified).and_then(|name| name.parse::<Domain>().ok()) {
        Some(name) => name.into(),
        None => {
            let system = system_hostname.map(|name| format!(", and this machine's own, {name:?}, is not a full name"));
            root.error(
                format!("`hostname` is missing{}", system.unwrap_or_default()),
                format!("set the name that the MX record points at: hostname = {example}"),
            );
            String::new()
        }
    }
}

/// Nothing is said of a directory that an unreadable file may have named differently.
fn domain_dir(root: &mut Table<'_>, base: &Path, readable: bool) -> PathBuf {
    let value = root.get("domain-dir");
    let named = value.as_ref().and_then(|v| v.string("\"domains\""));
    let path = base.join(named.unwrap_or("domains"));
    if readable && !path.is_dir() {
        let message = format!("the directory of the domains, {}, does not exist", path.display());
        let hint = format!("make it (mkdir {}) or set `domain-dir` to where the domains' files are", path.display());
        match &value {
            Some(value) if named.is_some() => value.error(message, hint),
            Some(_) => {}
            None => root.error(message, hint),
        }
    }
    path
}

fn size(root: &mut Table<'_>, key: &'static str, default: u64) -> u64 {
    root.get(key).and_then(|value| value.size(KIB..=2 * GIB, "\"50 MiB\"")).unwrap_or(default)
}

fn count(root: &mut Table<'_>, key: &'static str, default: usize) -> usize {
    root.get(key).and_then(|value| value.whole_number(1..=1_000_000, &default.to_string())).unwrap_or(default)
}

fn dsn_limits(root: &mut Table<'_>) -> dsn::Limits {
    let default = dsn::Limits::default();
    let mut limit = |key, default: u32| count(root, key, default as usize) as u32;
    dsn::Limits {
        in_all: limit("max-dsn-per-hour", default.in_all),
        per_address: limit("max-dsn-per-hour-per-address", default.per_address),
    }
}

fn listeners(root: &mut Table<'_>, limits: &Limits) -> Vec<Listener> {
    let Some(value) = root.get("listener") else {
        return vec![listener_at(ANY_PORT_25, limits)];
    };
    let mut listeners: Vec<Listener> = Vec::new();
    for mut table in value.tables() {
        let address = table.required("address", "\"[::]:25\"");
        let mut listener = listener_at(ANY_PORT_25, limits);
        if let Some(parsed) = address.as_ref().and_then(|v| v.parsed("\"[::]:25\"", socket_address)) {
            listener.address = parsed;
            // Port 0 is a free port, another one each time.
            if parsed.port() != 0 && listeners.iter().any(|l| l.address == parsed) {
                let hint = "each [[listener]] needs its own address";
                address.iter().for_each(|v| v.error(format!("{parsed} is listened on twice"), hint));
            }
        }
        listener.service = table
            .get("service")
            .and_then(|value| value.choice(&[("smtp", Service::Smtp), ("odmr", Service::Odmr)]))
            .unwrap_or_default();
        listener.tls = table
            .get("tls")
            .and_then(|value| {
                value.choice(&[
                    ("none", ListenerTls::None),
                    ("optional", ListenerTls::Optional),
                    ("required", ListenerTls::Required),
                    ("implicit", ListenerTls::Implicit),
                ])
            })
            .unwrap_or_default();
        listener.limits =
            table.get("limits").map_or_else(|| limits.clone(), |value| limits::of_listener(&value, limits));
        listener.proxy_protocol_from =
            table.get("proxy-protocol-from").map(|value| networks(&value)).unwrap_or_default();
        if let Some(value) = table.get("xclient-from") {
            listener.xclient_from = networks(&value);
            if listener.service == Service::Odmr && !listener.xclient_from.is_empty() {
                value.key_error("XCLIENT is for listeners that take mail", "leave `xclient-from` out");
            }
        }
        listener.bare_line_ends = table
            .get("bare-line-ends")
            .and_then(|value| value.choice(&[("refuse", BareLineEnds::Refuse), ("normalise", BareLineEnds::Normalise)]))
            .unwrap_or_default();
        table.finish();
        listeners.push(listener);
    }
    listeners
}

fn listener_at(address: SocketAddr, limits: &Limits) -> Listener {
    let (proxy_protocol_from, xclient_from) = (Vec::new(), Vec::new());
    let (service, tls, limits) = (Service::default(), ListenerTls::default(), limits.clone());
    let bare_line_ends = BareLineEnds::default();
    Listener { address, service, tls, limits, bare_line_ends, proxy_protocol_from, xclient_from }
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not an address and a port"))
}

fn networks(value: &Value<'_>) -> Vec<Network> {
    let example = "[\"192.0.2.0/24\"]";
    value.list(example).unwrap_or_default().iter().filter_map(|v| v.parsed(example, str::parse)).collect()
}

fn tls_files(mut table: Table<'_>, base: &Path) -> Option<TlsFiles> {
    let mut file = |key, example| {
        let value = table.required(key, example)?;
        let path = base.join(value.string(example)?);
        if let Err(error) = std::fs::File::open(&path) {
            let hint = "a PEM file; without [tls] a self-signed pair is made";
            value.error(format!("cannot read {}: {error}", path.display()), hint);
        }
        Some(path)
    };
    let (certificate, key) = (file("certificate", "\"cert.pem\""), file("key", "\"key.pem\""));
    table.finish();
    Some(TlsFiles { certificate: certificate?, key: key? })
}

fn journal(mut table: Table<'_>) -> JournalSettings {
    let settings = JournalSettings {
        enabled: table.get("enabled").and_then(|v| v.boolean()).unwrap_or(JOURNAL.enabled),
        keep: table.get("keep").and_then(|v| v.duration(HOUR..=1000 * DAY, "\"14 d\"")).unwrap_or(JOURNAL.keep),
        max_size: table
            .get("max-size")
            .and_then(|v| v.size(16 * MIB..=1024 * GIB, "\"1 GiB\""))
            .unwrap_or(JOURNAL.max_size),
    };
    table.finish();
    settings
}

fn admin(mut table: Table<'_>, base: &Path, config: &mut Config) {
    let listen = table.get("listen");
    if let Some(address) = listen.as_ref().and_then(|v| v.parsed("\"127.0.0.1:8025\"", socket_address)) {
        config.admin.listen = address;
        config.admin.explicit = true;
        if address.port() != 0 && config.listeners.iter().any(|l| l.address == address) {
            let message = format!("{address} is a [[listener]] already");
            listen.iter().for_each(|v| v.error(message.clone(), "the page and the API need an address of their own"));
        }
    }
    if let Some(path) = table.get("token-file").and_then(|v| v.string("\"data/admin-token\"")) {
        config.admin.token_file = base.join(path);
    }
    let example = "[\"admin.example.net\"]";
    let hosts = table.get("hosts").and_then(|value| value.list(example)).unwrap_or_default();
    config.admin.hosts =
        hosts.iter().filter_map(|v| v.parsed(example, str::parse::<Domain>)).map(String::from).collect();
    table.finish();
}
