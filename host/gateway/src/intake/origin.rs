//! Whose session it is, where a proxy in front says it by XCLIENT. Pure.
//!
//! Whether the proxy is believed has been decided before.

use mail::SessionFacts;
use smtp::{Told, Xclient};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Nobody is at it. A client that the proxy does not know must not pass for the proxy.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The client's address; `current` is what it was taken for.
pub fn address(current: SocketAddr, client: &Xclient) -> SocketAddr {
    let known_port = match client.port {
        Some(Told::Known(port)) => Some(port),
        Some(Told::Unavailable) => Some(0),
        None => None,
    };
    match client.address {
        Some(Told::Known(address)) => SocketAddr::new(address.to_canonical(), known_port.unwrap_or(0)),
        Some(Told::Unavailable) => SocketAddr::new(UNKNOWN, 0),
        None => SocketAddr::new(current.ip(), known_port.unwrap_or(current.port())),
    }
}

/// What is known of the client from now on. Its name goes with its address.
pub fn apply(facts: &mut SessionFacts, client: Xclient) {
    facts.peer = address(facts.peer, &client);
    if client.address.is_some() || client.name.is_some() {
        facts.peer_name = client.name.and_then(Told::known);
    }
    facts.helo = client.helo.and_then(Told::known);
    if let Some(login) = client.login {
        facts.auth_user = login.known();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> SessionFacts {
        SessionFacts {
            listener: "127.0.0.1:25".into(),
            peer: "127.0.0.1:4000".parse().unwrap(),
            peer_name: Some("proxy.example".into()),
            helo: Some("proxy.example".into()),
            tls_version: None,
            auth_user: None,
        }
    }

    #[test]
    fn what_the_proxy_says_replaces_what_was_seen_of_it() {
        let mut facts = facts();
        let address = Some(Told::Known("192.0.2.7".parse().unwrap()));
        let login = Some(Told::Known("ann".to_owned()));
        apply(&mut facts, Xclient { address, login, ..Xclient::default() });
        assert_eq!(facts.peer, "192.0.2.7:0".parse().unwrap());
        assert_eq!(
            (facts.peer_name.as_deref(), facts.helo.as_deref(), facts.auth_user.as_deref()),
            (None, None, Some("ann"))
        );
        let name = Some(Told::Known("client.example".to_owned()));
        apply(&mut facts, Xclient { name, port: Some(Told::Known(25)), ..Xclient::default() });
        assert_eq!((facts.peer, facts.peer_name.as_deref()), ("192.0.2.7:25".parse().unwrap(), Some("client.example")));
    }

    #[test]
    fn a_client_that_is_not_known_does_not_pass_for_the_proxy() {
        let mut facts = facts();
        apply(&mut facts, Xclient { address: Some(Told::Unavailable), ..Xclient::default() });
        assert_eq!((facts.peer, facts.peer_name), ("0.0.0.0:0".parse().unwrap(), None));
    }
}
