//! Probes without a running gateway: the same steps, with the files' configuration and no plugins.

use super::{Line, MessageError, Options, Prober, ProberParts, Sent, message};
use crate::{
    alerts::Alerts,
    check_in::Leases,
    clock::Clock,
    config::{Config, ConfigError, ConfigErrors},
    delivery::Connector,
    dns::{AnchorError, Dns},
    domains::{DomainState, Domains},
    identity::Identities,
    tls::{ClientTls, TlsError},
};
use mail::{Domain, Failure, NoPlugins, Outcome};
use queue::Queue;
use std::sync::Arc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub struct Alone {
    domain: Arc<DomainState>,
    prober: Arc<Prober>,
    connector: Arc<Connector>,
    queue: Queue,
    clock: Clock,
}

#[derive(Debug, thiserror::Error)]
pub enum AloneError {
    #[error(transparent)]
    Configuration(#[from] ConfigErrors),
    #[error("there is no file for {domain} in {dir}: waypost domain add {domain} --next-hop HOST:PORT")]
    NoSuchDomain { domain: Domain, dir: String },
    #[error("{0} has no next hop: its mail is collected on demand")]
    OnDemand(Domain),
    #[error("hostname: {0}")]
    Hostname(mail::AddressError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("[dns]: {0}")]
    Dns(#[from] AnchorError),
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl Alone {
    /// `queue` remembers what has passed; nobody else may have it open.
    pub async fn new(config: &Config, name: &Domain, queue: Queue, clock: Clock) -> Result<Self, AloneError> {
        let wrong = |errors: Vec<ConfigError>| ConfigErrors::new(&config.file, errors);
        let domains = Arc::new(Domains::load(config, &NoPlugins).await.map_err(wrong)?);
        let domain = domains.get(name).ok_or_else(|| AloneError::NoSuchDomain {
            domain: name.clone(),
            dir: config.domain_dir.display().to_string(),
        })?;
        let hostname: Domain = config.hostname.parse().map_err(AloneError::Hostname)?;
        let own = config.listeners.iter().map(|listener| listener.address).collect();
        let connector = Arc::new(Connector {
            hostname,
            tls: Arc::new(ClientTls::with_authorities(config.authorities.as_deref())?),
            dns: Arc::new(Dns::new(config.dns.clone())?),
            identities: Arc::new(Identities::new(queue.clone(), clock.clone())),
            alerts: Alerts::default(),
            timeouts: config.timeouts,
            own,
            leases: Arc::new(Leases::new(queue.clone(), clock.clone())),
        });
        let prober = Prober::new(ProberParts {
            queue: queue.clone(),
            domains,
            connector: connector.clone(),
            clock: clock.clone(),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            max_message_size: config.max_message_size,
        });
        Ok(Self { domain, prober, connector, queue, clock })
    }

    pub async fn probe(&self, options: &Options, told: &(dyn Fn(Line) + Send + Sync)) {
        self.prober.probe(&self.domain, options, told).await;
    }

    /// Straight to the first next hop that lets us in; what it said is in the outcome.
    pub async fn message(&self, to: &str) -> Result<(Sent, Outcome), AloneError> {
        let config = &self.domain.config;
        if config.on_demand {
            return Err(AloneError::OnDemand(config.name.clone()));
        }
        let (mail, sent) =
            message::compose(&self.connector.hostname, &config.name, self.domain.proof_key(), to, self.clock.date())?;
        message::remember(&self.queue, &config.name, &sent)?;
        let mut last = Failure::new(mail::FailureKind::Other, None, "no next hop is configured");
        for hop in &config.next_hops {
            let connected = self.connector.connect(hop, hop.tls.unwrap_or(config.tls), Some(&self.domain)).await;
            match connected {
                Ok(connection) => {
                    let (attempt, kept) =
                        connection.deliver(&mail.envelope, &mail.envelope.recipients, &mail.content).await;
                    if let Some(connection) = kept {
                        connection.quit().await;
                    }
                    let outcome = attempt.outcomes.into_iter().next();
                    return Ok((sent, outcome.unwrap_or(Outcome::Deferred(last))));
                }
                Err(failure) => last = failure,
            }
        }
        Ok((sent, Outcome::Deferred(last)))
    }

    /// Somebody has read the code: the way works.
    pub fn confirm(&self, code: &str) -> Result<Sent, AloneError> {
        let sent = message::confirm(&self.queue, &self.domain.config.name, &self.domain.proof_key(), code)?;
        self.prober.passed(&self.domain);
        Ok(sent)
    }

    /// Writes what has been found out.
    pub async fn close(self) {
        self.queue.close().await;
    }
}
