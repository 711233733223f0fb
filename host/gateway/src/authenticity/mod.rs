//! Finds out where a mail comes from, once, for everyone who asks: the client's name, SPF, DKIM, DMARC and ARC.
//!
//! Never decides what becomes of the mail. Bounded in time: what is not known by then is a temperror.

mod author;
mod dmarc;
mod field;
mod foreign;
mod peer_name;
mod signatures;
mod spf;

#[cfg(test)]
mod fake_dns;
#[cfg(test)]
mod tests;

#[doc(hidden)]
pub use author::domain as author_domain;
pub use field::Findings;
#[doc(hidden)]
pub use foreign::remove as without_results_of;
pub use spf::Checked;

use crate::{config, dns::Dns, domains::DomainState};
use mail::{AuthResult, Authenticity, Content, Domain, ReversePath, SessionFacts};
use mail_auth::MessageAuthenticator;
use signatures::Signatures;
use std::{net::IpAddr, sync::Arc};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

/// In bytes; more is read away from the threads that serve connections.
const AT_ONCE: usize = 64 * 1024;

pub struct Checks {
    dns: Arc<Dns>,
    hostname: Domain,
    settings: config::Authenticity,
    /// Signatures are verified on so many at once; the others wait, within their time.
    cores: Arc<Semaphore>,
}

impl Checks {
    pub fn new(settings: config::Authenticity, dns: Arc<Dns>, hostname: Domain) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { dns, hostname, settings, cores: Arc::new(Semaphore::new(cores)) }
    }

    /// Does anything come of it for this domain's mail: a plugin that could ask, or the field?
    pub fn are_wanted_by(&self, domain: &DomainState) -> bool {
        let hooks = domain.chain.hooks();
        let asked = hooks.on_recipient || hooks.on_message;
        self.settings.enabled && (asked || domain.config.authentication_results == Some(true))
    }

    /// Is the client looked at before its recipients are?
    pub fn are_wanted_at_recipients_of(&self, domain: &DomainState) -> bool {
        self.settings.enabled && domain.chain.hooks().on_recipient
    }

    /// None as well where the gateway checks nothing.
    pub async fn peer_name(&self, ip: IpAddr) -> Option<String> {
        if !self.settings.enabled {
            return None;
        }
        peer_name::peer_name(self.dns.as_ref(), ip.to_canonical()).await
    }

    /// SPF alone: all that can be said before there is content.
    pub async fn envelope(&self, session: &SessionFacts, sender: &ReversePath) -> Checked {
        self.spf(session, sender, self.deadline()).await
    }

    /// What `spf` says is not asked again.
    pub async fn message(
        &self,
        session: &SessionFacts,
        sender: &ReversePath,
        spf: Option<Checked>,
        content: &Content,
    ) -> Findings {
        let deadline = self.deadline();
        let author = author::domain(content);
        let verifier = self.dns.checks_resolver().map(MessageAuthenticator);
        let spf = async {
            match spf {
                Some(known) => known,
                None => self.spf(session, sender, deadline).await,
            }
        };
        let (spf, signatures) = tokio::join!(spf, self.signatures(verifier.as_ref(), content, deadline));
        let dmarc = match (&author, &verifier) {
            (Err(_), _) => AuthResult::PermError,
            (Ok(_), None) => AuthResult::TempError,
            (Ok(author), Some(verifier)) => {
                let envelope = spf.identity.as_ref().map_or("", |identity| identity.domain().as_str());
                let check = dmarc::check(verifier, author, (envelope, spf.result), &signatures.dkim);
                timeout_at(deadline, Box::pin(check)).await.unwrap_or(AuthResult::TempError)
            }
        };
        let client = session.peer_name.clone().map(|name| (name, session.peer.ip().to_canonical()));
        Findings { spf, signatures, author, dmarc, client }
    }

    /// On arrival, whether anything is checked or not.
    pub async fn without_foreign_results(&self, content: Content) -> Content {
        let hostname = self.hostname.clone();
        if foreign::reads(&content) <= AT_ONCE {
            return foreign::remove(content, &hostname);
        }
        let received = content.clone();
        let removed = tokio::task::spawn_blocking(move || foreign::remove(received, &hostname)).await;
        removed.unwrap_or_else(|_| foreign::remove(content, &self.hostname))
    }

    /// With the Authentication-Results field on top, if the domain wants it.
    pub fn with_field(&self, content: Content, findings: &Findings, domain: &DomainState) -> Content {
        if domain.config.authentication_results == Some(false) {
            return content;
        }
        content.with_fields_on_top(field::write(self.hostname.as_str(), findings).as_bytes())
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.settings.time
    }

    async fn spf(&self, session: &SessionFacts, sender: &ReversePath, deadline: Instant) -> Checked {
        let client = spf::Client {
            ip: session.peer.ip().to_canonical(),
            helo: session.helo.as_deref(),
            hostname: self.hostname.as_str(),
        };
        let checked = timeout_at(deadline, spf::check(self.dns.as_ref(), &client, sender)).await;
        checked.unwrap_or_else(|_| Checked {
            result: AuthResult::TempError,
            identity: spf::Identity::of(sender, client.helo),
        })
    }

    async fn signatures(
        &self,
        verifier: Option<&MessageAuthenticator>,
        content: &Content,
        deadline: Instant,
    ) -> Signatures {
        if !author::is_whole(content) {
            return Signatures::default();
        }
        signatures::check(self.dns.as_ref(), verifier, content, &self.cores, deadline).await
    }
}

impl Findings {
    /// As plugins see it.
    pub fn results(&self) -> Authenticity {
        let dkim = self.signatures.dkim.iter().map(|signed| (signed.domain.to_string(), signed.result)).collect();
        Authenticity { spf: self.spf.result, dkim, dmarc: self.dmarc, arc: self.signatures.arc }
    }
}
