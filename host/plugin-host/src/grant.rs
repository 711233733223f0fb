//! What the operator lets a plugin do beyond computing: words in the configuration, parsed once.

use mail::Domain;
use std::{fmt, net::IpAddr, str::FromStr};

/// A capability that a plugin may be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    Config,
    Log,
    Metrics,
    Kv,
    Dns,
    /// Requests by wasi:http to this server, and to no other.
    Http(Origin),
}

/// A web server: `http://127.0.0.1:11333` or `https://api.example.net`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub scheme: Scheme,
    pub host: OriginHost,
    pub port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OriginHost {
    Name(Domain),
    Address(IpAddr),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a grant; expected config, log, metrics, kv, dns, http://host:port or https://host:port")]
pub struct ParseGrantError(String);

impl Grant {
    /// Those that are a single word.
    pub const WORDS: [Self; 5] = [Self::Config, Self::Log, Self::Metrics, Self::Kv, Self::Dns];
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::Log => f.write_str("log"),
            Self::Metrics => f.write_str("metrics"),
            Self::Kv => f.write_str("kv"),
            Self::Dns => f.write_str("dns"),
            Self::Http(origin) => origin.fmt(f),
        }
    }
}

impl FromStr for Grant {
    type Err = ParseGrantError;
    fn from_str(text: &str) -> Result<Self, ParseGrantError> {
        if let Some(word) = Self::WORDS.into_iter().find(|grant| grant.to_string() == text) {
            return Ok(word);
        }
        text.parse().map(Self::Http)
    }
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Origin {
    /// From the parts of a URI; `authority` is `host`, `host:port`, `[v6]` or `[v6]:port`.
    pub fn new(scheme: Scheme, authority: &str) -> Option<Self> {
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().filter(|port| *port != 0),
            Some(_) => None,
            None => port.is_empty().then(|| scheme.default_port()),
        }?;
        let host = match host.parse::<IpAddr>() {
            Ok(address) => OriginHost::Address(address.to_canonical()),
            Err(_) if authority.starts_with('[') => return None,
            Err(_) => OriginHost::Name(host.parse().ok()?),
        };
        Some(Self { scheme, host, port })
    }
}

impl FromStr for Origin {
    type Err = ParseGrantError;
    fn from_str(text: &str) -> Result<Self, ParseGrantError> {
        let wrong = || ParseGrantError(text.chars().take(80).collect());
        let (scheme, authority) = text.split_once("://").ok_or_else(wrong)?;
        let scheme = [Scheme::Http, Scheme::Https].into_iter().find(|known| known.as_str() == scheme);
        Self::new(scheme.ok_or_else(wrong)?, authority.strip_suffix('/').unwrap_or(authority)).ok_or_else(wrong)
    }
}

/// With the port always, so that it can be compared by eye.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme.as_str(), self.host, self.port)
    }
}

/// As in a URI.
impl fmt::Display for OriginHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name.as_str()),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_a_word_or_a_web_server() {
        for (text, written) in [
            ("dns", "dns"),
            ("http://127.0.0.1:11333", "http://127.0.0.1:11333"),
            ("https://API.example.net/", "https://api.example.net:443"),
            ("http://[::1]", "http://[::1]:80"),
            ("http://rspamd:11333", "http://rspamd:11333"),
        ] {
            assert_eq!(text.parse::<Grant>().unwrap().to_string(), written);
        }
        for wrong in [
            "smtp",
            "ftp://a.example",
            "http://",
            "http://a:0",
            "http://a:+1",
            "http://a.example/path",
            "http://user@a.example",
            "http://[a.example]",
            "http://::1",
            "http://*.example",
        ] {
            assert!(wrong.parse::<Grant>().is_err(), "{wrong}");
        }
    }
}
