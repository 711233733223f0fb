//! What an update asks for, and the words of the answers (the "dyndns2" protocol). Pure.
//!
//! Parameters that only make sense for a DNS provider are read over.

use mail::Domain;
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// In one request; providers have twenty.
const MAX_HOSTS: usize = 20;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// As given; what is no name is told so in its line of the answer.
    pub hosts: Vec<Host>,
    pub at: At,
    pub offline: Offline,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Name(Domain),
    /// No full name.
    Unqualified,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum At {
    /// Where the request comes from.
    #[default]
    Peer,
    /// One of each kind at most, at least one.
    Given(Option<Ipv4Addr>, Option<Ipv6Addr>),
    /// What is given is no address, or too many.
    Unclear,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offline {
    /// The host is there.
    #[default]
    No,
    Yes,
    /// Whichever it was.
    AsItWas,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Good(Vec<IpAddr>),
    NoChange(Vec<IpAddr>),
    BadAuth,
    /// Not this user's, or nobody's: the two are not told apart.
    NoHost,
    NotFqdn,
    TooManyHosts,
    /// Too many attempts: come back later.
    Abuse,
    BadAgent,
    /// The address cannot be taken.
    DnsError,
    /// Ours to put right.
    Trouble,
}

impl Update {
    /// Of the query part of a request's target.
    pub fn parse(query: &str) -> Self {
        let mut update = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "hostname" => update.hosts = value.split(',').take(MAX_HOSTS + 1).filter_map(host).collect(),
                "myip" => update.at = addresses(&value),
                "offline" if value.eq_ignore_ascii_case("YES") => update.offline = Offline::Yes,
                "offline" if value.eq_ignore_ascii_case("NOCHG") => update.offline = Offline::AsItWas,
                _ => {}
            }
        }
        update
    }

    /// What is wrong with all of it.
    pub fn refusal(&self) -> Option<Answer> {
        match self.hosts.len() {
            0 => Some(Answer::NotFqdn),
            many if many > MAX_HOSTS => Some(Answer::TooManyHosts),
            _ => None,
        }
    }
}

fn host(text: &str) -> Option<Host> {
    let text = text.trim();
    let name = || text.parse::<Domain>().ok().filter(|name| name.as_str().contains('.') && !name.is_address_literal());
    (!text.is_empty()).then(|| name().map_or(Host::Unqualified, Host::Name))
}

fn addresses(text: &str) -> At {
    let (mut v4, mut v6) = (None, None);
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let before = match part.parse().map(|ip: IpAddr| ip.to_canonical()) {
            Ok(IpAddr::V4(ip)) => v4.replace(ip).is_some(),
            Ok(IpAddr::V6(ip)) => v6.replace(ip).is_some(),
            Err(_) => true,
        };
        if before {
            return At::Unclear;
        }
    }
    if v4.is_none() && v6.is_none() { At::Peer } else { At::Given(v4, v6) }
}

impl At {
    /// IPv6 first, as a lookup would have them.
    pub fn resolve(self, peer: IpAddr) -> Option<Vec<IpAddr>> {
        match self {
            Self::Peer => Some(vec![peer.to_canonical()]),
            Self::Given(v4, v6) => Some(v6.map(IpAddr::V6).into_iter().chain(v4.map(IpAddr::V4)).collect()),
            Self::Unclear => None,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Good(_) => "good",
            Self::NoChange(_) => "nochg",
            Self::BadAuth => "badauth",
            Self::NoHost => "nohost",
            Self::NotFqdn => "notfqdn",
            Self::TooManyHosts => "numhost",
            Self::Abuse => "abuse",
            Self::BadAgent => "badagent",
            Self::DnsError => "dnserr",
            Self::Trouble => "911",
        };
        f.write_str(word)?;
        let (Self::Good(addresses) | Self::NoChange(addresses)) = self else { return Ok(()) };
        for (i, address) in addresses.iter().enumerate() {
            write!(f, "{}{address}", if i == 0 { ' ' } else { ',' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(update: &Update) -> Vec<String> {
        let name = |host: &Host| match host {
            Host::Name(name) => name.to_string(),
            Host::Unqualified => "?".to_owned(),
        };
        update.hosts.iter().map(name).collect()
    }

    #[test]
    fn what_routers_and_clients_send_is_understood() {
        let ddclient = Update::parse("system=dyndns&hostname=mail.example.org,Example.NET&myip=192.0.2.1&wildcard=ON");
        assert_eq!(names(&ddclient), ["mail.example.org", "example.net"]);
        assert_eq!(ddclient.at, At::Given(Some(Ipv4Addr::new(192, 0, 2, 1)), None));
        assert_eq!(ddclient.offline, Offline::No);
        let both = Update::parse("hostname=a.example&myip=192.0.2.1%2C2001%3Adb8%3A%3A1&mx=x&backmx=NO&offline=NOCHG");
        let peer = "203.0.113.1".parse().unwrap();
        let addresses = both.at.resolve(peer).unwrap();
        assert_eq!(Answer::Good(addresses).to_string(), "good 2001:db8::1,192.0.2.1");
        assert_eq!(both.offline, Offline::AsItWas);
        let away = Update::parse("myip=&offline=yes&hostname=a.example");
        assert_eq!((away.at, away.offline), (At::Peer, Offline::Yes));
        assert_eq!(away.at.resolve("::ffff:203.0.113.1".parse().unwrap()), Some(vec![peer]));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for myip in ["1", "192.0.2.1,192.0.2.2", "localhost", "192.0.2.1,x", "::1,::2", "192.0.2.1:25"] {
            assert_eq!(Update::parse(&format!("myip={myip}")).at, At::Unclear, "{myip}");
        }
        assert_eq!(Update::parse("").refusal(), Some(Answer::NotFqdn));
        assert_eq!(Update::parse("hostname=,,").refusal(), Some(Answer::NotFqdn));
        let many = format!("hostname={}", vec!["a.example"; 21].join(","));
        assert_eq!(Update::parse(&many).refusal(), Some(Answer::TooManyHosts));
        let update = Update::parse("hostname=mail,[192.0.2.1],a..b,-,a.example");
        assert_eq!(names(&update), ["?", "?", "?", "?", "a.example"]);
        assert_eq!(update.refusal(), None);
    }
}
