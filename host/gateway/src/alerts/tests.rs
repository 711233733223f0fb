//! Promises about who hears what and what is kept, with a queue in memory and commands as targets.

use super::{Alert, AlertParts, Alerts};
use crate::{
    clock::Clock,
    config::{AlertTarget, Config, DomainConfig},
    domains::Domains,
};
use mail::{Domain, Failure, FailureKind, NextHop, NoPlugins};
use queue::{Options, Queue};
use std::{
    fs,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

fn hop() -> NextHop {
    "mx.a.example:25".parse().unwrap()
}

struct Rig {
    home: tempfile::TempDir,
    queue: Queue,
    domains: Arc<Domains>,
    config: Config,
}

impl Rig {
    /// One domain, whose alerts are written to a file, one line for each.
    async fn new(after: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        for dir in ["domains", "plugins"] {
            fs::create_dir(home.path().join(dir)).unwrap();
        }
        let script = format!("{{ cat; echo; }} >>{}", home.path().join("heard").display());
        let domain = format!(
            "next-hop = 'mx.a.example:25'\n[offline]\nalert = {{ command = ['/bin/sh', '-c', '{script}'] }}\nalert-after = '{after}'"
        );
        fs::write(home.path().join("domains/a.example.toml"), domain).unwrap();
        fs::write(home.path().join("waypost.toml"), "hostname = 'gw.example'").unwrap();
        let config = Config::load(&home.path().join("waypost.toml")).unwrap();
        let domains = Arc::new(Domains::load(&config, &NoPlugins).await.unwrap());
        let queue = Queue::open_in_memory(Options::default(), Clock::system().now()).unwrap();
        Self { home, queue, domains, config }
    }

    fn start(&self) -> Alerts {
        let tls = crate::ClientTls::new().unwrap().config(mail::TlsMode::Verified);
        Alerts::start(AlertParts {
            alerting: self.config.alerts.clone(),
            domains: self.domains.clone(),
            queue: self.queue.clone(),
            clock: Clock::system(),
            hostname: "gw.example".to_owned(),
            tls,
        })
        .unwrap()
    }

    fn domain(&self) -> Arc<DomainConfig> {
        self.domains.get(&"a.example".parse().unwrap()).unwrap().config.clone()
    }

    /// The events so far, in order.
    fn heard(&self) -> Vec<String> {
        let text = fs::read_to_string(self.home.path().join("heard")).unwrap_or_default();
        let event =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].as_str().map(str::to_owned);
        text.lines().filter_map(event).collect()
    }

    /// Until nothing is outstanding, and so many were accepted since the start.
    async fn sent(&self, alerts: &Alerts, count: u64) {
        eventually("alerts to be accepted", || async {
            let totals = alerts.totals();
            totals.outstanding == 0 && totals.sent == count
        })
        .await;
    }
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, Some(&hop()), "connection refused")
}
fn offline(kind: FailureKind) -> Alert {
    Alert::Offline { next_hop: hop(), failure: failure(kind), since: Clock::system().now() }
}
fn online() -> Alert {
    Alert::Online { next_hop: hop(), away: Duration::from_secs(1) }
}

#[tokio::test]
async fn each_condition_is_told_once_until_its_opposite_and_over_a_restart() {
    let rig = Rig::new("0 s").await;
    let alerts = rig.start();
    for _ in 0..3 {
        alerts.raise(&rig.domain(), offline(FailureKind::Connect));
        alerts.raise(&rig.domain(), Alert::Refusing { next_hop: hop(), failure: failure(FailureKind::PermFail) });
    }
    rig.sent(&alerts, 2).await;
    alerts.stop().await;
    let alerts = rig.start();
    assert_eq!(alerts.away(), [("a.example".parse().unwrap(), hop())]);
    alerts.raise(&rig.domain(), offline(FailureKind::Connect));
    alerts.raise(&rig.domain(), online());
    alerts.raise(&rig.domain(), online());
    rig.sent(&alerts, 1).await;
    assert_eq!(alerts.away(), []);
    assert!(alerts.is_refusing(&hop()));
    alerts.raise(&rig.domain(), Alert::Accepting { next_hop: hop() });
    assert!(!alerts.is_refusing(&hop()));
    rig.sent(&alerts, 2).await;
    let mut heard = rig.heard();
    heard[..2].sort();
    assert_eq!(heard, ["next-hop.offline", "next-hop.refusing", "next-hop.online", "next-hop.accepting"]);
    alerts.stop().await;
}

#[tokio::test]
async fn who_could_not_prove_who_they_are_is_told_of_at_once_and_not_as_away() {
    let rig = Rig::new("1 d").await;
    let alerts = rig.start();
    alerts.raise(&rig.domain(), offline(FailureKind::Identity));
    rig.sent(&alerts, 1).await;
    alerts.raise(&rig.domain(), offline(FailureKind::Connect));
    alerts.raise(&rig.domain(), online());
    rig.sent(&alerts, 2).await;
    assert_eq!(rig.heard(), ["next-hop.identity", "next-hop.trusted"]);
    alerts.stop().await;
}

#[tokio::test]
async fn what_the_file_names_no_more_is_forgotten_and_nobody_is_told_its_end() {
    let rig = Rig::new("0 s").await;
    let alerts = rig.start();
    alerts.raise(&rig.domain(), offline(FailureKind::Connect));
    rig.sent(&alerts, 1).await;
    let domain = rig.domain();
    rig.domains.swap(crate::domains::Table::new());
    alerts.configure(&rig.config.alerts);
    assert_eq!(alerts.away(), []);
    alerts.raise(&domain, online());
    alerts.stop().await;
    assert_eq!(rig.heard(), ["next-hop.offline"]);
    assert_eq!(rig.queue.facts("alert/").unwrap(), []);
}

#[tokio::test]
async fn mail_near_its_end_is_told_again_only_after_the_outage_though_attempts_have_it_in_hand() {
    let rig = Rig::new("0 s").await;
    let alerts = rig.start();
    let Some(teller) = &alerts.0 else { panic!("a teller") };
    let first = Clock::system().now();
    let expiring = || {
        let alert = Alert::Expiring { next_hop: Some(hop()), recipients: 1, first };
        alerts.raise(&rig.domain(), alert);
    };
    alerts.raise(&rig.domain(), offline(FailureKind::Connect));
    rig.sent(&alerts, 1).await;
    expiring();
    rig.sent(&alerts, 2).await;
    // Nothing waits in the queue at this moment.
    teller.look().await;
    expiring();
    alerts.raise(&rig.domain(), online());
    rig.sent(&alerts, 3).await;
    expiring();
    rig.sent(&alerts, 4).await;
    teller.look().await;
    assert_eq!(rig.queue.facts("alert/").unwrap(), [], "the outage is over, and so is the mail");
    assert_eq!(rig.heard(), ["next-hop.offline", "mail.expiring", "next-hop.online", "mail.expiring"]);
    alerts.stop().await;
}

#[tokio::test]
async fn of_too_many_the_oldest_are_given_up() {
    let rig = Rig::new("0 s").await;
    let alerts = rig.start();
    let Some(teller) = &alerts.0 else { panic!("a teller") };
    let domain: Domain = "a.example".parse().unwrap();
    // Never accepted.
    let target = AlertTarget::Command(vec!["/bin/false".to_owned()]);
    let body = "x".repeat(60_000);
    let keep = || {
        let news = super::outbox::News { domain: &domain, event: "test", targets: vec![target.clone()] };
        teller.outbox.keep(news, ("beside".to_owned(), None), |_, _| body.clone()).remove(0)
    };
    let notices: Vec<_> = (0..200).map(|_| keep()).collect();
    let ids: Vec<String> = notices.iter().map(|notice| notice.id.to_string()).collect();
    teller.outbox.send(notices).await;
    let kept: Vec<String> = alerts.outstanding(usize::MAX).into_iter().map(|outstanding| outstanding.id).collect();
    assert!(kept.len() < 150, "{}", kept.len());
    assert_eq!(kept, ids[ids.len() - kept.len()..]);
    assert_eq!(alerts.totals().dropped, (ids.len() - kept.len()) as u64);
    assert_eq!(rig.queue.facts("alert/out/").unwrap().len(), kept.len());
    alerts.stop().await;
}
