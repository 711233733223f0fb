//! Next hops in the configuration's own syntax. The gateway decides which ones a domain may reach.

use super::from_text;
use std::{net::Ipv6Addr, str::FromStr};

/// `host:port`, `smtp://host:port?tls=required` or `lmtp://host:port`, kept as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NextHop(String);

impl NextHop {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&NextHop> for String {
    fn from(hop: &NextHop) -> Self {
        hop.0.clone()
    }
}

impl FromStr for NextHop {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        check(text).map_err(|why| {
            format!(
                "{text:?} is not a next hop: {why}; expected host:port, for instance \"mail.example.org:25\" or \"lmtp://[::1]:24\""
            )
        })?;
        Ok(Self(text.to_owned()))
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    let rest = match text.split_once("://") {
        Some(("smtp" | "lmtp", rest)) => rest,
        Some(_) => return Err("the scheme is neither smtp nor lmtp"),
        None => text,
    };
    let (authority, query) = rest.split_once('?').map_or((rest, None), |(a, q)| (a, Some(q)));
    match query.map(|query| query.split_once('=')) {
        None | Some(Some(("tls", "none" | "opportunistic" | "required" | "verified"))) => {}
        Some(Some(("tls", _))) => return Err("tls is none, opportunistic, required or verified"),
        Some(_) => return Err("the only parameter is tls="),
    }
    let (host, port) = authority.rsplit_once(':').ok_or("the port is missing")?;
    if !port.parse::<u16>().is_ok_and(|port| port != 0) {
        return Err("the port is not a number from 1 to 65535");
    }
    match host.strip_prefix('[') {
        Some(inner) => {
            let inner = inner.strip_suffix(']').ok_or("the bracket is not closed")?;
            inner.parse::<Ipv6Addr>().map(drop).map_err(|_| "what stands in brackets is not an IPv6 address")
        }
        None if host.contains(':') => Err("an IPv6 address needs brackets"),
        None if is_host(host) => Ok(()),
        None => Err("the host is not a valid name"),
    }
}

/// Labels of letters, digits, hyphens and underscores. What an internationalised label may hold is the gateway's to say.
fn is_host(host: &str) -> bool {
    let letter = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let name = host.strip_suffix('.').unwrap_or(host);
    host.len() <= 255
        && name.split('.').all(|label| {
            !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.chars().all(letter)
        })
}

from_text!(NextHop, "a next hop in quotes, for instance \"mail.example.org:25\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_hops_are_written_as_in_the_configuration() {
        for text in [
            "mail.example.org:25",
            "lmtp://[::1]:24",
            "smtp://192.0.2.1:2525?tls=required",
            "127.0.0.1:2600",
            "bücher.example:25",
        ] {
            assert_eq!(text.parse::<NextHop>().unwrap().as_str(), text);
        }
        for wrong in [
            "",
            "host",
            "host:0",
            "host:99999",
            "::1:25",
            "[::1:25",
            "[x]:25",
            "http://a:1",
            "a:25?x=1",
            "a:25?tls",
            "a:25?tls=maybe",
            "a b:25",
            "a..b:25",
            "-a:25",
            ":25",
        ] {
            assert!(wrong.parse::<NextHop>().is_err(), "{wrong}");
        }
    }
}
