//! The host and port that a recipient's mail goes to, in the configuration's own syntax.

use crate::Domain;
use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr, str::FromStr};

/// `host:port`, `smtp://host:port?tls=required` or `lmtp://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct NextHop {
    pub protocol: Protocol,
    /// A canonical domain name, or an address without brackets.
    pub host: String,
    pub port: u16,
    /// Overrides the domain's `tls`.
    pub tls: Option<TlsMode>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    #[default]
    Smtp,
    /// RFC 2033.
    Lmtp,
}

/// To the next hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsMode {
    None,
    /// STARTTLS where offered, with any certificate; clear text elsewhere.
    #[default]
    Opportunistic,
    /// STARTTLS or nothing, with any certificate.
    Required,
    /// STARTTLS or nothing, with a certificate that is valid for the host.
    Verified,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a next hop: {why}; expected host:port, for instance mail.example.org:25 or lmtp://[::1]:24")]
pub struct NextHopError {
    text: String,
    why: &'static str,
}

impl TlsMode {
    pub const NAMES: [&str; 4] = ["none", "opportunistic", "required", "verified"];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Opportunistic => "opportunistic",
            Self::Required => "required",
            Self::Verified => "verified",
        }
    }
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Opportunistic, Self::Required, Self::Verified].into_iter().find(|mode| mode.as_str() == name)
    }
}

impl NextHop {
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl FromStr for NextHop {
    type Err = NextHopError;
    fn from_str(text: &str) -> Result<Self, NextHopError> {
        let wrong = |why| NextHopError { text: text.chars().take(120).collect(), why };
        let (protocol, rest) = match text.split_once("://") {
            Some(("smtp", rest)) => (Protocol::Smtp, rest),
            Some(("lmtp", rest)) => (Protocol::Lmtp, rest),
            Some(_) => return Err(wrong("the scheme is neither smtp nor lmtp")),
            None => (Protocol::Smtp, text),
        };
        let (authority, query) = rest.split_once('?').map_or((rest, None), |(a, q)| (a, Some(q)));
        let tls = match query.map(|q| q.split_once('=')) {
            None => None,
            Some(Some(("tls", mode))) => Some(
                TlsMode::from_name(mode).ok_or_else(|| wrong("tls is none, opportunistic, required or verified"))?,
            ),
            Some(_) => return Err(wrong("the only parameter is tls=")),
        };
        let (host, port) = authority.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
        let port = port
            .parse::<u16>()
            .ok()
            .filter(|p| *p != 0)
            .ok_or_else(|| wrong("the port is not a number from 1 to 65535"))?;
        let host = match host.strip_prefix('[').map(|h| h.strip_suffix(']')) {
            Some(Some(inner)) => inner
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| wrong("what stands in brackets is not an IPv6 address"))?
                .to_string(),
            Some(None) => return Err(wrong("the bracket is not closed")),
            None if host.contains(':') => return Err(wrong("an IPv6 address needs brackets")),
            None => host.parse::<Domain>().map_err(|_| wrong("the host is not a valid name"))?.into(),
        };
        Ok(Self { protocol, host, port, tls })
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.protocol, self.tls) {
            (Protocol::Lmtp, _) => f.write_str("lmtp://")?,
            (Protocol::Smtp, Some(_)) => f.write_str("smtp://")?,
            (Protocol::Smtp, None) => {}
        }
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)?
        } else {
            write!(f, "{}:{}", self.host, self.port)?
        }
        self.tls.map_or(Ok(()), |mode| write!(f, "?tls={}", mode.as_str()))
    }
}

impl From<NextHop> for String {
    fn from(hop: NextHop) -> Self {
        hop.to_string()
    }
}

impl TryFrom<String> for NextHop {
    type Error = NextHopError;
    fn try_from(text: String) -> Result<Self, NextHopError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_reads_back_as_it_was_written() {
        for text in ["mail.example.org:25", "lmtp://[::1]:24", "smtp://192.0.2.1:2525?tls=required", "127.0.0.1:2600"] {
            assert_eq!(text.parse::<NextHop>().unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "host",
            "host:0",
            "host:99999",
            "::1:25",
            "[::1:25",
            "http://a:1",
            "a:25?x=1",
            "a:25?tls=maybe",
            "a b:25",
            ":25",
        ] {
            assert!(wrong.parse::<NextHop>().is_err(), "{wrong}");
        }
    }
}
