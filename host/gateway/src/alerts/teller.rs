//! Turns what was raised into alerts: puts each into the outbox, and keeps what was told over a restart.
//!
//! One task does it, so that whoever raises never waits.

use super::{
    AlertParts, SecretError,
    conditions::{Begun, Conditions, Key, Turn},
    notice::{Body, Notice, What, short},
    outbox::{Fact, News, Outbox},
    secret,
    send::Sender,
    webhook::Webhook,
};
use crate::{
    clock::Clock,
    config::{AlertTarget, Alerting, DomainConfig},
    domains::Domains,
};
use mail::{Domain, NextHop, Timestamp};
use queue::Queue;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, warn};

/// What was told, among the queue's facts.
const PREFIX: &str = "alert/told/";
/// How often mail near its end is looked for.
const LOOK: Duration = Duration::from_secs(60);

pub struct Teller {
    pub(super) clock: Clock,
    pub(super) changed: Notify,
    pub(super) outbox: Outbox,
    pub(super) queue: Queue,
    pub(super) domains: Arc<Domains>,
    pub(super) hostname: String,
    alerting: RwLock<Arc<Alerting>>,
    conditions: Mutex<Conditions>,
    pub(super) sender: Sender,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// As kept.
#[derive(Serialize, Deserialize)]
struct Told {
    #[serde(flatten)]
    key: Key,
    since: Timestamp,
}

impl Teller {
    pub fn start(parts: AlertParts) -> Result<Arc<Self>, SecretError> {
        let AlertParts { alerting, domains, queue, clock, hostname, tls } = parts;
        let key = secret::load_or_make(&alerting.secret_file)?;
        let sender = Sender { clock: clock.clone(), webhook: Arc::new(Webhook { key, tls }) };
        let shutdown = CancellationToken::new();
        let outbox = Outbox::open(queue.clone(), sender.clone(), shutdown.clone());
        let teller = Arc::new(Self {
            clock,
            changed: Notify::new(),
            outbox,
            conditions: Mutex::new(told_before(&queue)),
            queue,
            domains,
            hostname,
            alerting: RwLock::new(Arc::new(alerting)),
            sender,
            tasks: TaskTracker::new(),
            shutdown,
        });
        teller.drop_unconfigured();
        teller.tasks.spawn(teller.clone().run());
        Ok(teller)
    }

    pub async fn stop(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.outbox.closed().await;
    }

    pub fn configure(&self, alerting: &Alerting) {
        *self.alerting.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(alerting.clone());
        self.drop_unconfigured();
    }

    pub fn away(&self) -> Vec<(Domain, NextHop)> {
        let conditions = self.conditions();
        let away = conditions.all_told().filter(|(key, _)| matches!(key.what, What::Offline | What::Identity));
        away.filter_map(|(key, _)| Some((key.domain.clone(), key.next_hop.clone()?))).collect()
    }

    pub(super) fn conditions(&self) -> MutexGuard<'_, Conditions> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn alerting(&self) -> Arc<Alerting> {
        self.alerting.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn targets(&self, domain: &DomainConfig) -> Vec<AlertTarget> {
        let mut targets = domain.offline.alert.clone();
        let everybody = self.alerting();
        targets.extend(everybody.to.iter().filter(|target| !domain.offline.alert.contains(target)).cloned());
        targets
    }

    async fn run(self: Arc<Self>) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let next = self.conditions().next_due();
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = self.changed.notified() => {}
                () = due => {}
                _ = look.tick() => self.look().await,
            }
            let this = self.clone();
            // Each alert may read a row.
            let told = tokio::task::spawn_blocking(move || this.tell()).await;
            let Ok((away, notices)) = told.inspect_err(|error| error!(%error, "alerts could not be told")) else {
                continue;
            };
            self.outbox.send(notices).await;
            if away {
                self.look().await;
            }
        }
    }

    /// What is to be sent. True when a next hop is newly told to be in trouble: its mail may be near its end.
    fn tell(&self) -> (bool, Vec<Notice>) {
        let turns = self.conditions().take_due(Instant::now());
        let mut waiting: HashMap<NextHop, HashMap<Domain, usize>> = HashMap::new();
        let (mut trouble, mut notices) = (false, Vec::new());
        for turn in turns {
            match turn {
                Turn::Ended(key, since) => match key.what.ends() {
                    Some(event) => notices.extend(self.keep(&key, event, since, None, None)),
                    None => self.forget(&key),
                },
                Turn::Begun(key, begun) => {
                    trouble |= key.what != What::Expiring;
                    let hop = key.next_hop.as_ref().filter(|_| begun.expiring.is_none());
                    let count = hop.map(|hop| {
                        let counts = waiting.entry(hop.clone()).or_insert_with(|| self.queue.waiting(hop));
                        counts.get(&key.domain).copied().unwrap_or_default()
                    });
                    notices.extend(self.keep(&key, key.what.begins(), begun.since, count, Some(&begun)));
                }
            }
        }
        (trouble, notices)
    }

    /// The alert and the note that it was told are one change: a crash leaves both or none.
    fn keep(
        &self,
        key: &Key,
        event: &'static str,
        since: Timestamp,
        count: Option<usize>,
        begun: Option<&Begun>,
    ) -> Vec<Notice> {
        let Some(domain) = self.domains.get(&key.domain) else { return Vec::new() };
        let reason = begun.and_then(|begun| begun.reason.as_deref()).map(short);
        let next_hop = key.next_hop.as_ref();
        let expiring = begun.and_then(|begun| begun.expiring);
        warn!(domain = %key.domain, event, next_hop = next_hop.map(ToString::to_string), reason);
        let targets = self.targets(&domain.config);
        let told = told(key, begun.map(|begun| begun.since));
        self.outbox.keep(News { domain: &key.domain, event, targets }, told, |id, at| {
            let body = Body {
                id: id.to_string(),
                event,
                at: at.to_rfc3339(),
                gateway: &self.hostname,
                domain: &key.domain,
                next_hop,
                reason,
                since: expiring.is_none().then(|| since.to_rfc3339()),
                waiting: expiring.map(|(recipients, _)| recipients).or(count),
                first_expiry: expiring.map(|(_, first)| first.to_rfc3339()),
            };
            body.json()
        })
    }

    pub(super) fn forget(&self, key: &Key) {
        let (name, gone) = told(key, None);
        if let Err(error) = self.queue.set_fact(&name, gone.as_deref()) {
            error!(domain = %key.domain, %error, "what was told before stays on disk: after a restart it is not told again");
        }
    }

    /// What nobody can be told of any more, or about what is not configured any more.
    fn drop_unconfigured(&self) {
        self.outbox.retain(|domain, target| {
            self.domains.get(domain).is_some_and(|domain| self.targets(&domain.config).contains(target))
        });
        let forgotten = self.conditions().retain(|key| {
            let known = self.domains.get(&key.domain);
            known.is_some_and(|domain| key.next_hop.as_ref().is_none_or(|hop| domain.reachable(hop).is_some()))
        });
        forgotten.iter().for_each(|key| self.forget(key));
    }
}

fn told_before(queue: &Queue) -> Conditions {
    let mut conditions = Conditions::default();
    let kept = queue.facts(PREFIX).unwrap_or_else(|error| {
        error!(%error, "what was told before cannot be read: it may be told again");
        Vec::new()
    });
    for (name, bytes) in kept {
        match serde_json::from_slice::<Told>(&bytes) {
            Ok(Told { key, since }) => conditions.told(key, since),
            Err(error) => warn!(name, %error, "what was told before cannot be read: it may be told again"),
        }
    }
    conditions
}

/// The note that somebody was told of it; without a time, that nobody is any more.
fn told(key: &Key, since: Option<Timestamp>) -> Fact {
    // Strings and numbers: serde_json cannot fail on these.
    let text = since.map(|since| serde_json::to_vec(&Told { key: key.clone(), since }).unwrap_or_default());
    (fact(key), text)
}

/// Names of any length have one place of bounded length.
fn fact(key: &Key) -> String {
    let hop = key.next_hop.as_ref().map(ToString::to_string).unwrap_or_default();
    let digest = Sha256::digest(format!("{}\n{}\n{hop}", key.what.begins(), key.domain));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{hex}")
}
