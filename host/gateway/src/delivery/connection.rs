//! One connection to a next hop: opens it, secures it as asked, and moves its bytes.
//!
//! Keeps the time; [`smtp::Client`] knows what to say.

mod carry;
mod step;

pub use carry::Attempt;

use super::{
    own,
    pace::{Limit, Of, Pace},
    watch::{Patience, Told, Watch},
};
use crate::{
    config::{Identity, Timeouts},
    dns::Dns,
    identity::{self, KeyHash, Proof},
    stream::Stream,
    tls::ClientTls,
};
use mail::{Domain, Failure, FailureKind, NextHop, Reply, TlsMode};
use smtp::{Client, ClientConfig, ClientEvent};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout},
};

const QUIT: Duration = Duration::from_secs(2);

pub struct Connection {
    stream: Stream,
    client: Client,
    hop: NextHop,
    timeouts: Timeouts,
    mails: u32,
    /// The proof that was asked for when it was opened, and the key that was trusted then.
    asked: Asked,
}

type Asked = Option<(Identity, Option<KeyHash>)>;

/// Where a connection goes, and what is asked of whoever answers.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub hop: &'a NextHop,
    pub tls: TlsMode,
    /// What must hold before a word about a mail is said.
    pub proof: Option<&'a Proof<'a>>,
    /// Where this gateway itself listens: never a next hop.
    pub own: &'a [SocketAddr],
    /// In place of a lookup of its name.
    pub addresses: Option<&'a [IpAddr]>,
    /// For the opening.
    pub patience: Patience,
    /// For what comes after.
    pub timeouts: Timeouts,
    pub watch: Option<&'a dyn Watch>,
}

impl<'a> Target<'a> {
    /// Whoever answers is the next hop.
    pub fn new(hop: &'a NextHop, tls: TlsMode) -> Self {
        Self {
            hop,
            tls,
            proof: None,
            own: &[],
            addresses: None,
            patience: Patience::default(),
            timeouts: Timeouts::default(),
            watch: None,
        }
    }

    fn tell(&self, told: Told<'_>) {
        if let Some(watch) = self.watch {
            watch.told(told);
        }
    }
}

/// How next hops are found, and how their certificates are looked at.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    pub tls: &'a ClientTls,
    pub dns: &'a Dns,
}

/// Ready for mail: connected, greeted, and under TLS where the target asks for it.
pub async fn connect(target: &Target<'_>, helo: &Domain, means: Means<'_>) -> Result<Connection, Failure> {
    // In clear text nobody can prove anything.
    let asked = if target.proof.is_some() { target.tls.max(TlsMode::Required) } else { target.tls };
    match open(target, asked, helo, means).await {
        // RFC 7435: opportunistic means that a broken handshake is no worse than none offered.
        Err(OpenError::Handshake(failure)) if asked == TlsMode::Opportunistic => {
            target.tell(Told::FellBack(&failure));
            open(target, TlsMode::None, helo, means).await
        }
        other => other,
    }
    .map_err(OpenError::into_failure)
}

impl Connection {
    /// Ready for mail, on a stream whose other side was the client until now: its greeting comes next
    /// (RFC 2645 §5.3). TLS is as it was.
    pub async fn turned(stream: Stream, hop: NextHop, helo: &Domain, timeouts: Timeouts) -> Result<Self, Failure> {
        let config = ClientConfig {
            helo: helo.clone(),
            protocol: hop.protocol,
            tls: smtp::ClientTls::None,
            tls_active: matches!(stream, Stream::Tls(_)),
            next_hop: Some(hop.clone()),
        };
        let mut connection = Self { stream, client: Client::new(config), hop, timeouts, mails: 0, asked: None };
        let mut pace = Pace::opening(timeouts, Instant::now());
        loop {
            while let Some(event) = connection.client.next_event() {
                match event {
                    ClientEvent::Ready => return Ok(connection),
                    ClientEvent::Closed(failure) => return Err(failure),
                    ClientEvent::StartTls | ClientEvent::Done(_) | ClientEvent::Answered(_) | ClientEvent::Ended => {}
                }
            }
            let limit = pace.limit(&connection.client, Instant::now());
            connection.step(limit).await;
        }
    }

    pub fn hop(&self) -> &NextHop {
        &self.hop
    }
}

enum OpenError {
    Handshake(Failure),
    Other(Failure),
}

impl OpenError {
    fn into_failure(self) -> Failure {
        match self {
            Self::Handshake(failure) | Self::Other(failure) => failure,
        }
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

async fn open(target: &Target<'_>, mode: TlsMode, helo: &Domain, means: Means<'_>) -> Result<Connection, OpenError> {
    let Target { hop, patience, timeouts, .. } = target;
    let tcp = dial(target, means.dns).await?;
    let config = ClientConfig {
        helo: helo.clone(),
        protocol: hop.protocol,
        tls: match mode {
            TlsMode::None => smtp::ClientTls::None,
            TlsMode::Opportunistic => smtp::ClientTls::IfOffered,
            TlsMode::Required | TlsMode::Verified => smtp::ClientTls::Required,
        },
        tls_active: false,
        next_hop: Some((*hop).clone()),
    };
    let mut connection = Connection {
        stream: Stream::Plain(tcp),
        client: Client::new(config),
        hop: (*hop).clone(),
        timeouts: *timeouts,
        mails: 0,
        asked: None,
    };
    let mut pace = Pace::opening(Timeouts { greeting: patience.step, ..*timeouts }, Instant::now());
    loop {
        while let Some(event) = connection.next_event(target) {
            match event {
                ClientEvent::Ready => return Ok(connection),
                ClientEvent::StartTls => {
                    connection = connection.start_tls(mode, target, means).await.map_err(OpenError::Handshake)?;
                }
                ClientEvent::Closed(failure) => return Err(unproven(target, &connection.client, failure).into()),
                ClientEvent::Done(_) | ClientEvent::Answered(_) | ClientEvent::Ended => {}
            }
        }
        let limit = pace.limit(&connection.client, Instant::now());
        connection.step(limit).await;
    }
}

/// One that offers no TLS where a proof is asked for is not who it should be.
fn unproven(target: &Target<'_>, client: &Client, failure: Failure) -> Failure {
    match target.proof {
        Some(proof) if failure.kind == FailureKind::Tls && !client.is_tls_active() && !is_passing(&failure) => {
            proof.without_tls(&failure)
        }
        _ => failure,
    }
}

/// 454: no TLS for the moment (RFC 3207 §4).
fn is_passing(failure: &Failure) -> bool {
    failure.reply.as_ref().is_some_and(|reply| !reply.is_permanent())
}

async fn dial(target: &Target<'_>, dns: &Dns) -> Result<TcpStream, Failure> {
    let (hop, limit) = (target.hop, target.patience.connect);
    let addresses: Vec<SocketAddr> = match (target.addresses, hop.ip()) {
        (Some(known), _) => known.iter().map(|ip| SocketAddr::new(*ip, hop.port)).collect(),
        (None, Some(ip)) => vec![SocketAddr::new(ip, hop.port)],
        (None, None) => {
            let unknown = |error| format!("cannot find {}: {error}", hop.host);
            let found = dns.addresses(&hop.host).await;
            let found = found.map_err(|error| Failure::new(FailureKind::Dns, Some(hop), unknown(error)))?;
            found.into_iter().map(|ip| SocketAddr::new(ip, hop.port)).collect()
        }
    };
    target.tell(Told::Addresses(&addresses));
    let mut last = Failure::new(FailureKind::Dns, Some(hop), format!("{} has no address", hop.host));
    for address in addresses {
        let failure = match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => match own_listener(&tcp, target.own) {
                None => {
                    // A small write must never wait for the peer's delayed ACK.
                    let _ = tcp.set_nodelay(true);
                    target.tell(Told::Tried { address, failure: None });
                    return Ok(tcp);
                }
                // Held, not bounced: whoever has the name or the address wrong can put it right.
                Some(listener) => Failure::new(
                    FailureKind::Identity,
                    Some(hop),
                    format!(
                        "{address} is this gateway itself, which listens on {listener}: mail would go round in a circle"
                    ),
                ),
            },
            Ok(Err(error)) => {
                Failure::new(FailureKind::Connect, Some(hop), format!("cannot connect to {address}: {error}"))
            }
            Err(_) => {
                let detail = format!("{address} did not answer within {} s", limit.as_secs());
                Failure::new(FailureKind::Timeout, Some(hop), detail)
            }
        };
        target.tell(Told::Tried { address, failure: Some(&failure) });
        last = failure;
    }
    Err(last)
}

fn own_listener(tcp: &TcpStream, listeners: &[SocketAddr]) -> Option<SocketAddr> {
    own::reached(listeners, tcp.peer_addr().ok()?, tcp.local_addr().ok()?)
}

impl Connection {
    /// Where it leads.
    pub fn peer(&self) -> Option<IpAddr> {
        self.stream.peer()
    }

    pub(super) fn set_asked(&mut self, identity: Identity, trusted: Option<KeyHash>) {
        self.asked = Some((identity, trusted));
    }
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Has it carried a mail before?
    pub fn is_reused(&self) -> bool {
        self.mails > 0
    }

    /// One command outside of any mail, and its reply. After a failure the connection is of no more use.
    pub async fn ask(&mut self, line: &str, limit: Duration) -> Result<Reply, Failure> {
        if let Err(error) = self.client.ask(line) {
            return Err(Failure::new(FailureKind::Protocol, Some(&self.hop), error.to_string()));
        }
        let limit = Limit::new(Instant::now(), limit, Of::Wait);
        loop {
            while let Some(event) = self.client.next_event() {
                match event {
                    ClientEvent::Answered(reply) => return Ok(reply),
                    ClientEvent::Closed(failure) => return Err(failure),
                    ClientEvent::Ready | ClientEvent::StartTls | ClientEvent::Done(_) | ClientEvent::Ended => {}
                }
            }
            self.step(limit).await;
        }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Says goodbye; nobody waits long for the answer.
    pub async fn quit(mut self) {
        self.client.quit();
        let limit = Limit::new(Instant::now(), QUIT, Of::Wait);
        let farewell = async {
            while !self.client.is_closed() {
                match self.client.next_event() {
                    Some(ClientEvent::Ended | ClientEvent::Closed(_)) => break,
                    Some(_) => {}
                    None => self.step(limit).await,
                }
            }
            let _ = self.stream.shutdown().await;
        };
        let _ = timeout(QUIT, farewell).await;
    }

    fn next_event(&mut self, target: &Target<'_>) -> Option<ClientEvent> {
        let answered = self.client.waits_for();
        let event = self.client.next_event();
        if self.client.waits_for() != answered {
            target.tell(Told::Heard { answered, client: &self.client });
        }
        event
    }

    async fn start_tls(self, mode: TlsMode, target: &Target<'_>, means: Means<'_>) -> Result<Self, Failure> {
        let Self { stream, mut client, hop, timeouts, mails, asked } = self;
        let limit = target.patience.step;
        let wrong = |detail: String| Failure::new(FailureKind::Tls, Some(&hop), detail);
        // Where the host itself must be vouched for, it is asked for by no other name.
        let named = target.proof.and_then(Proof::server_name).filter(|_| mode != TlsMode::Verified);
        let name = identity::server_name(named.unwrap_or(&hop.host)).map_err(wrong)?;
        let stream = match timeout(limit, stream.connect_tls(means.tls.config(mode), name.clone())).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(wrong(format!("TLS handshake failed: {error}"))),
            Err(_) => return Err(wrong(format!("no TLS handshake within {} s", limit.as_secs()))),
        };
        target.tell(Told::Secured(&stream));
        let chain = stream.peer_certificates();
        let mut proven = mode == TlsMode::Verified;
        if let Some(proof) = target.proof {
            proof.check(&chain, &hop, means.tls, means.dns).await?;
            proven |= proof.names_the_server();
        }
        if proven || means.tls.vouch(&chain, &name).is_ok() {
            client.server_proven();
        }
        client.tls_started();
        Ok(Self { stream, client, hop, timeouts, mails, asked })
    }
}
