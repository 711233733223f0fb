//! Builds the gateway from its configuration, spawns it, and drains it: the one place that knows all parts.

use crate::{
    admin::{self, Admin, AdminParts},
    alerts::{AlertParts, Alerts, SecretError},
    authenticity::Checks,
    check_in::{Authenticator, CheckInParts, CheckInSocket, CheckIns, Leases, watch_leases},
    clock::Clock,
    config::{self, Config, ConfigErrors},
    delivery::{Connector, Deliverer, DelivererParts},
    disk::Disk,
    dns::{AnchorError, Dns},
    domains::Domains,
    identity::Identities,
    intake::{Incoming, Intake, Listener, Recorder, Service, raise_open_files},
    limits::Limits,
    memory::Budget,
    odmr,
    plugins::Plugins,
    probe::{Prober, ProberParts},
    reload::{Reloader, ReloaderParts, Status},
    run_file::RunFile,
    stories::Stories,
    tls::{ClientTls, ServerTls, TlsError},
};
use journal::Journal;
use queue::Queue;
use smtp::ServerConfig;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

/// How long sessions and attempts may go on once the gateway was told to stop.
const DRAIN: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Configuration(ConfigErrors),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("[dns]: {0}")]
    Dns(#[from] AnchorError),
    #[error("cannot listen on {address}: {source}{}", hint(source))]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot write in the data directory {path}: {source}")]
    Data { path: String, source: io::Error },
    #[error("hostname: {0}")]
    Hostname(mail::AddressError),
    #[error(transparent)]
    AlertSecret(#[from] SecretError),
    #[error(transparent)]
    Admin(#[from] admin::AdminError),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program has it: stop that, or choose another address under [[listener]]",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    }
}

/// What is under way, and how to end it.
pub struct Running {
    pub listeners: Vec<SocketAddr>,
    pub admin: Option<SocketAddr>,
    /// Of the listener for check-ins alone.
    pub check_in: Option<SocketAddr>,
    config: Config,
    reloader: Arc<Reloader>,
    journal: Journal,
    deliverer: Arc<Deliverer>,
    queue: Queue,
    sessions: TaskTracker,
    intake_stop: CancellationToken,
    delivery_stop: CancellationToken,
}

/// Starts everything. When this returns, the gateway answers.
pub async fn start(
    config: Config,
    plugins: Arc<dyn Plugins>,
    queue: Queue,
    clock: Clock,
) -> Result<Running, StartError> {
    let hostname: mail::Domain = config.hostname.parse().map_err(StartError::Hostname)?;
    let domains = Domains::load(&config, plugins.as_ref()).await;
    let domains =
        Arc::new(domains.map_err(|errors| StartError::Configuration(ConfigErrors::new(&config.file, errors)))?);
    let server_tls = ServerTls::new(config.tls.as_ref(), &config.hostname, &config.data_dir);
    let server_tls = server_tls.map_err(|error| match &config.tls {
        Some(_) => StartError::Configuration(ConfigErrors::new(&config.file, vec![error.in_file(&config.file)])),
        None => error.into(),
    })?;
    // Whoever has mistakes to mend is told of nothing else.
    raise_open_files(config.max_connections);
    let listeners = bind(&config, &hostname, &server_tls)?;
    let addresses: Vec<SocketAddr> = listeners.iter().map(|(address, _)| *address).collect();
    let client_tls = Arc::new(ClientTls::with_authorities(config.authorities.as_deref())?);
    let alerts = Alerts::start(AlertParts {
        alerting: config.alerts.clone(),
        domains: domains.clone(),
        queue: queue.clone(),
        clock: clock.clone(),
        hostname: config.hostname.clone(),
        tls: client_tls.config(mail::TlsMode::Verified),
    })?;
    let leases = Arc::new(Leases::new(queue.clone(), clock.clone()));
    let dns = Arc::new(Dns::new(config.dns.clone())?);
    let checks = Arc::new(Checks::new(config.authenticity, dns.clone(), hostname.clone()));
    let connector = Arc::new(Connector {
        hostname: hostname.clone(),
        tls: client_tls,
        dns,
        identities: Arc::new(Identities::new(queue.clone(), clock.clone())),
        alerts: alerts.clone(),
        timeouts: config.timeouts,
        own: addresses.clone(),
        leases,
    });
    let budget = Budget::new(config.room.max_mail_in_memory);
    let disk = Disk::new(config.data_dir.clone(), config.room.watermarks);
    let (intake_stop, delivery_stop) = (CancellationToken::new(), CancellationToken::new());
    let journal = open_journal(&config);
    let stories = Stories { journal: journal.clone(), domains: domains.clone(), clock: clock.clone() };
    let deliverer = Deliverer::new(DelivererParts {
        stories: stories.clone(),
        domains: domains.clone(),
        queue: queue.clone(),
        clock: clock.clone(),
        connector: connector.clone(),
        alerts: alerts.clone(),
        budget: budget.clone(),
        dsn_next_hops: config.dsn_next_hops.clone(),
        dsn_limits: config.dsn_limits,
        shutdown: delivery_stop.clone(),
    });
    let sessions = TaskTracker::new();
    let admin = Admin::bind(&config).await?;
    let admin_address = admin.as_ref().map(Admin::address);
    let check_in = bind_check_in(&config).await?;
    let check_in_address = check_in.as_ref().map(|(address, _)| *address);
    let own = addresses.iter().copied().chain(admin_address).chain(check_in_address).collect();
    let accounts = Arc::new(odmr::Accounts::new(domains.clone(), &queue));

    let prober = Prober::new(ProberParts {
        queue: queue.clone(),
        domains: domains.clone(),
        connector,
        clock: clock.clone(),
        tasks: deliverer.tasks.clone(),
        shutdown: delivery_stop.clone(),
        max_message_size: config.max_message_size,
    });
    let parts = CheckInParts {
        deliverer: deliverer.clone(),
        prober: prober.clone(),
        authenticator: Authenticator::new(accounts.clone()),
        own,
    };
    let check_ins = Arc::new(CheckIns::new(parts));
    prober.start();
    deliverer.resume();
    deliverer.tasks.spawn(deliverer.clone().feed());
    let recorder = Recorder::new(config.data_dir.join("recorded"));
    sessions.spawn(recorder.clone().prune_hourly(domains.clone(), intake_stop.clone()));
    let intake = Arc::new(Intake {
        hostname: hostname.clone(),
        domains: domains.clone(),
        queue: queue.clone(),
        deliverer: deliverer.clone(),
        budget: budget.clone(),
        incoming: Incoming::open(&config.data_dir, config.room.spool_threshold, budget, disk.clone())
            .map_err(|source| StartError::Data { path: config.data_dir.display().to_string(), source })?,
        disk: disk.clone(),
        clock,
        stories,
        recorder,
        checks,
    });
    let gate = odmr::Gate::new(deliverer.clone(), accounts);
    let limits = Limits::new(&config, deliverer.clock.clone());
    for (_, listener) in listeners {
        let service = match listener.service() {
            config::Service::Smtp => Service::Smtp(intake.clone()),
            config::Service::Odmr => Service::Odmr(gate.clone()),
        };
        sessions.spawn(listener.run(service, limits.clone(), sessions.clone(), intake_stop.clone()));
    }
    if let Some((_, socket)) = check_in {
        sessions.spawn(socket.run(check_ins.clone(), server_tls.clone(), sessions.clone(), intake_stop.clone()));
    }
    deliverer.tasks.spawn(watch_leases(deliverer.clone(), delivery_stop.clone()));
    let reloader = Reloader::new(ReloaderParts {
        config: config.clone(),
        domains: domains.clone(),
        plugins: plugins.clone(),
        tls: server_tls,
        clock: deliverer.clock.clone(),
        changed: Box::new({
            let (prober, deliverer, journal) = (prober.clone(), deliverer.clone(), journal.clone());
            let limits = limits.clone();
            move |config: &Config| {
                limits.configure(config);
                deliverer.alerts.configure(&config.alerts);
                journal.set_bounds(config.journal.bounds());
                prober.start();
                deliverer.take_new_routes();
            }
        }),
    });
    if let Some(admin) = admin {
        let (queue, deliverer, reloader) = (queue.clone(), deliverer.clone(), reloader.clone());
        let parts = AdminParts { queue, deliverer, reloader, plugins, prober, check_ins, disk: disk.clone(), limits };
        sessions.spawn(admin.run(parts, intake_stop.clone()));
    }
    sessions.spawn(disk.watch(intake_stop.clone()));
    sessions.spawn(reloader.clone().watch(intake_stop.clone()));
    let running = Running {
        listeners: addresses,
        admin: admin_address,
        check_in: check_in_address,
        config,
        reloader,
        journal,
        deliverer,
        queue,
        sessions,
        intake_stop,
        delivery_stop,
    };
    running.announce()?;
    Ok(running)
}

/// It is no part of the promise: mail is relayed without it too.
fn open_journal(config: &Config) -> Journal {
    if !config.journal.enabled {
        return Journal::off();
    }
    Journal::open(&config.data_dir.join("journal.sqlite"), config.journal.bounds()).unwrap_or_else(|error| {
        warn!(%error, "mails leave no trace: waypost trace will find nothing");
        Journal::off()
    })
}

async fn bind_check_in(config: &Config) -> Result<Option<(SocketAddr, CheckInSocket)>, StartError> {
    let Some(settings) = &config.check_in else { return Ok(None) };
    let wrong = |source| StartError::Listen { address: settings.address, source };
    let socket = CheckInSocket::bind(settings).await.map_err(wrong)?;
    Ok(Some((socket.address().map_err(wrong)?, socket)))
}

fn bind(
    config: &Config,
    hostname: &mail::Domain,
    tls: &Arc<ServerTls>,
) -> Result<Vec<(SocketAddr, Listener)>, StartError> {
    let protocol = ServerConfig {
        max_message_size: config.max_message_size,
        max_recipients: config.max_recipients,
        etrn: true,
        ..ServerConfig::new(hostname.clone())
    };
    let mut bound = Vec::new();
    for (number, settings) in (0..).zip(&config.listeners) {
        let wrong = |source| StartError::Listen { address: settings.address, source };
        let listener = Listener::bind(settings, number, &protocol, tls.clone()).map_err(wrong)?;
        bound.push((listener.address().map_err(wrong)?, listener));
    }
    Ok(bound)
}

impl Running {
    fn announce(&self) -> Result<(), StartError> {
        for address in &self.listeners {
            info!(%address, "listening");
        }
        if let Some(address) = self.admin {
            info!(%address, "admin");
        }
        let file = RunFile {
            pid: std::process::id(),
            listeners: self.listeners.clone(),
            admin: self.admin,
            check_in: self.check_in,
        };
        match file.write(&self.config.data_dir) {
            // The command line will not find us; deliveries, which make room, matter more.
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                warn!(%error, "no run file: other commands will not find this gateway");
                Ok(())
            }
            written => {
                written.map_err(|source| StartError::Data { path: self.config.data_dir.display().to_string(), source })
            }
        }
    }

    /// Looks at all files now; what cannot be taken leaves what it replaces in service.
    pub async fn reload(&self) -> Status {
        self.reloader.reload().await
    }

    /// No new mail, then no new attempt; what is under way may end, within bounds. What is not
    /// delivered stays in the queue.
    pub async fn stop(self) {
        info!("stopping");
        self.intake_stop.cancel();
        self.sessions.close();
        if tokio::time::timeout(DRAIN, self.sessions.wait()).await.is_err() {
            warn!("sessions did not end in time: they are cut");
        }
        self.delivery_stop.cancel();
        self.deliverer.tasks.close();
        if tokio::time::timeout(DRAIN, self.deliverer.tasks.wait()).await.is_err() {
            warn!("attempts did not end in time: their mail stays in the queue");
        }
        self.deliverer.alerts.stop().await;
        self.queue.close().await;
        let journal = self.journal;
        let _ = tokio::task::spawn_blocking(move || journal.close()).await;
        RunFile::remove(&self.config.data_dir);
        info!("stopped");
    }
}
