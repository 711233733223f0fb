//! Decides whether a next hop is this gateway itself: mail sent there would go round in a circle.
//!
//! Pure: names are compared as written and never resolved.

use super::Listener;
use mail::NextHop;
use std::net::{IpAddr, SocketAddr};

/// Where the gateway listens.
pub(super) struct OwnAddresses<'a> {
    pub(super) hostname: &'a str,
    pub(super) listeners: &'a [Listener],
}

impl OwnAddresses<'_> {
    /// The listener that `hop` would reach.
    pub(super) fn reached_by(&self, hop: &NextHop) -> Option<SocketAddr> {
        let reached = |listener: &&Listener| {
            hop.port == listener.address.port()
                && match hop.host.as_str() {
                    "localhost" => accepts_loopback(listener.address.ip()),
                    name if name == self.hostname => true,
                    host => host.parse().is_ok_and(|ip: IpAddr| reaches(ip.to_canonical(), listener.address.ip())),
                }
        };
        self.listeners.iter().find(reached).map(|listener| listener.address)
    }
}

fn accepts_loopback(listening: IpAddr) -> bool {
    listening.is_loopback() || listening.is_unspecified()
}

/// A connection to the unspecified address reaches loopback.
fn reaches(hop: IpAddr, listening: IpAddr) -> bool {
    let local = hop.is_loopback() || hop.is_unspecified();
    let same_family = hop.is_ipv4() == listening.is_ipv4();
    // [::] takes IPv4 too.
    let heard = same_family || (listening.is_unspecified() && listening.is_ipv6());
    heard
        && (hop == listening
            || (local && listening.is_unspecified())
            || (hop.is_unspecified() && listening.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenerTls;

    fn loops(listening: &str, hop: &str) -> bool {
        let listener = Listener {
            address: listening.parse().unwrap(),
            service: Default::default(),
            tls: ListenerTls::None,
            limits: Default::default(),
            bare_line_ends: Default::default(),
            proxy_protocol_from: Vec::new(),
            xclient_from: Vec::new(),
        };
        let own = OwnAddresses { hostname: "mx1.example.net", listeners: &[listener] };
        own.reached_by(&hop.parse().unwrap()).is_some()
    }

    #[test]
    fn a_next_hop_that_is_a_listener_of_ours_is_a_loop() {
        for (listening, hop) in [
            ("[::]:25", "127.0.0.1:25"),
            ("[::]:25", "[::1]:25"),
            ("[::]:25", "localhost:25"),
            ("[::]:25", "0.0.0.0:25"),
            ("[::]:25", "mx1.example.net:25"),
            ("127.0.0.1:2525", "127.0.0.1:2525"),
            ("127.0.0.1:2525", "lmtp://localhost:2525"),
            ("127.0.0.1:2525", "0.0.0.0:2525"),
            ("192.0.2.1:25", "192.0.2.1:25"),
        ] {
            assert!(loops(listening, hop), "{listening} {hop}");
        }
    }

    #[test]
    fn a_neighbour_on_the_same_machine_is_no_loop() {
        for (listening, hop) in [
            ("[::]:25", "127.0.0.1:2525"),
            ("127.0.0.1:25", "127.0.0.2:25"),
            ("127.0.0.1:25", "[::1]:25"),
            ("0.0.0.0:25", "[::1]:25"),
            ("192.0.2.1:25", "127.0.0.1:25"),
            ("192.0.2.1:25", "localhost:25"),
            ("[::]:25", "mail.example.net:25"),
        ] {
            assert!(!loops(listening, hop), "{listening} {hop}");
        }
    }
}
