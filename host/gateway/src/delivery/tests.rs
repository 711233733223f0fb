//! Promises about who waits for which next hop, with a queue in memory and next hops that refuse connections.

use super::{
    connector::Connector,
    deliver::{Deliverer, DelivererParts},
    job::Notes,
    lane::LaneKey,
};
use crate::{
    alerts::Alerts,
    check_in::Leases,
    clock::Clock,
    config::{Accept, Config, DomainConfig, Offline},
    dns::Dns,
    domains::{DomainState, Domains, Table},
    identity::Identities,
    memory::Budget,
    reload::Inputs,
    stories::Stories,
    tls::ClientTls,
};
use mail::{
    Attributes, Binding, BoxFuture, CallRecord, Chain, ChainSource, Content, Domain, Envelope, Event, Failure,
    FailureKind, HookSet, Isolation, LoadError, MailId, Mode, NextHop, Recipient, TlsMode,
};
use queue::{Claim, Filter, InitialState, NewMail, Options, Queue, Settled, State};
use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Says no once it may answer, and writes down what it is asked and told.
struct Plugin {
    hooks: HookSet,
    heard: Mutex<Vec<String>>,
    may_answer: Semaphore,
}

impl Chain for Plugin {
    fn hooks(&self) -> HookSet {
        self.hooks
    }
    fn on_online<'a>(&'a self, held: u64, _: &'a mut Vec<CallRecord>) -> BoxFuture<'a, bool> {
        self.heard.lock().unwrap().push(format!("asked about {held}"));
        Box::pin(async {
            let _answer = self.may_answer.acquire().await;
            false
        })
    }
    fn on_event<'a>(&'a self, event: &'a Event, _: &'a mut Vec<CallRecord>) -> BoxFuture<'a, ()> {
        self.heard.lock().unwrap().push(event.kind.to_owned());
        Box::pin(async {})
    }
}

impl Plugin {
    fn new(asked: bool) -> Arc<Self> {
        let hooks = HookSet { on_online: asked, on_event: asked, ..HookSet::default() };
        Arc::new(Self { hooks, heard: Mutex::default(), may_answer: Semaphore::new(0) })
    }
    fn heard(&self, what: &str) -> bool {
        self.heard.lock().unwrap().iter().any(|heard| heard == what)
    }
}

struct NoSource;

impl ChainSource for NoSource {
    fn load<'a>(
        &'a self,
        _: &'a Domain,
        _: Option<&'a Path>,
        _: &'a [Binding],
    ) -> BoxFuture<'a, Result<Arc<dyn Chain>, Vec<LoadError>>> {
        Box::pin(async { Err(Vec::new()) })
    }
}

/// Nothing listens there.
const DEAD: &str = "127.0.0.1:1";

fn hop(text: &str) -> NextHop {
    text.parse().unwrap()
}

fn domain(name: &str, next_hop: &str, tls: TlsMode, table: &str, plugin: &Arc<Plugin>) -> Arc<DomainState> {
    let binding = Binding {
        plugin: "split-route".into(),
        on_failure: None,
        config: serde_json::json!({ "routes": [{ "next-hop": table }] }),
        isolation: Isolation::Domain,
        mode: Mode::Active,
        sample: 100,
        gateway_wide: false,
    };
    let config = DomainConfig {
        file: std::path::PathBuf::new(),
        name: name.parse().unwrap(),
        next_hops: vec![hop(next_hop)],
        on_demand: false,
        tls,
        retention: Duration::from_secs(86400),
        accept: Accept::Always,
        delay_notice: crate::dsn::DELAY_NOTICE,
        plugins: vec![binding],
        plugin_places: Vec::new(),
        own_plugins: None,
        offline: Offline::default(),
        identity: None,
        check_in: None,
        authentication_results: None,
        record: None,
    };
    Arc::new(DomainState::new(Arc::new(config), plugin.clone(), Inputs::default()))
}

fn plain(name: &str, next_hop: &str, tls: TlsMode) -> Arc<DomainState> {
    domain(name, next_hop, tls, "", &Plugin::new(false))
}

struct Rig(Arc<Deliverer>);

impl Rig {
    async fn new(table: Vec<Arc<DomainState>>) -> Self {
        let home = tempfile::tempdir().unwrap();
        for dir in ["domains", "plugins", "data"] {
            std::fs::create_dir(home.path().join(dir)).unwrap();
        }
        std::fs::write(home.path().join("waypost.toml"), "hostname = 'gw.example'\n").unwrap();
        let config = Config::load(&home.path().join("waypost.toml")).unwrap();
        let domains = Arc::new(Domains::load(&config, &NoSource).await.unwrap());
        let clock = Clock::system();
        let stories = Stories { journal: journal::Journal::off(), domains: domains.clone(), clock: clock.clone() };
        swap(&domains, table);
        let queue = Queue::open_in_memory(Options::default(), clock.now()).unwrap();
        let connector = Connector {
            hostname: "gw.example".parse().unwrap(),
            tls: Arc::new(ClientTls::new().unwrap()),
            dns: Arc::new(Dns::of_system()),
            identities: Arc::new(Identities::new(queue.clone(), clock.clone())),
            alerts: Alerts::default(),
            own: Vec::new(),
            timeouts: crate::config::Timeouts::default(),
            leases: Arc::new(Leases::new(queue.clone(), clock.clone())),
        };
        Self(Deliverer::new(DelivererParts {
            connector: Arc::new(connector),
            alerts: Alerts::default(),
            domains,
            queue,
            clock,
            budget: Budget::new(1 << 20),
            dsn_next_hops: vec![hop("127.0.0.1:2")],
            dsn_limits: crate::dsn::Limits::default(),
            stories,
            shutdown: CancellationToken::new(),
        }))
    }

    async fn mail(&self, domain: &str) -> Claim {
        let now = self.0.clock.now();
        let recipients = vec![Recipient::new(format!("ann@{domain}").parse().unwrap())];
        let mail = NewMail {
            id: MailId::new(now, fastrand::u128(..)),
            domain: domain.parse().unwrap(),
            envelope: Envelope { recipients, ..Envelope::default() },
            content: Content::default(),
            attributes: Attributes::new(),
            received_at: now,
            expires_at: now.plus(Duration::from_secs(86400)),
            state: InitialState::Queued,
        };
        self.0.queue.enqueue(mail).await.unwrap()
    }

    /// A mail of the domain that waits for this next hop.
    async fn waits(&self, domain: &str, awaited: &str) -> MailId {
        let claim = self.mail(domain).await;
        let (id, waiting_for) = (claim.mail.id, Some(hop(awaited)));
        let held = Settled::Held { reason: "away".into(), waiting_for, until: None, failure: Some(away()) };
        self.0.settle_durably(claim, vec![(0, held)], Notes::default()).await;
        id
    }

    fn away(&self, next_hop: &str, tls: TlsMode) -> Arc<super::lane::Lane> {
        let lane = self.0.lane(&hop(next_hop), tls, &"a.example".parse().unwrap());
        lane.went_away(away(), super::probing::FIRST, &self.0);
        lane
    }

    /// The domains that have mail to go out now.
    fn due(&self) -> Vec<String> {
        let due = self.0.queue.due_domains(self.0.clock.now());
        due.iter().map(ToString::to_string).collect()
    }
}

fn away() -> Failure {
    Failure::new(FailureKind::Other, None, "away")
}

fn swap(domains: &Domains, table: Vec<Arc<DomainState>>) {
    domains.swap(table.into_iter().map(|domain| (domain.config.name.clone(), domain)).collect::<Table>());
}

async fn eventually(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
}

#[tokio::test]
async fn nobody_goes_out_while_the_plugin_is_asked_about_a_next_hop_of_its_own_table() {
    let plugin = Plugin::new(true);
    let rig = Rig::new(vec![domain("a.example", "127.0.0.1:3", TlsMode::None, DEAD, &plugin)]).await;
    let lane = rig.away(DEAD, TlsMode::None);
    rig.waits("a.example", DEAD).await;
    let asking = tokio::spawn({
        let (deliverer, lane) = (rig.0.clone(), lane.clone());
        async move { deliverer.came_back(&lane).await }
    });
    eventually(|| plugin.heard("asked about 1")).await;
    rig.waits("a.example", DEAD).await;
    assert!(rig.due().is_empty());
    plugin.may_answer.add_permits(1);
    asking.await.unwrap();
    eventually(|| plugin.heard("offline") && plugin.heard("online")).await;
    assert!(rig.due().is_empty() && lane.away().is_none());
    let held = Filter { state: Some(State::Held), ..Filter::default() };
    assert_eq!(rig.0.queue.list(&held, 10).await.iter().filter(|mail| mail.recipients[0].due.is_none()).count(), 2);
}

#[tokio::test]
async fn a_changed_route_takes_what_waits_along_but_not_what_a_person_keeps() {
    let before = |name| plain(name, DEAD, TlsMode::None);
    let rig = Rig::new(vec![before("a.example"), before("b.example"), before("c.example")]).await;
    rig.away(DEAD, TlsMode::None);
    let kept = rig.waits("a.example", DEAD).await;
    rig.0.queue.hold(&Filter { id: Some(kept), ..Filter::default() }, "mine").await;
    for name in ["a.example", "b.example", "c.example"] {
        rig.waits(name, DEAD).await;
    }
    rig.0.take_new_routes();
    assert!(rig.due().is_empty());
    let other = vec![
        plain("a.example", "127.0.0.1:3", TlsMode::None),
        plain("b.example", DEAD, TlsMode::Opportunistic),
        before("c.example"),
    ];
    swap(&rig.0.domains, other);
    rig.0.take_new_routes();
    eventually(|| rig.due() == ["a.example", "b.example"]).await;
    let claims = rig.0.queue.claim(&"a.example".parse().unwrap(), rig.0.clock.now(), 10).await;
    assert!(claims.len() == 1 && claims[0].mail.id != kept);
}

#[tokio::test]
async fn an_attempt_that_ends_after_its_route_was_taken_away_is_made_anew_on_the_new_one() {
    let rig = Rig::new(vec![plain("a.example", DEAD, TlsMode::None), plain("b.example", DEAD, TlsMode::None)]).await;
    rig.away(DEAD, TlsMode::None);
    swap(
        &rig.0.domains,
        vec![plain("a.example", "127.0.0.1:3", TlsMode::None), plain("b.example", DEAD, TlsMode::None)],
    );
    rig.0.take_new_routes();
    rig.waits("a.example", DEAD).await;
    rig.waits("b.example", DEAD).await;
    // Due at once, by the queue's clock, which may be a moment ahead.
    eventually(|| rig.due() == ["a.example"]).await;
}

#[tokio::test]
async fn a_next_hop_is_tried_until_no_file_names_it_and_nothing_waits_for_it() {
    let rig = Rig::new(vec![plain("a.example", DEAD, TlsMode::None)]).await;
    let forgotten = |text: &str, tls| rig.0.is_forgotten(&LaneKey { hop: hop(text), tls, domain: None });
    assert!(!forgotten(DEAD, TlsMode::None) && forgotten(DEAD, TlsMode::Required));
    assert!(!forgotten("127.0.0.1:2", TlsMode::Opportunistic), "notifications go there");
    let lane = rig.away("127.0.0.1:4", TlsMode::None);
    let named = rig.away(DEAD, TlsMode::None);
    rig.waits("a.example", DEAD).await;
    assert!(!forgotten(DEAD, TlsMode::Required));
    eventually(|| lane.away().is_none()).await;
    assert!(named.away().is_some());
}

#[tokio::test]
async fn a_neighbours_mail_does_not_make_a_next_hop_trusted_that_a_domain_was_just_changed_to() {
    let rig = Rig::new(vec![plain("a.example", DEAD, TlsMode::None), plain("b.example", DEAD, TlsMode::None)]).await;
    rig.0.take_new_routes();
    let server = "127.0.0.1:3";
    swap(&rig.0.domains, vec![plain("a.example", server, TlsMode::None), plain("b.example", DEAD, TlsMode::None)]);
    rig.0.take_new_routes();
    let (a, b): (Domain, Domain) = ("a.example".parse().unwrap(), "b.example".parse().unwrap());
    let lane = rig.0.lane(&hop(server), TlsMode::None, &a);
    let doubted = |domain: &Domain| rig.0.trust(&lane, domain, rig.0.clock.now()).doubted_until.is_some();
    assert!(doubted(&a) && !doubted(&b));
    (0..20).for_each(|_| rig.0.doubts.taken(&b));
    assert!(doubted(&a));
    (0..10).for_each(|_| rig.0.doubts.taken(&a));
    assert!(!doubted(&a));
}
