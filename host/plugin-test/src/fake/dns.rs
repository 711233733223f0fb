//! DNS from a table. A name that is not in it has no records.

use mail::BoxFuture;
use plugin_host::{ResolveError, Resolver};
use std::{collections::BTreeMap, net::IpAddr};

/// By name in lower case without its final dot, or by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FakeDns {
    pub names: BTreeMap<String, DnsRecords>,
    pub pointers: BTreeMap<IpAddr, DnsRecords>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsRecords {
    pub addresses: Vec<IpAddr>,
    pub txt: Vec<String>,
    /// Preference and host.
    pub mx: Vec<(u16, String)>,
    pub ptr: Vec<String>,
    /// Every look-up fails like this.
    pub fails: Option<String>,
}

impl FakeDns {
    fn find<'a, T>(
        found: Option<&'a DnsRecords>,
        part: fn(&'a DnsRecords) -> &'a Vec<T>,
    ) -> Result<Vec<T>, ResolveError>
    where
        T: Clone,
    {
        match found {
            Some(DnsRecords { fails: Some(why), .. }) => Err(ResolveError(why.clone())),
            Some(records) => Ok(part(records).clone()),
            None => Ok(Vec::new()),
        }
    }
    fn named(&self, name: &str) -> Option<&DnsRecords> {
        self.names.get(&name.trim_end_matches('.').to_ascii_lowercase())
    }
}

impl Resolver for FakeDns {
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move { Self::find(self.named(name), |records| &records.addresses) })
    }
    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        Box::pin(async move { Self::find(self.named(name), |records| &records.txt) })
    }
    fn mx<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<(u16, String)>, ResolveError>> {
        Box::pin(async move { Self::find(self.named(name), |records| &records.mx) })
    }
    fn ptr(&self, ip: IpAddr) -> BoxFuture<'_, Result<Vec<String>, ResolveError>> {
        Box::pin(async move { Self::find(self.pointers.get(&ip.to_canonical()), |records| &records.ptr) })
    }
}
