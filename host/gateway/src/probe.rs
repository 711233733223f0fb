//! A domain is served once its next hop has been seen to work: connect, greeting, EHLO, TLS as asked.
//!
//! Runs by itself, with back-off, for each domain that has not passed; a pass is remembered.

use crate::{
    delivery::Connector,
    domains::{DomainState, Domains},
};
use mail::Failure;
use queue::Queue;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(60);

pub struct Prober {
    pub queue: Queue,
    pub connector: Arc<Connector>,
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
    pub generation: Mutex<CancellationToken>,
}

impl Prober {
    /// Starts a probe for every domain that needs one.
    pub fn start(self: &Arc<Self>, domains: &Domains) {
        let generation = self.next_generation();
        for domain in domains.all().values().filter(|domain| !domain.is_proven()) {
            if matches!(self.queue.fact(&domain.proof_key()), Ok(Some(_))) {
                domain.set_proven();
            } else {
                let (this, domain, generation) = (self.clone(), domain.clone(), generation.clone());
                self.tasks.spawn(async move {
                    tokio::select! {
                        () = this.until_passed(domain) => {}
                        () = generation.cancelled() => {}
                    }
                });
            }
        }
    }

    /// The probes of domains as they were before a reload end.
    fn next_generation(&self) -> CancellationToken {
        let next = self.shutdown.child_token();
        let mut current = self.generation.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, next.clone()).cancel();
        next
    }

    async fn until_passed(&self, domain: Arc<DomainState>) {
        let mut wait = FIRST_WAIT;
        loop {
            match self.probe(&domain).await {
                Ok(()) => {
                    info!(domain = %domain.config.name, probe = "passed");
                    domain.set_proven();
                    if let Err(error) = self.queue.set_fact(&domain.proof_key(), Some(b"passed")) {
                        warn!(domain = %domain.config.name, %error, "a passed probe could not be written: it will be made again after a restart");
                    }
                    return;
                }
                Err(failure) => warn!(domain = %domain.config.name, probe = "failed", reason = %failure,
                    "mail for it gets 451 until its next hop answers; check next-hop and tls in its file"),
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(LAST_WAIT),
                () = self.shutdown.cancelled() => return,
            }
        }
    }

    /// One of the list is enough: mail goes there.
    async fn probe(&self, domain: &DomainState) -> Result<(), Failure> {
        let mut last = Err(Failure::new(mail::FailureKind::Other, None, "no next hop is configured"));
        for hop in &domain.config.next_hops {
            match self.connector.connect(hop, hop.tls.unwrap_or(domain.config.tls), Some(domain)).await {
                Ok(connection) => {
                    connection.quit().await;
                    return Ok(());
                }
                Err(failure) => last = Err(failure),
            }
        }
        last
    }
}
