//! Finds the name of a client: its PTR, if that leads back to its address (RFC 8601 §3, `iprev`).

use crate::dns::{Family, Lookup};
use std::{net::IpAddr, time::Duration};

/// A client with more names is not looked at longer.
const MAX_NAMES: usize = 5;
/// A name is a convenience: mail does not wait longer for it.
const TIME: Duration = Duration::from_secs(3);

/// None where there is none, where it doesn't lead back, and where DNS cannot tell.
pub async fn peer_name(dns: &dyn Lookup, ip: IpAddr) -> Option<String> {
    within(TIME, dns, ip).await
}

async fn within(time: Duration, dns: &dyn Lookup, ip: IpAddr) -> Option<String> {
    tokio::time::timeout(time, confirmed(dns, ip)).await.ok()?
}

async fn confirmed(dns: &dyn Lookup, ip: IpAddr) -> Option<String> {
    let names = dns.names(ip).await.ok()?;
    // Whatever is in a PTR: only what can be a host's name is told on.
    let names = names.into_iter().filter_map(|name| name.parse::<mail::Domain>().ok());
    for name in names.filter(|name| !name.is_address_literal()).take(MAX_NAMES) {
        let addresses = dns.addresses(name.as_str(), Family::from(ip)).await.unwrap_or_default();
        if addresses.contains(&ip) {
            return Some(name.into());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{super::fake_dns::FakeDns, *};
    use crate::dns::Unavailable;
    use mail::BoxFuture;

    #[tokio::test]
    async fn a_name_counts_if_it_leads_back() {
        let ip: IpAddr = "192.0.2.7".parse().unwrap();
        let named = |names: &[&str]| {
            let mut dns = FakeDns::default().with_address("mail.example.org", "192.0.2.7");
            dns.names.insert(ip, names.iter().map(|name| (*name).to_owned()).collect());
            dns
        };
        let of = async |names: &[&str]| peer_name(&named(names), ip).await;
        assert_eq!(of(&["bank.example", "mail.example.org"]).await.as_deref(), Some("mail.example.org"));
        assert_eq!(of(&["bank.example"]).await, None);
        assert_eq!(of(&["a b.example", "x\r\n.example"]).await, None);
        assert_eq!(of(&[]).await, None);
        assert_eq!(peer_name(&named(&["mail.example.org"]).with_failing("mail.example.org"), ip).await, None);
    }

    #[tokio::test]
    async fn a_client_whose_name_takes_long_has_none() {
        struct Silent;
        impl Lookup for Silent {
            fn txt<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<Vec<u8>>, Unavailable>> {
                Box::pin(std::future::pending())
            }
            fn mx<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<String>, Unavailable>> {
                Box::pin(std::future::pending())
            }
            fn addresses<'a>(&'a self, _: &'a str, _: Family) -> BoxFuture<'a, Result<Vec<IpAddr>, Unavailable>> {
                Box::pin(std::future::pending())
            }
            fn names(&self, _: IpAddr) -> BoxFuture<'_, Result<Vec<String>, Unavailable>> {
                Box::pin(std::future::pending())
            }
        }
        assert_eq!(within(Duration::from_millis(1), &Silent, "192.0.2.7".parse().unwrap()).await, None);
    }
}
