//! Proof of the next hop: whether whoever answers is who the domain's `[identity]` says.
//!
//! Asked after the handshake and before any word about a mail. All that the domain asks for must hold; nothing is
//! waived for a server that proves something else instead.

mod certificate;
mod dane;
mod keys;

pub use certificate::{Certificate, KeyHash};
pub use keys::{Identities, Seen, TrustError};

use crate::{
    config::Identity,
    dns::{Dns, TlsaAnswer},
    tls::ClientTls,
};
use mail::{Failure, FailureKind, NextHop};
use rustls_pki_types::{CertificateDer, ServerName};
use std::sync::OnceLock;

/// What is asked of one connection.
pub struct Proof<'a> {
    pub identity: &'a Identity,
    /// Whose mail it is.
    pub domain: &'a mail::Domain,
    /// With `trust-on-first-probe`: the key that is trusted.
    pub trusted: Option<KeyHash>,
    /// A probe: where no key is trusted yet, any will do for it.
    pub introducing: bool,
    /// What was shown, for whoever asked.
    pub shown: OnceLock<Certificate>,
}

impl Proof<'_> {
    /// Whether it says who is there, and not only that it is the same as before (RFC 8689 §4.2.1).
    pub fn names_the_server(&self) -> bool {
        let Identity { pins, name, dane, .. } = self.identity;
        !pins.is_empty() || name.is_some() || *dane
    }

    /// What the certificate is asked for by name: some servers have many.
    pub fn server_name(&self) -> Option<&str> {
        self.identity.name.as_ref().map(mail::Domain::as_str)
    }

    /// The key that is shown to it may be learned.
    pub fn is_first_sight(&self) -> bool {
        self.introducing && self.identity.trust_on_first_probe && self.trusted.is_none()
    }

    /// A failure of the kind Identity where a proof does not hold, of another where that cannot be found out now.
    pub async fn check(
        &self,
        chain: &[CertificateDer<'static>],
        hop: &NextHop,
        tls: &ClientTls,
        dns: &Dns,
    ) -> Result<(), Failure> {
        let wrong = |detail: String| Failure::new(FailureKind::Identity, Some(hop), format!("{hop}: {detail}"));
        let own = chain.first().ok_or_else(|| wrong("it has shown no certificate".to_owned()))?;
        let certificate =
            Certificate::read(own).map_err(|error| wrong(format!("its certificate is no good: {error}")))?;
        let certificate = self.shown.get_or_init(|| certificate);
        self.check_pins(certificate).map_err(wrong)?;
        self.check_trust(certificate).map_err(wrong)?;
        if self.identity.trust_on_first_probe && self.trusted.is_none() && !self.introducing {
            // Nobody has been taken for somebody else where nobody is known yet: a probe comes first.
            return Err(Failure::new(FailureKind::Tls, Some(hop), format!("{hop}: no probe has seen its key yet")));
        }
        if let Some(name) = &self.identity.name {
            check_name(name.as_str(), chain, tls).map_err(wrong)?;
        }
        if self.identity.dane { self.check_dane(chain, hop, dns).await } else { Ok(()) }
    }

    /// Why whoever is there without TLS proves nothing.
    pub fn without_tls(&self, failure: &Failure) -> Failure {
        let hop = failure.next_hop.as_ref();
        let detail = format!("without TLS it cannot prove who it is: {failure}");
        Failure { reply: None, ..Failure::new(FailureKind::Identity, hop, detail) }
    }

    fn check_pins(&self, shown: &Certificate) -> Result<(), String> {
        let pins = &self.identity.pins;
        if pins.is_empty() || pins.contains(&shown.key.0) {
            return Ok(());
        }
        let Certificate { key, subject, issuer, .. } = shown;
        let all: Vec<String> = pins.iter().map(|pin| KeyHash(*pin).to_string()).chain([key.to_string()]).collect();
        Err(format!(
            "its key is {key} (subject {subject}, issuer {issuer}), which `pin` does not name; if it is its new key, write in {}.toml under [identity]: pin = [{}]",
            self.domain,
            all.iter().map(|pin| format!("\"{pin}\"")).collect::<Vec<_>>().join(", ")
        ))
    }

    fn check_trust(&self, shown: &Certificate) -> Result<(), String> {
        if !self.identity.trust_on_first_probe {
            return Ok(());
        }
        let Certificate { key, subject, issuer, .. } = shown;
        match self.trusted {
            Some(trusted) if trusted == *key => Ok(()),
            Some(trusted) => Err(format!(
                "its key is {key} (subject {subject}, issuer {issuer}), and the one that is trusted is {trusted}; if it is its new key: waypost domain trust {}",
                self.domain
            )),
            None => Ok(()),
        }
    }

    async fn check_dane(&self, chain: &[CertificateDer<'static>], hop: &NextHop, dns: &Dns) -> Result<(), Failure> {
        let records_of = format!("_{}._tcp.{}", hop.port, hop.host);
        let failed = |kind, detail: String| Failure::new(kind, Some(hop), format!("{hop}: {detail}"));
        let wrong = |detail| failed(FailureKind::Identity, detail);
        let host = server_name(&hop.host).map_err(wrong)?;
        let answer = dns.tlsa(&hop.host, hop.port).await.map_err(|error| {
            failed(FailureKind::Dns, format!("the TLSA records of {records_of} cannot be found out now: {error}"))
        })?;
        match answer {
            TlsaAnswer::Secure(records) => dane::holds(&records, chain, &host).map_err(wrong),
            TlsaAnswer::Missing => {
                Err(wrong(format!("there is no TLSA record of {records_of}, and `dane` asks for one")))
            }
            TlsaAnswer::Insecure => Err(wrong(format!(
                "the TLSA record of {records_of} is not signed, and `dane` believes none that DNSSEC does not vouch for"
            ))),
            TlsaAnswer::Bogus => Err(wrong(format!("the DNSSEC signatures for {records_of} are wrong"))),
        }
    }
}

fn check_name(name: &str, chain: &[CertificateDer<'static>], tls: &ClientTls) -> Result<(), String> {
    let expected = server_name(name)?;
    tls.vouch(chain, &expected).map_err(|error| format!("its certificate is not good for {name}: {error}"))
}

pub fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned())
        .map_err(|error| format!("{name} cannot be the name of a certificate: {error}"))
}
