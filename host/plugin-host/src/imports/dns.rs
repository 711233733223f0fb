//! Answers for `dns`, through the host's resolver. Names are checked before anything is asked.

use crate::{
    bindings::waypost::plugin::{dns, types::Error},
    grant::Grant,
    settings::{ResolveError, Resolver},
    state::State,
};
use mail::Domain;
use std::{net::IpAddr, sync::Arc};

impl State {
    fn resolver(&self) -> Result<Arc<dyn Resolver>, Error> {
        if !self.profile.grants(&Grant::Dns) {
            return Err(Error::Denied);
        }
        self.profile.resolver.clone().ok_or_else(|| Error::Unavailable("no resolver is configured".to_owned()))
    }
}

impl dns::Host for State {
    async fn addresses(&mut self, name: String) -> Result<Vec<String>, Error> {
        self.called("dns.addresses");
        let (resolver, name) = (self.resolver()?, host_name(&name)?);
        let found = resolver.addresses(name.as_str()).await.map_err(told)?;
        Ok(found.iter().map(IpAddr::to_string).collect())
    }
    async fn txt(&mut self, name: String) -> Result<Vec<String>, Error> {
        self.called("dns.txt");
        let (resolver, name) = (self.resolver()?, host_name(&name)?);
        resolver.txt(name.as_str()).await.map_err(told)
    }
    async fn mx(&mut self, name: String) -> Result<Vec<(u16, String)>, Error> {
        self.called("dns.mx");
        let (resolver, name) = (self.resolver()?, host_name(&name)?);
        resolver.mx(name.as_str()).await.map_err(told)
    }
    async fn ptr(&mut self, ip: String) -> Result<Vec<String>, Error> {
        self.called("dns.ptr");
        let (resolver, ip) = (self.resolver()?, address(&ip)?);
        resolver.ptr(ip).await.map_err(told)
    }
    async fn dnsbl(&mut self, zone: String, ip: String) -> Result<Vec<String>, Error> {
        self.called("dns.dnsbl");
        let (resolver, zone, ip) = (self.resolver()?, host_name(&zone)?, address(&ip)?);
        let found = resolver.addresses(&listed_name(ip, &zone)).await.map_err(told)?;
        Ok(found.iter().map(IpAddr::to_string).collect())
    }
}

fn told(error: ResolveError) -> Error {
    Error::Unavailable(error.0)
}

fn host_name(name: &str) -> Result<Domain, Error> {
    let parsed: Domain = name.parse().map_err(|error: mail::AddressError| Error::Invalid(error.to_string()))?;
    if parsed.is_address_literal() {
        return Err(Error::Invalid(format!("{parsed} is an address, not a name")));
    }
    Ok(parsed)
}

fn address(ip: &str) -> Result<IpAddr, Error> {
    ip.parse().map_err(|_| Error::Invalid(format!("{:?} is not an IP address", super::cut(ip, 60))))
}

/// RFC 5782 §2.1 and §2.4: octets, or nibbles, in reverse.
fn listed_name(ip: IpAddr, zone: &Domain) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.{zone}")
        }
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4));
            format!("{}{zone}", nibbles.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_names_are_built_as_rfc_5782_shows() {
        let zone: Domain = "bad.example.com".parse().unwrap();
        assert_eq!(listed_name("192.0.2.99".parse().unwrap(), &zone), "99.2.0.192.bad.example.com");
        assert_eq!(
            listed_name("2001:db8:1:2:3:4:567:89ab".parse().unwrap(), &zone),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bad.example.com"
        );
    }
}
