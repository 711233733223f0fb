//! The gateway's configuration as a value: read once, complete and checked, or every error at once.
//!
//! Reads files and nothing else: it never opens a socket, loads a plugin or writes.

mod alerting;
mod authenticity;
mod check_in;
mod dns;
mod domain_file;
mod fixed;
mod gateway_file;
mod hops;
mod identity;
mod limits;
mod load;
mod network;
mod own_address;
mod plugins;
mod room;
mod timeouts;

#[cfg(test)]
mod tests;

pub use fixed::{Fixed, needs_restart};
pub use limits::{Caps, Limits, Patience, Tarpit};
pub use load::Reading;
pub use network::{Network, ParseNetworkError};
pub use room::Room;
pub use timeouts::Timeouts;
pub use toml_keys::{Mistake as ConfigError, Mistakes as ConfigErrors, Place};

use crate::dsn;
use crate::odmr::ScramVerifier;
use mail::{Binding, Domain, NextHop, TlsMode};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// In place of a next hop, where the domain's owner collects the mail.
pub const ON_DEMAND: &str = "on-demand";

const DAY: Duration = Duration::from_secs(86_400);

/// `waypost.toml` and every file of its `domain-dir`. Paths are relative to the working directory
/// or absolute.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where it was read from.
    pub file: PathBuf,
    /// Canonical; in the greeting, Received and DSNs.
    pub hostname: String,
    pub data_dir: PathBuf,
    pub domain_dir: PathBuf,
    pub plugin_dir: PathBuf,
    /// In bytes.
    pub max_message_size: u64,
    pub room: Room,
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    /// Of 256 IPv4 addresses, or of 64 bits of IPv6.
    pub max_connections_per_network: usize,
    /// Of the listeners that don't say otherwise.
    pub limits: Limits,
    /// Of one transaction.
    pub max_recipients: usize,
    /// At least one.
    pub listeners: Vec<Listener>,
    /// None: a self-signed pair is made.
    pub tls: Option<TlsFiles>,
    pub admin: Admin,
    /// None: check-ins are taken where the page and the API are, and nowhere else.
    pub check_in: Option<CheckInListener>,
    /// By plugin name; those not named have the defaults.
    pub plugins: BTreeMap<String, PluginSettings>,
    /// Gateway-wide plugins, asked before any domain's.
    pub chain: Vec<Binding>,
    /// Where each of `chain` stands.
    pub chain_places: Vec<Place>,
    pub journal: JournalSettings,
    pub alerts: Alerting,
    /// Where DSNs for senders of other domains go, tried in order; none: they are held.
    pub dsn_next_hops: Vec<NextHop>,
    /// Notifications in an hour.
    pub dsn_limits: dsn::Limits,
    /// Towards next hops.
    pub timeouts: Timeouts,
    pub dns: DnsSettings,
    pub authenticity: Authenticity,
    /// Certificate authorities of next hops, beside the system's.
    pub authorities: Option<PathBuf>,
    pub domains: BTreeMap<Domain, Arc<DomainConfig>>,
}

/// Who is asked where next hops are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsSettings {
    /// Empty: the system's.
    pub servers: Vec<SocketAddr>,
    /// DNSKEY records; none: the root's keys as IANA publishes them.
    pub trust_anchor: Option<PathBuf>,
}

/// How far it is looked at where mail comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authenticity {
    /// Where nothing is checked, plugins see `none`.
    pub enabled: bool,
    /// For all checks of one mail together.
    pub time: Duration,
}

impl Default for Authenticity {
    fn default() -> Self {
        Self { enabled: true, time: Duration::from_secs(10) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub address: SocketAddr,
    pub service: Service,
    pub tls: ListenerTls,
    pub limits: Limits,
    /// What becomes of a bare CR or LF in mail data.
    pub bare_line_ends: smtp::BareLineEnds,
    /// Networks that must send a PROXY header.
    pub proxy_protocol_from: Vec<Network>,
    /// Networks that may send XCLIENT.
    pub xclient_from: Vec<Network>,
}

/// What clients come for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// To hand over mail.
    #[default]
    Smtp,
    /// To collect it (RFC 2645).
    Odmr,
}

/// TLS that clients get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListenerTls {
    None,
    /// STARTTLS is offered.
    #[default]
    Optional,
    /// No mail before STARTTLS.
    Required,
    /// The connection begins with the handshake (RFC 8314 §3.3).
    Implicit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The page, the API and `/metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    pub listen: SocketAddr,
    /// True when the file says `listen`; false for the default.
    pub explicit: bool,
    pub token_file: PathBuf,
    /// Names beside the gateway's own and localhost by which it may be asked for.
    pub hosts: Vec<String>,
}

/// A listener for check-ins alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckInListener {
    pub address: SocketAddr,
    pub tls: bool,
}

/// Limits and grants of one plugin, for all its domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSettings {
    /// The default grants, then those of the file.
    pub grants: Vec<String>,
    /// In bytes; None is the host's default.
    pub memory: Option<u64>,
    /// Of a whole call, waiting included; None is the host's default.
    pub time: Option<Duration>,
}

/// One file of `domain-dir`.
#[derive(Clone, Debug, PartialEq)]
pub struct DomainConfig {
    pub file: PathBuf,
    pub name: Domain,
    /// Tried in order; at least one, unless `on_demand`.
    pub next_hops: Vec<NextHop>,
    /// Nobody is connected to: the domain's owner collects the mail (RFC 2645).
    pub on_demand: bool,
    /// To the next hops that don't say otherwise.
    pub tls: TlsMode,
    /// Queue lifetime: a deferral becomes a failure after it.
    pub retention: Duration,
    pub accept: Accept,
    /// After this a sender who has asked for it is told that the mail still waits.
    pub delay_notice: Duration,
    pub plugins: Vec<Binding>,
    /// Where each of `plugins` stands.
    pub plugin_places: Vec<Place>,
    /// `<domain>/plugins` beside the file, if it exists: plugins that only this domain can use.
    pub own_plugins: Option<PathBuf>,
    pub offline: Offline,
    /// None: whoever answers at the next hop's address gets the mail.
    pub identity: Option<Identity>,
    /// None: the domain's owner cannot tell us where the next hop is.
    pub check_in: Option<CheckIn>,
    /// Whether mail gets an Authentication-Results field. None: where a plugin could ask what it says.
    pub authentication_results: Option<bool>,
    /// Transactions that are kept for replay; none unless the file says so.
    pub record: Option<Record>,
}

impl DomainConfig {
    /// How long mail goes where the domain's owner has said that the first next hop is. None: they don't say it.
    pub fn lease(&self) -> Option<Duration> {
        self.check_in.as_ref()?.lease
    }
}

/// What of the mail's story is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    pub enabled: bool,
    pub keep: Duration,
    /// In bytes.
    pub max_size: u64,
}

impl JournalSettings {
    pub fn bounds(&self) -> journal::Bounds {
        journal::Bounds { keep: self.keep, max_size: self.max_size }
    }
}

/// Which transactions are kept for replay, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// In percent, 1 to 100.
    pub sample: u8,
    pub bounds: journal::recorded::Bounds,
}

/// When mail for the domain is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accept {
    /// 451 until a probe of the next hop has passed once.
    #[default]
    AfterProbe,
    Always,
}

/// Proof of the next hop: all that is given must hold before a byte of a message is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// SHA-256 of a SubjectPublicKeyInfo; one of them must match.
    pub pins: Vec<[u8; 32]>,
    pub trust_on_first_probe: bool,
    /// The certificate must be valid for it.
    pub name: Option<Domain>,
    /// RFC 7672.
    pub dane: bool,
}

/// How the domain's owner proves who they are, to move the next hop and to collect mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckIn {
    pub user: String,
    /// argon2id, in PHC form.
    pub password_hash: String,
    /// How long a checked-in address is good. None: the next hop is found as any other.
    pub lease: Option<Duration>,
    /// For AUTH SCRAM-SHA-256.
    pub scram_sha_256: Option<ScramVerifier>,
    /// For AUTH CRAM-MD5, which needs the password itself.
    pub cram_md5_secret: Option<Secret>,
}

/// Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// What is done while the next hop is away and no plugin says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offline {
    pub action: OfflineSetting,
    /// Not empty when `action` is `Redirect`.
    pub redirect: Vec<NextHop>,
    /// For how long refusals are held, not bounced, after a change of route or an outage.
    pub hold_refusals: Duration,
    /// Who hears of an outage, beside those of the gateway's `[alerts]`.
    pub alert: Vec<AlertTarget>,
    /// A shorter outage alerts nobody.
    pub alert_after: Duration,
}

impl Default for Offline {
    fn default() -> Self {
        let (action, redirect, alert) = (OfflineSetting::default(), Vec::new(), Vec::new());
        let hold_refusals = Duration::from_secs(86_400);
        Self { action, redirect, hold_refusals, alert, alert_after: Duration::from_secs(60) }
    }
}

/// What holds for the alerts of all domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alerting {
    /// Who hears of every domain.
    pub to: Vec<AlertTarget>,
    /// The key that webhooks are signed with.
    pub secret_file: PathBuf,
    /// How long before its end waiting mail is told of.
    pub expiry_warning: Duration,
}

/// Who is alerted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertTarget {
    /// A URL that takes a POST.
    Webhook(String),
    /// A program and its arguments; no shell.
    Command(Vec<String>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OfflineSetting {
    #[default]
    Hold,
    Redirect,
    Bounce,
}

/// What every plugin may use without being granted it.
pub const DEFAULT_GRANTS: [&str; 4] = ["config", "log", "metrics", "kv"];
