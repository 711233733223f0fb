//! Which addresses a granted name may lead to: a public name never leads into the operator's own network,
//! whatever DNS says (DNS rebinding).

use mail::Domain;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether requests that are granted for `name` may go to `address`.
pub(super) fn may_lead_to(name: &Domain, address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip) || (is_local_name(name) && (ip.is_private() || ip.is_loopback())),
        IpAddr::V6(ip) => is_public_v6(ip) || (is_local_name(name) && (ip.is_unique_local() || ip.is_loopback())),
    }
}

/// A name that nobody can register is the operator's own, so granting it means an address of the own network.
/// RFC 6761 §6.3, RFC 6762 §3, RFC 8375, and ICANN's `internal`.
fn is_local_name(name: &Domain) -> bool {
    const SUFFIXES: [&str; 4] = ["localhost", "local", "internal", "home.arpa"];
    let name = name.as_str();
    let below = |suffix: &str| name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.contains('.') || SUFFIXES.into_iter().any(below)
}

/// RFC 6890's registry of special addresses, those left out that nobody answers at.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        // NAT64 and 6to4 end at an IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0] => is_public_v4(v4(g, h)),
        [0x2002, high, low, ..] => is_public_v4(v4(high, low)),
        // Global unicast is 2000::/3; nothing else is out there.
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(name: &str, address: &str) -> bool {
        may_lead_to(&name.parse().unwrap(), address.parse().unwrap())
    }

    #[test]
    fn a_public_name_does_not_lead_into_the_own_network() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
        ] {
            assert!(!allowed("api.example.net", inside), "{inside}");
        }
        for outside in ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808", "::ffff:8.8.8.8"] {
            assert!(allowed("api.example.net", outside), "{outside}");
        }
    }

    #[test]
    fn a_name_of_the_own_network_does_but_not_to_link_local_addresses() {
        for name in ["rspamd", "localhost", "a.internal", "nas.home.arpa", "x.local"] {
            assert!(allowed(name, "127.0.0.1") && allowed(name, "10.0.0.1") && allowed(name, "fd00::1"), "{name}");
            assert!(!allowed(name, "169.254.169.254") && !allowed(name, "fe80::1"), "{name}");
        }
        assert!(!allowed("notlocal.example", "10.0.0.1") && !allowed("evil-internal.example", "10.0.0.1"));
    }
}
