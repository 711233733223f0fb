//! Decides what SPF (RFC 7208) says of a client: `check_host()` over records that mail-auth parses.
//!
//! Counts what it asks: 10 terms, 2 answers that are empty, 10 names of a host. What DNS cannot tell now is a
//! temperror and never a fail.

#[cfg(test)]
mod tests;

use crate::dns::{Family, Lookup, Unavailable};
use mail::{AuthResult, BoxFuture, Domain, ReversePath};
use mail_auth::{
    common::parse::TxtRecordParser,
    spf::{Macro, Mechanism, Qualifier, Spf, Variables},
};
use std::net::IpAddr;

/// RFC 7208 §4.6.4.
const MAX_TERMS: u32 = 10;
const MAX_VOID: u32 = 2;
const MAX_NAMES: usize = 10;

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    pub ip: IpAddr,
    pub helo: Option<&'a str>,
    /// Our own name.
    pub hostname: &'a str,
}

/// Which name was checked, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub result: AuthResult,
    pub identity: Option<Identity>,
}

/// RFC 7208 §2.3, §2.4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    MailFrom(Domain),
    Helo(Domain),
}

impl Identity {
    pub fn of(sender: &ReversePath, helo: Option<&str>) -> Option<Self> {
        let is_name = |domain: &Domain| !domain.is_address_literal() && domain.as_str().contains('.');
        match sender.mailbox() {
            Some(mailbox) => Some(mailbox.domain()).filter(is_name).map(Self::MailFrom),
            None => helo?.parse().ok().filter(is_name).map(Self::Helo),
        }
    }

    pub fn domain(&self) -> &Domain {
        match self {
            Self::MailFrom(domain) | Self::Helo(domain) => domain,
        }
    }
}

/// As long as DNS takes: the caller bounds it.
pub async fn check(dns: &dyn Lookup, client: &Client<'_>, sender: &ReversePath) -> Checked {
    let Some(identity) = Identity::of(sender, client.helo) else { return Checked::default() };
    let mut evaluation = Evaluation::new(dns, client, &identity, sender);
    let result = match evaluation.host(identity.domain().to_string()).await {
        Ok(result) => result,
        Err(Stop::Temporary) => AuthResult::TempError,
        Err(Stop::Permanent) => AuthResult::PermError,
    };
    Checked { result, identity: Some(identity) }
}

/// There is no result to go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Temporary,
    Permanent,
}

impl From<Unavailable> for Stop {
    fn from(_: Unavailable) -> Self {
        Self::Temporary
    }
}

struct Evaluation<'a> {
    dns: &'a dyn Lookup,
    ip: IpAddr,
    variables: Variables<'static>,
    terms: u32,
    void: u32,
    /// The client's names that lead back to it; asked for once.
    names: Option<Vec<String>>,
}

impl<'a> Evaluation<'a> {
    fn new(dns: &'a dyn Lookup, client: &Client<'_>, identity: &Identity, sender: &ReversePath) -> Self {
        let mut variables = Variables::new();
        variables.set_ip(&client.ip);
        let sender = match sender.mailbox() {
            Some(mailbox) => mailbox.to_string(),
            None => format!("postmaster@{}", identity.domain()),
        };
        variables.set_sender(sender.into_bytes());
        variables.set_helo_domain(client.helo.unwrap_or("unknown").as_bytes().to_vec());
        variables.set_host_domain(client.hostname.as_bytes().to_vec());
        variables.set_validated_domain(&b"unknown"[..]);
        Self { dns, ip: client.ip, variables, terms: 0, void: 0, names: None }
    }

    /// `None` is the result for a domain without a record. Boxed: a record may include others.
    fn host(&mut self, domain: String) -> BoxFuture<'_, Result<AuthResult, Stop>> {
        Box::pin(async move {
            let Some(record) = record(&self.dns.txt(&domain).await?)? else { return Ok(AuthResult::None) };
            for directive in &record.directives {
                // What an included record has set is not for this one.
                self.variables.set_domain(domain.clone().into_bytes());
                if self.matches(&directive.mechanism, &domain).await? {
                    return Ok(result(&directive.qualifier));
                }
            }
            let Some(redirect) = &record.redirect else { return Ok(AuthResult::Neutral) };
            self.variables.set_domain(domain.clone().into_bytes());
            self.term()?;
            let target = self.target(redirect, &domain).await?;
            match self.host(target).await? {
                AuthResult::None => Err(Stop::Permanent),
                result => Ok(result),
            }
        })
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4 { addr, mask } => Ok(self.is_in(IpAddr::V4(*addr), *mask, 0)),
            Mechanism::Ip6 { addr, mask } => Ok(self.is_in(IpAddr::V6(*addr), 0, *mask)),
            Mechanism::A { macro_string, ip4_mask, ip6_mask } => {
                self.term()?;
                let target = self.target(macro_string, domain).await?;
                self.is_at(&target, *ip4_mask, *ip6_mask).await
            }
            Mechanism::Mx { macro_string, ip4_mask, ip6_mask } => {
                self.term()?;
                let target = self.target(macro_string, domain).await?;
                self.is_exchanger(&target, *ip4_mask, *ip6_mask).await
            }
            Mechanism::Include { macro_string } => {
                self.term()?;
                let target = self.target(macro_string, domain).await?;
                match self.host(target).await? {
                    AuthResult::Pass => Ok(true),
                    AuthResult::None => Err(Stop::Permanent),
                    _ => Ok(false),
                }
            }
            Mechanism::Ptr { macro_string } => {
                self.term()?;
                let target = self.target(macro_string, domain).await?.to_ascii_lowercase();
                let target = target.trim_end_matches('.').to_owned();
                let under = |name: &str| name.strip_suffix(&target).is_some_and(|rest| rest.ends_with('.'));
                Ok(self.names().await?.iter().any(|name| *name == target || under(name)))
            }
            Mechanism::Exists { macro_string } => {
                self.term()?;
                let target = self.target(macro_string, domain).await?;
                // RFC 7208 §5.7: an A record, whatever the client's family.
                Ok(!self.addresses(&target, Family::V4).await?.is_empty())
            }
        }
    }

    /// A term that asks DNS.
    fn term(&mut self) -> Result<(), Stop> {
        self.terms += 1;
        if self.terms > MAX_TERMS { Err(Stop::Permanent) } else { Ok(()) }
    }

    fn answered<T>(&mut self, answer: Vec<T>) -> Result<Vec<T>, Stop> {
        self.void += u32::from(answer.is_empty());
        if self.void > MAX_VOID { Err(Stop::Permanent) } else { Ok(answer) }
    }

    async fn target(&mut self, name: &Macro, domain: &str) -> Result<String, Stop> {
        // RFC 7208 §4.6.4: the macro for the client's name is a term of its own.
        if name.needs_ptr() && self.names.is_none() {
            self.term()?;
            if let Some(name) = self.names().await?.first().cloned() {
                self.variables.set_validated_domain(name.into_bytes());
            }
        }
        Ok(name.eval(&self.variables, domain, false).into_owned())
    }

    async fn addresses(&mut self, name: &str, family: Family) -> Result<Vec<IpAddr>, Stop> {
        let found = self.dns.addresses(name, family).await?;
        self.answered(found)
    }

    async fn is_at(&mut self, name: &str, mask4: u32, mask6: u128) -> Result<bool, Stop> {
        let found = self.addresses(name, Family::from(self.ip)).await?;
        Ok(self.has_client(&found, mask4, mask6))
    }

    fn has_client(&self, addresses: &[IpAddr], mask4: u32, mask6: u128) -> bool {
        addresses.iter().any(|address| self.is_in(*address, mask4, mask6))
    }

    async fn is_exchanger(&mut self, name: &str, mask4: u32, mask6: u128) -> Result<bool, Stop> {
        let found = self.dns.mx(name).await?;
        let exchangers = self.answered(found)?;
        if exchangers.len() > MAX_NAMES {
            return Err(Stop::Permanent);
        }
        for exchanger in exchangers {
            // RFC 7208 §4.6.4 counts terms that come to nothing: hosts may well have no address of the client's family.
            let found = self.dns.addresses(&exchanger, Family::from(self.ip)).await?;
            if self.has_client(&found, mask4, mask6) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// RFC 7208 §5.5: an error of DNS is no match here, and names beyond the tenth are not looked at.
    async fn names(&mut self) -> Result<&[String], Stop> {
        if self.names.is_none() {
            let found = match self.dns.names(self.ip).await {
                Ok(found) => self.answered(found)?,
                Err(Unavailable) => Vec::new(),
            };
            let mut confirmed = Vec::new();
            for name in found.into_iter().take(MAX_NAMES) {
                let addresses = self.dns.addresses(&name, Family::from(self.ip)).await.unwrap_or_default();
                if addresses.contains(&self.ip) {
                    confirmed.push(name);
                }
            }
            self.names = Some(confirmed);
        }
        Ok(self.names.as_deref().unwrap_or_default())
    }

    fn is_in(&self, network: IpAddr, mask4: u32, mask6: u128) -> bool {
        match (self.ip, network) {
            (IpAddr::V4(ip), IpAddr::V4(network)) => ip.to_bits() & mask4 == network.to_bits() & mask4,
            (IpAddr::V6(ip), IpAddr::V6(network)) => ip.to_bits() & mask6 == network.to_bits() & mask6,
            _ => false,
        }
    }
}

/// RFC 7208 §4.5: of all texts the one that is a record; two are an error.
fn record(texts: &[Vec<u8>]) -> Result<Option<Spf>, Stop> {
    let version = |text: &&Vec<u8>| {
        let (version, rest) = text.split_at_checked(6).unwrap_or((text, &[]));
        version.eq_ignore_ascii_case(b"v=spf1") && matches!(rest.first(), None | Some(b' '))
    };
    let mut records = texts.iter().filter(version);
    match (records.next(), records.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => {
            let record = Spf::parse(only).map_err(|_| Stop::Permanent)?;
            // The parser skips what it does not understand; RFC 7208 §4.6 says that it spoils the record.
            if mechanisms(only) == record.directives.len() { Ok(Some(record)) } else { Err(Stop::Permanent) }
        }
        (Some(_), Some(_)) => Err(Stop::Permanent),
    }
}

/// How many terms of a record are no modifiers (`name=value`).
fn mechanisms(record: &[u8]) -> usize {
    let terms = record.split(|byte| *byte == b' ').skip(1).filter(|term| !term.is_empty());
    let is_modifier = |term: &&[u8]| term.iter().find(|byte| matches!(byte, b':' | b'/' | b'=')) == Some(&b'=');
    terms.filter(|term| !is_modifier(term)).count()
}

fn result(qualifier: &Qualifier) -> AuthResult {
    match qualifier {
        Qualifier::Pass => AuthResult::Pass,
        Qualifier::Fail => AuthResult::Fail,
        Qualifier::SoftFail => AuthResult::SoftFail,
        Qualifier::Neutral => AuthResult::Neutral,
    }
}
