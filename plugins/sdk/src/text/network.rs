//! Networks, and whether an address lies in one.

use super::from_text;
use std::{fmt, net::IpAddr, str::FromStr};

/// `192.0.2.0/24`, `2001:db8::/32`, or a single address. Bits behind the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network that a client is known by: its /24, or its /64 with IPv6. Clients change their
    /// address within it, large senders between two attempts.
    pub fn of_client(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        Self::new(ip, if ip.is_ipv4() { 24 } else { 64 })
    }

    /// IPv4 addresses written as IPv6 (`::ffff:192.0.2.1`) count as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.address.is_ipv4() && Self::new(ip, self.prefix).address == self.address
    }

    fn new(ip: IpAddr, prefix: u8) -> Self {
        let address = match ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
                IpAddr::V4((ip.to_bits() & mask).into())
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
                IpAddr::V6((ip.to_bits() & mask).into())
            }
        };
        Self { address, prefix }
    }
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!("{text:?} is not a network: {why}; expected for instance \"192.0.2.0/24\" or \"2001:db8::/32\"")
        };
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| wrong("what stands before the slash is no IP address"))?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix.map(str::parse::<u8>) {
            None => bits,
            Some(Ok(prefix)) if prefix <= bits => prefix,
            Some(_) => return Err(wrong(&format!("the prefix is not a number from 0 to {bits}"))),
        };
        let network = Self::new(address, prefix);
        if network.address != address {
            return Err(wrong(&format!("bits are set behind the prefix, did you mean \"{network}\"?")));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

from_text!(Network, "a network in quotes, for instance \"192.0.2.0/24\"");

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, ip: &str) -> bool {
        network.parse::<Network>().unwrap().contains(ip.parse().unwrap())
    }

    #[test]
    fn an_address_lies_in_its_networks_and_in_no_other() {
        assert!(holds("192.0.2.0/24", "192.0.2.255"));
        assert!(!holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("192.0.2.7", "192.0.2.7"));
        assert!(!holds("192.0.2.7", "192.0.2.8"));
        assert!(holds("0.0.0.0/0", "203.0.113.1"));
        assert!(!holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::/0", "2001:db8::1"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!holds("2001:db8::/32", "2001:db9::1"));
        assert!(holds("192.0.2.0/24", "::ffff:192.0.2.1"));
    }

    #[test]
    fn a_client_is_known_by_its_24_or_64() {
        let of = |ip: &str| Network::of_client(ip.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.77"), "192.0.2.0/24");
        assert_eq!(of("::ffff:192.0.2.77"), "192.0.2.0/24");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }

    #[test]
    fn a_wrong_network_is_refused_with_the_reason() {
        for wrong in ["", "192.0.2", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/x", "2001:db8::/129", "example.org"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        let error = "192.0.2.1/24".parse::<Network>().unwrap_err();
        assert!(error.contains("did you mean \"192.0.2.0/24\""), "{error}");
    }
}
