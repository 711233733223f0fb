//! Accepts connections, within limits. A failed accept never ends the loop.

use super::{
    connection::Connection,
    receiver::Receiver,
    replies,
    session::{Intake, Session},
};
use crate::{
    config::{Listener as Settings, ListenerTls},
    limits::{ConnectionLimits, Place, Refused},
    odmr::{Gate, Visit},
    stream::Stream,
    tls::ServerTls,
};
use mail::SessionFacts;
use smtp::{Server, ServerConfig, TlsOffer};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// What clients of a listener come for.
#[derive(Clone)]
pub enum Service {
    Smtp(Arc<Intake>),
    Odmr(Arc<Gate>),
}

pub struct Listener {
    socket: TcpListener,
    name: Arc<str>,
    settings: Settings,
    protocol: Arc<ServerConfig>,
    tls: Arc<ServerTls>,
}

impl Listener {
    pub fn bind(settings: &Settings, protocol: &ServerConfig, tls: Arc<ServerTls>) -> io::Result<Self> {
        let offer = match settings.tls {
            ListenerTls::None | ListenerTls::Implicit => TlsOffer::None,
            ListenerTls::Optional => TlsOffer::Optional,
            ListenerTls::Required => TlsOffer::Required,
        };
        Ok(Self {
            socket: bind(settings.address)?,
            name: settings.address.to_string().into(),
            settings: settings.clone(),
            protocol: Arc::new(ServerConfig { tls: offer, ..protocol.clone() }),
            tls,
        })
    }

    pub fn service(&self) -> crate::config::Service {
        self.settings.service
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Until `shutdown`; the sessions are tracked in `tasks`.
    pub async fn run(
        self,
        service: Service,
        limits: Arc<ConnectionLimits>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = shutdown.cancelled() => return,
            };
            match accepted {
                Ok((tcp, peer)) => self.welcome(tcp, peer, &service, &limits, &tasks, &shutdown),
                Err(error) => {
                    // Out of descriptors, or a client that is gone already. Waiting frees some.
                    warn!(listener = %self.name, %error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn welcome(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        service: &Service,
        limits: &Arc<ConnectionLimits>,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) {
        let place = match limits.enter(peer.ip()) {
            Ok(place) => place,
            Err(refused) => {
                let reply = if refused == Refused::Total { replies::CROWDED } else { replies::CROWDED_ADDRESS };
                return self.turn_away(&tcp, peer, &reply);
            }
        };
        let intake = match service {
            Service::Smtp(intake) => intake,
            Service::Odmr(gate) => return self.collect(tcp, peer, gate.clone(), place, tasks, shutdown),
        };
        if let Some(reply) = intake.cannot_serve() {
            return self.turn_away(&tcp, peer, &reply);
        }
        let facts = SessionFacts {
            listener: self.name.clone(),
            peer,
            peer_name: None,
            helo: None,
            tls_version: None,
            auth_user: None,
        };
        let session = Session::new(intake.clone(), facts);
        let (protocol, tls, implicit_tls, shutdown) =
            (self.protocol.clone(), self.tls.current(), self.settings.tls == ListenerTls::Implicit, shutdown.clone());
        tasks.spawn(async move {
            if let Err(error) = serve(tcp, session, protocol, tls, implicit_tls, shutdown, place).await {
                debug!(%peer, %error, "connection ended");
            }
        });
    }

    fn turn_away(&self, tcp: &TcpStream, peer: SocketAddr, reply: &mail::Reply) {
        debug!(listener = %self.name, %peer, %reply);
        let mut text = Vec::new();
        reply.write_to(&mut text);
        // The socket's buffer is empty: this fits, or the client is gone.
        let _ = tcp.try_write(&text);
    }

    fn collect(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        gate: Arc<Gate>,
        place: Place,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) {
        let (listener, tls, shutdown) = (self.name.clone(), self.settings.tls, shutdown.clone());
        let visit = Visit { peer, listener, tls, certificate: self.tls.current(), shutdown };
        tasks.spawn(async move {
            // As on the way out: a small write must never wait for the peer's delayed ACK.
            let _ = tcp.set_nodelay(true);
            if let Err(error) = gate.receive(Stream::Plain(tcp), &visit).await {
                debug!(%peer, %error, "connection ended");
            }
            drop(place);
        });
    }
}

async fn serve(
    tcp: TcpStream,
    mut session: Session,
    protocol: Arc<ServerConfig>,
    tls: Arc<rustls::ServerConfig>,
    implicit_tls: bool,
    shutdown: CancellationToken,
    _place: Place,
) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut stream = Stream::Plain(tcp);
    if implicit_tls {
        stream = tokio::time::timeout(Duration::from_secs(60), stream.accept_tls(tls.clone())).await??;
        let version = stream.tls_version();
        session.tls(version);
    }
    // Off the accept loop: plugins take their time.
    if let Some(reply) = session.connect().await {
        let mut text = Vec::new();
        reply.write_to(&mut text);
        let told = async {
            stream.write_all(&text).await?;
            stream.shutdown().await
        };
        return tokio::time::timeout(Duration::from_secs(10), told).await?;
    }
    let server = Server::new(protocol, implicit_tls);
    Connection { stream, server, receiver: session, tls: Some(tls), shutdown }.serve().await
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let kind = if address.is_ipv6() { socket2::Domain::IPV6 } else { socket2::Domain::IPV4 };
    let socket = socket2::Socket::new(kind, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    if address.is_ipv6() {
        // [::]:25 serves IPv4 as well.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}
