//! `waypost demo`: gateway, domain, plugins, next hop and sample mail in one terminal.

use crate::{
    setup::{self, SetupError},
    sink::{Arrived, Sink},
};
use gateway::{ClientTls, Dns, Means, Running, Target, TlsError, clock::Clock, config::Config};
use mail::{Content, Domain, Envelope, Outcome, Recipient, ReversePath, Timestamp, TlsMode};
use std::{
    fmt::Write as _,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(
        "the plugins {missing} are not in {dir}: build them with cargo xtask build, or name their directory with --plugins"
    )]
    NoPlugins { missing: String, dir: String },
    #[error("cannot set up: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Setup(#[from] Box<SetupError>),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot send the sample mail: {0}")]
    Send(mail::Failure),
    #[error("{0}")]
    Wrong(String),
}

/// The sample mail must have arrived within this time.
const PATIENCE: Duration = Duration::from_secs(30);
const DOMAIN: &str = "example.org";
const PLUGINS: [&str; 2] = ["recipients", "tag"];

pub async fn run(once: bool, plugins: Option<PathBuf>) -> Result<(), DemoError> {
    let plugins = plugin_dir(plugins)?;
    let home = tempfile::Builder::new().prefix("waypost-demo-").tempdir()?;
    let stop = CancellationToken::new();
    let sink = Sink::bind(SocketAddr::from(([127, 0, 0, 1], 0)), domain("mail.example.org")?).await?;
    let next_hop = sink.address()?;
    let (sender, mut arrived) = mpsc::channel(64);
    let sink = tokio::spawn(sink.run(sender, stop.clone()));

    let gateway = start(home.path(), &plugins, next_hop).await?;
    let at = *gateway.listeners.first().ok_or_else(|| DemoError::Wrong("the gateway has no listener".into()))?;
    introduce(at, next_hop, &gateway, home.path());
    let shown = show(at, &mut arrived).await;
    if shown.is_ok() && !once {
        println!("\nIt stays up. Send it mail of your own from another terminal:");
        println!("  waypost send --to {at} ann@{DOMAIN}");
        println!("  swaks --server {at} --to ann+news@{DOMAIN}\nCtrl-C ends it.\n");
        stay(&mut arrived).await;
    }
    gateway.stop().await;
    stop.cancel();
    sink.await.map_err(io::Error::other)??;
    shown
}

fn plugin_dir(given: Option<PathBuf>) -> Result<PathBuf, DemoError> {
    let dir = match given {
        Some(dir) => dir,
        None => std::env::current_exe()?
            .parent()
            .and_then(Path::parent)
            .map(|prefix| prefix.join("plugins"))
            .unwrap_or_default(),
    };
    let missing: Vec<&str> = PLUGINS.into_iter().filter(|name| !dir.join(format!("{name}.wasm")).is_file()).collect();
    if missing.is_empty() {
        Ok(dir)
    } else {
        Err(DemoError::NoPlugins { missing: missing.join(" and "), dir: dir.display().to_string() })
    }
}

async fn start(home: &Path, plugins: &Path, next_hop: SocketAddr) -> Result<Running, DemoError> {
    // The usual port, so that what the documentation says works, unless somebody has it.
    let usual = SocketAddr::from(([127, 0, 0, 1], 2525));
    let listen = if std::net::TcpListener::bind(usual).is_ok() { usual } else { SocketAddr::from(([127, 0, 0, 1], 0)) };
    let own = home.join("plugins");
    std::fs::create_dir_all(&own)?;
    for name in PLUGINS {
        std::fs::copy(plugins.join(format!("{name}.wasm")), own.join(format!("{name}.wasm")))?;
    }
    std::fs::create_dir_all(home.join("domains"))?;
    std::fs::write(
        home.join("waypost.toml"),
        format!(
            "hostname = \"gateway.example.net\"\n[[listener]]\naddress = \"{listen}\"\ntls = \"optional\"\n[admin]\nlisten = \"127.0.0.1:0\"\n"
        ),
    )?;
    std::fs::write(
        home.join(format!("domains/{DOMAIN}.toml")),
        format!(
            "next-hop = \"{next_hop}\"\nplugins = [\"recipients\", \"tag\"]\n\n[config.recipients]\naddresses = [\"ann\", \"bob\"]\n\n[config.tag]\nheaders = {{ \"X-Gateway\" = \"Waypost for {{domain}}\" }}\n"
        ),
    )?;
    let config = Config::load(&home.join("waypost.toml")).map_err(|errors| Box::new(errors.into()))?;
    let clock = Clock::system();
    let queue = setup::open_queue(&config, &clock).map_err(Box::new)?;
    let host = setup::plugin_host(&config, queue.kv(), config.data_dir.join("cache")).map_err(Box::new)?;
    let plugins = std::sync::Arc::new(setup::HostedPlugins(host));
    Ok(gateway::start(config, plugins, queue, clock).await.map_err(|error| Box::new(error.into()))?)
}

fn introduce(at: SocketAddr, next_hop: SocketAddr, gateway: &Running, home: &Path) {
    println!("Waypost demo\n");
    println!("  gateway   {at}");
    println!("  domain    {DOMAIN}, relayed to {next_hop} (a next hop in this process)");
    println!("  plugins   recipients (ann and bob exist), tag (adds X-Gateway): WebAssembly, from files");
    if let Some(admin) = gateway.admin {
        // Behind #, so that it stays in the browser.
        let token = std::fs::read_to_string(home.join("data/admin-token")).unwrap_or_default();
        println!("  page      http://{admin}/#token={}", token.trim());
    }
    println!();
}

/// Three mails: two that arrive, one that the recipients plugin refuses.
async fn show(at: SocketAddr, arrived: &mut mpsc::Receiver<Arrived>) -> Result<(), DemoError> {
    let mut expected = 0;
    for (recipient, welcome) in [("ann", true), ("bob+news", true), ("nobody", false)] {
        let recipient = format!("{recipient}@{DOMAIN}");
        let outcome = send(at, &recipient).await?;
        let (delivered, told) = match outcome {
            Outcome::Delivered(reply) => (true, reply.to_string()),
            Outcome::Deferred(failure) | Outcome::Failed(failure) => {
                (false, failure.reply.map_or(failure.detail, |reply| reply.to_string()))
            }
        };
        println!("→ sent to {recipient:<22} {told}");
        if delivered != welcome {
            return Err(DemoError::Wrong(format!(
                "the gateway should have {} mail for {recipient}",
                if welcome { "accepted" } else { "refused" }
            )));
        }
        expected += usize::from(welcome);
    }
    for _ in 0..expected {
        let mail = timeout(PATIENCE, arrived.recv()).await.ok().flatten();
        let mail = mail.ok_or_else(|| {
            DemoError::Wrong(format!("no mail arrived at the next hop within {} s", PATIENCE.as_secs()))
        })?;
        print(&mail);
        if !Content::new(mail.content).fields().any(|field| field.is("X-Gateway")) {
            return Err(DemoError::Wrong("a mail arrived without the field that the tag plugin adds".into()));
        }
    }
    println!("The sample mail has arrived, through two plugins.");
    Ok(())
}

async fn stay(arrived: &mut mpsc::Receiver<Arrived>) {
    loop {
        tokio::select! {
            mail = arrived.recv() => match mail {
                Some(mail) => print(&mail),
                None => return,
            },
            _ = tokio::signal::ctrl_c() => return,
        }
    }
}

/// The probe of the next hop takes a moment: until then the domain answers 451, and we come again.
async fn send(at: SocketAddr, recipient: &str) -> Result<Outcome, DemoError> {
    let (tls, dns) = (ClientTls::new()?, Dns::of_system());
    let means = Means { tls: &tls, dns: &dns };
    let hop = at.to_string().parse().map_err(|error| DemoError::Wrong(format!("{error}")))?;
    let wrong = |error: mail::AddressError| DemoError::Wrong(error.to_string());
    let to = Recipient::new(recipient.parse().map_err(wrong)?);
    let sender: ReversePath = "visitor@example.net".parse().map_err(wrong)?;
    let envelope = Envelope { sender, recipients: vec![to], ..Envelope::default() };
    let date = Timestamp::from_system(SystemTime::now()).to_rfc5322();
    let text = format!(
        "From: Visitor <visitor@example.net>\r\nTo: <{recipient}>\r\nSubject: Hello through the gateway\r\nDate: {date}\r\n\r\nThis mail asked two plugins on its way.\r\n"
    );
    let content = Content::new(text.into());
    let helo = domain("visitor.example.net")?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let target = Target::new(&hop, TlsMode::Opportunistic);
    loop {
        let connection = gateway::connect(&target, &helo, means).await.map_err(DemoError::Send)?;
        let (attempt, connection) = connection.deliver(&envelope, &envelope.recipients, &content).await;
        if let Some(connection) = connection {
            connection.quit().await;
        }
        match attempt.outcomes.into_iter().next() {
            Some(Outcome::Deferred(_)) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await
            }
            Some(outcome) => return Ok(outcome),
            None => return Err(DemoError::Wrong("the gateway gave no outcome".into())),
        }
    }
}

fn domain(name: &str) -> Result<Domain, DemoError> {
    name.parse().map_err(|error: mail::AddressError| DemoError::Wrong(error.to_string()))
}

fn print(mail: &Arrived) {
    let mut text = String::new();
    let recipients: Vec<&str> = mail.recipients.iter().map(|r| r.as_str()).collect();
    let _ = writeln!(text, "\n← the next hop got, for {}:", recipients.join(", "));
    for line in String::from_utf8_lossy(&mail.content).lines() {
        let _ = writeln!(text, "   │ {line}");
    }
    println!("{text}");
}
