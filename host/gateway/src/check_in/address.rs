//! Which addresses a host may say that it has. Pure.
//!
//! A lease makes the gateway connect: it must be no way into the operator's network for somebody outside of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Public,
    /// RFC 1918, RFC 6598, unique local IPv6.
    Private,
    /// One network's; clouds keep secrets there.
    LinkLocal,
    /// This machine's.
    Loopback,
    /// Nobody's: unspecified, multicast, reserved.
    None,
}

/// Whether a client at `from` may say that its host is at `claimed`.
pub fn may_claim(claimed: IpAddr, from: IpAddr) -> bool {
    let (claimed, from) = (claimed.to_canonical(), from.to_canonical());
    match (reach(claimed), reach(from)) {
        (Reach::Public, _) => true,
        (Reach::Private, from) => matches!(from, Reach::Private | Reach::LinkLocal | Reach::Loopback),
        (Reach::Loopback, from) => from == Reach::Loopback,
        (Reach::LinkLocal, _) => claimed == from,
        (Reach::None, _) => false,
    }
}

fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(v4) => reach4(v4),
        IpAddr::V6(v6) => reach6(v6),
    }
}

fn reach4(ip: Ipv4Addr) -> Reach {
    let [a, b, ..] = ip.octets();
    match (a, b) {
        (0 | 224.., _) => Reach::None,
        (127, _) => Reach::Loopback,
        (169, 254) => Reach::LinkLocal,
        (10, _) | (172, 16..=31) | (192, 168) | (100, 64..=127) => Reach::Private,
        _ => Reach::Public,
    }
}

fn reach6(ip: Ipv6Addr) -> Reach {
    let segments = ip.segments();
    let embedded = |high: u16, low: u16| reach4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        // Unspecified, and the deprecated IPv4-compatible ones.
        [0, 0, 0, 0, 0, 0, ..] => Reach::None,
        // NAT64 (RFC 6052, RFC 8215) and 6to4 lead to an IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] => Reach::Private,
        [0x2002, high, low, ..] => embedded(high, low),
        [0xfc00..=0xfdff, ..] => Reach::Private,
        // Deprecated site-local ones are no more public.
        [0xfec0..=0xfeff, ..] => Reach::Private,
        [0xfe80..=0xfebf, ..] => Reach::LinkLocal,
        [0xff00..=0xffff, ..] => Reach::None,
        _ => Reach::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(claimed: &str, from: &str) -> bool {
        may_claim(claimed.parse().unwrap(), from.parse().unwrap())
    }

    #[test]
    fn a_stranger_cannot_lead_the_gateway_into_its_own_network() {
        for claimed in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "fec0::1",
        ] {
            for from in ["203.0.113.7", "2001:db8::7"] {
                assert!(!may(claimed, from), "{claimed} from {from}");
            }
        }
        assert!(may("198.51.100.1", "203.0.113.7") && may("2001:db8::1", "203.0.113.7"));
    }

    #[test]
    fn a_neighbour_may_be_at_an_address_like_its_own() {
        for (claimed, from) in [
            ("127.0.0.2", "127.0.0.1"),
            ("127.0.0.1", "::1"),
            ("127.0.0.1", "::ffff:127.0.0.1"),
            ("192.168.1.9", "192.168.1.4"),
            ("10.0.0.1", "127.0.0.1"),
            ("fd00::1", "fd00::2"),
            ("169.254.1.1", "169.254.1.1"),
            ("198.51.100.1", "10.0.0.1"),
        ] {
            assert!(may(claimed, from), "{claimed} from {from}");
        }
        for (claimed, from) in [
            ("127.0.0.1", "10.0.0.1"),
            ("169.254.169.254", "10.0.0.1"),
            ("169.254.169.254", "127.0.0.1"),
            ("169.254.169.254", "169.254.1.1"),
            ("0.0.0.0", "127.0.0.1"),
        ] {
            assert!(!may(claimed, from), "{claimed} from {from}");
        }
    }
}
