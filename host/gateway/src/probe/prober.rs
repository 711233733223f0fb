//! A domain is served once its next hop has been seen to work, and to take the domain's mail.
//!
//! Runs by itself, with back-off, for each domain that has not passed; a pass is remembered. A probe that a person
//! asks for counts as one.

use super::{
    Depth, Probe, Report, Step, Verdict,
    step::{Line, Summary},
};
use crate::{
    clock::Clock,
    delivery::{Connector, Patience},
    domains::{DomainState, Domains},
};
use mail::{Domain, NextHop};
use queue::Queue;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(60);
/// Probes at a time, of those that run by themselves.
const AT_ONCE: usize = 50;
/// Of those that people ask for.
const ASKED_AT_ONCE: usize = 20;

pub struct Prober {
    parts: ProberParts,
    slots: Semaphore,
    asked: Arc<Semaphore>,
    known: Mutex<HashMap<Domain, Known>>,
}

pub struct ProberParts {
    pub queue: Queue,
    pub domains: Arc<Domains>,
    pub connector: Arc<Connector>,
    pub clock: Clock,
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
    pub max_message_size: u64,
}

#[derive(Default)]
struct Known {
    running: Option<Running>,
    last: Option<Arc<Report>>,
}

struct Running {
    proof_key: String,
    stop: CancellationToken,
    hurry: Arc<Notify>,
}

/// What a person asks for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// In place of the domain's own; what passes then proves nothing of the domain.
    pub next_hop: Option<NextHop>,
    /// Of each step.
    pub timeout: Option<Duration>,
}

impl Options {
    fn patience(&self, usual: Patience) -> Patience {
        self.timeout.map_or(usual, |limit| Patience { connect: limit, step: limit })
    }
}

impl Prober {
    pub fn new(parts: ProberParts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            slots: Semaphore::new(AT_ONCE),
            asked: Arc::new(Semaphore::new(ASKED_AT_ONCE)),
            known: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Domain, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a probe for every domain that needs one, and ends those of domains that have changed.
    pub fn start(self: &Arc<Self>) {
        let domains = self.parts.domains.all();
        let mut known = self.lock();
        known.retain(|name, known| {
            let stays = domains.contains_key(name);
            if let Some(running) = known.running.take_if(|_| !stays) {
                running.stop.cancel();
            }
            stays
        });
        for domain in domains.values().filter(|domain| !domain.is_proven()) {
            let proof_key = domain.proof_key();
            if matches!(self.parts.queue.fact(&proof_key), Ok(Some(_))) {
                domain.set_proven();
                continue;
            }
            let entry = known.entry(domain.config.name.clone()).or_default();
            if entry.running.as_ref().is_some_and(|running| running.proof_key == proof_key) {
                continue;
            }
            let (stop, hurry) = (self.parts.shutdown.child_token(), Arc::new(Notify::new()));
            let running = Running { proof_key: proof_key.clone(), stop: stop.clone(), hurry: hurry.clone() };
            if let Some(old) = entry.running.replace(running) {
                old.stop.cancel();
            }
            let (this, name) = (self.clone(), domain.config.name.clone());
            self.parts.tasks.spawn(async move {
                tokio::select! {
                    () = this.until_passed(&name, &proof_key, &hurry) => this.ended(&name, &proof_key),
                    () = stop.cancelled() => {}
                }
            });
        }
    }

    /// The next hop may work now: its probe need not wait any longer.
    pub fn hurry(&self, domain: &Domain) {
        if let Some(running) = self.lock().get(domain).and_then(|known| known.running.as_ref()) {
            running.hurry.notify_one();
        }
    }

    pub fn last(&self, domain: &Domain) -> Option<Arc<Report>> {
        self.lock().get(domain).and_then(|known| known.last.clone())
    }

    /// A probe that a person asks for, until the gateway stops; false where too many are under way.
    pub fn spawn(&self, probe: impl Future<Output = ()> + Send + 'static) -> bool {
        let Ok(slot) = self.asked.clone().try_acquire_owned() else { return false };
        let shutdown = self.parts.shutdown.clone();
        self.parts.tasks.spawn(async move {
            tokio::select! {
                () = probe => {}
                () = shutdown.cancelled() => {}
            }
            drop(slot);
        });
        true
    }

    /// As a person asks; `told` hears each line at once, the summary last.
    pub async fn probe(&self, domain: &DomainState, options: &Options, told: &(dyn Fn(Line) + Send + Sync)) {
        let own = options.next_hop.is_none();
        let hops = options.next_hop.as_ref().map_or(&domain.config.next_hops[..], std::slice::from_ref);
        let probe = self.with(domain, Depth::Everything, options.patience(self.parts.connector.patience()));
        let report = probe.run(hops, &|step| told(Line::Step(step))).await;
        if own {
            self.note(domain, report.clone());
        }
        if own && report.passed {
            self.passed(domain);
        }
        let Report { domain: name, at, passed, .. } = report;
        told(Line::Summary(Summary { domain: name, at, passed, proven: domain.is_proven() }));
    }

    /// It is known of this domain, from now on, that its next hop takes its mail.
    pub fn passed(&self, domain: &DomainState) {
        if !domain.is_proven() {
            info!(domain = %domain.config.name, probe = "passed");
        }
        let proof_key = domain.proof_key();
        if let Err(error) = self.parts.queue.set_fact(&proof_key, Some(b"passed")) {
            warn!(domain = %domain.config.name, %error, "a passed probe could not be written: it will be made again after a restart");
        }
        domain.set_proven();
        // A reload may have put another value in its place meanwhile.
        if let Some(current) = self.parts.domains.get(&domain.config.name).filter(|now| now.proof_key() == proof_key) {
            current.set_proven();
        }
        if let Some(running) = self.lock().get_mut(&domain.config.name).and_then(|known| known.running.take()) {
            running.stop.cancel();
        }
    }

    fn with<'a>(&'a self, domain: &'a DomainState, depth: Depth, patience: Patience) -> Probe<'a> {
        let ProberParts { connector, clock, max_message_size, .. } = &self.parts;
        Probe { connector, domain, clock, depth, patience, max_message_size: *max_message_size }
    }

    fn note(&self, domain: &DomainState, report: Report) {
        if self.parts.domains.get(&domain.config.name).is_some() {
            self.lock().entry(domain.config.name.clone()).or_default().last = Some(Arc::new(report));
        }
    }

    fn ended(&self, name: &Domain, proof_key: &str) {
        if let Some(known) = self.lock().get_mut(name) {
            known.running.take_if(|running| running.proof_key == proof_key);
        }
    }

    async fn until_passed(&self, name: &Domain, proof_key: &str, hurry: &Notify) {
        let mut wait = FIRST_WAIT;
        loop {
            // As it is now: other keys of its file may have changed.
            let Some(domain) = self.parts.domains.get(name).filter(|domain| domain.proof_key() == proof_key) else {
                return;
            };
            if domain.is_proven() {
                return;
            }
            let report = {
                let Ok(_slot) = self.slots.acquire().await else { return };
                let probe = self.with(&domain, Depth::Postmaster, self.parts.connector.patience());
                probe.run(&domain.config.next_hops, &|_| {}).await
            };
            let failed: Vec<String> =
                report.steps.iter().filter(|step| step.verdict == Verdict::Failed).map(why).collect();
            let passed = report.passed;
            self.note(&domain, report);
            if passed {
                return self.passed(&domain);
            }
            warn!(domain = %name, probe = "failed", reason = failed.join("; "),
                "mail for it gets 451 until its next hop takes it; `waypost probe` tells more");
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(LAST_WAIT),
                () = hurry.notified() => wait = FIRST_WAIT,
            }
        }
    }
}

fn why(Step { next_hop, told, .. }: &Step) -> String {
    if told.contains(next_hop.as_str()) { told.clone() } else { format!("{next_hop}: {told}") }
}
