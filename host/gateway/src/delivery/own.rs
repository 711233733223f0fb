//! Whether a connection has reached this gateway itself: mail sent over it would go round in a circle. Pure.

use std::net::{IpAddr, SocketAddr};

/// The listener that `peer` is; `local` is our end of the connection.
pub fn reached(listeners: &[SocketAddr], peer: SocketAddr, local: SocketAddr) -> Option<SocketAddr> {
    let (peer_ip, local_ip) = (peer.ip().to_canonical(), local.ip().to_canonical());
    let here = peer_ip.is_loopback() || peer_ip == local_ip;
    let is_peer = |listener: &&SocketAddr| {
        listener.port() == peer.port()
            && match listener.ip() {
                // [::] takes IPv4 too.
                IpAddr::V6(any) if any.is_unspecified() => here,
                IpAddr::V4(any) if any.is_unspecified() => here && peer_ip.is_ipv4(),
                bound => bound.to_canonical() == peer_ip,
            }
    };
    listeners.iter().find(is_peer).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_own(listening: &str, peer: &str, local: &str) -> bool {
        reached(&[listening.parse().unwrap()], peer.parse().unwrap(), local.parse().unwrap()).is_some()
    }

    #[test]
    fn a_peer_at_a_port_of_ours_on_this_machine_is_ourselves() {
        for (listening, peer, local) in [
            ("127.0.0.1:25", "127.0.0.1:25", "127.0.0.1:4000"),
            ("0.0.0.0:25", "127.0.0.2:25", "127.0.0.1:4000"),
            ("0.0.0.0:25", "192.0.2.1:25", "192.0.2.1:4000"),
            ("[::]:25", "192.0.2.1:25", "192.0.2.1:4000"),
            ("[::]:25", "[::1]:25", "[::1]:4000"),
            ("192.0.2.1:25", "192.0.2.1:25", "192.0.2.1:4000"),
        ] {
            assert!(is_own(listening, peer, local), "{listening} {peer}");
        }
    }

    #[test]
    fn another_port_another_machine_and_another_address_are_not() {
        for (listening, peer, local) in [
            ("127.0.0.1:25", "127.0.0.1:2525", "127.0.0.1:4000"),
            ("127.0.0.1:25", "127.0.0.2:25", "127.0.0.1:4000"),
            ("0.0.0.0:25", "192.0.2.9:25", "192.0.2.1:4000"),
            ("0.0.0.0:25", "[::1]:25", "[::1]:4000"),
        ] {
            assert!(!is_own(listening, peer, local), "{listening} {peer}");
        }
    }
}
