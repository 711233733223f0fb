//! Accepts connections, within limits. A failed accept never ends the loop.

use super::{
    connection::Connection,
    limited::Limited,
    session::{Intake, Session},
    welcome::Visitor,
};
use crate::{
    config::{Listener as Settings, ListenerTls, Network},
    limits::{Limits, Place},
    odmr::{Gate, Visit},
    stream::Stream,
    tls::ServerTls,
};
use mail::SessionFacts;
use smtp::{Server, ServerConfig, TlsOffer};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};
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
    /// Its place in the configuration.
    number: u16,
    name: Arc<str>,
    settings: Settings,
    protocol: Arc<ServerConfig>,
    tls: Arc<ServerTls>,
}

/// What a connection needs of its listener.
struct Door {
    service: Service,
    name: Arc<str>,
    protocol: Arc<ServerConfig>,
    tls: ListenerTls,
    xclient_from: Vec<Network>,
    certificate: Arc<rustls::ServerConfig>,
    shutdown: CancellationToken,
}

/// As many as the system allows wait until they are accepted.
const BACKLOG: i32 = 4096;
/// After a failed accept, and doubled with each further one.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Listener {
    pub fn bind(settings: &Settings, number: u16, protocol: &ServerConfig, tls: Arc<ServerTls>) -> io::Result<Self> {
        let offer = match settings.tls {
            ListenerTls::None | ListenerTls::Implicit => TlsOffer::None,
            ListenerTls::Optional => TlsOffer::Optional,
            ListenerTls::Required => TlsOffer::Required,
        };
        Ok(Self {
            socket: bind(settings.address)?,
            number,
            name: settings.address.to_string().into(),
            settings: settings.clone(),
            protocol: Arc::new(ServerConfig {
                tls: offer,
                bare_line_ends: settings.bare_line_ends,
                ..protocol.clone()
            }),
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
    pub async fn run(self, service: Service, limits: Arc<Limits>, tasks: TaskTracker, shutdown: CancellationToken) {
        let mut pause = PAUSE;
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = shutdown.cancelled() => return,
            };
            match accepted {
                Ok((tcp, peer)) => {
                    pause = PAUSE;
                    self.let_in(tcp, peer, &service, &limits, &tasks, &shutdown);
                }
                // Gone again while it waited.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors or memory. Waiting frees some, and those who wait to be accepted still do.
                    warn!(listener = %self.name, %error, "cannot accept a connection");
                    let _ = tokio::time::timeout(pause, shutdown.cancelled()).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn let_in(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        service: &Service,
        limits: &Arc<Limits>,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) {
        let is_balancer = self.settings.proxy_protocol_from.iter().any(|network| network.contains(peer.ip()));
        let place = match limits.enter(self.number, (!is_balancer).then_some(peer.ip())) {
            Ok(place) => place,
            Err(refusal) => return self.turn_away(&tcp, peer, &refusal.reply()),
        };
        if let Service::Smtp(intake) = service
            && let Some(reply) = intake.cannot_serve()
        {
            return self.turn_away(&tcp, peer, &reply);
        }
        let door = Door {
            service: service.clone(),
            name: self.name.clone(),
            protocol: self.protocol.clone(),
            tls: self.settings.tls,
            xclient_from: self.settings.xclient_from.clone(),
            certificate: self.tls.current(),
            shutdown: shutdown.clone(),
        };
        let patience = limits.patience(self.number);
        let visitor = Visitor { stream: Stream::Plain(tcp), peer, place, patience };
        tasks.spawn(async move {
            if let Err(error) = door.receive(visitor, is_balancer).await {
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
}

/// What comes of a connection that is let in. In boxes: the task that waits for years is as large as its largest part.
enum Opened {
    Smtp(Box<Connection<Limited<Session>>>),
    Odmr(Arc<Gate>, Box<(Stream, Visit, Place)>),
}

impl Opened {
    async fn serve(self) -> io::Result<()> {
        match self {
            Self::Smtp(connection) => connection.serve().await,
            Self::Odmr(gate, visit) => {
                let (stream, visit, _place) = *visit;
                Box::pin(gate.receive(stream, &visit)).await
            }
        }
    }
}

impl Door {
    async fn receive(self, visitor: Visitor, is_balancer: bool) -> io::Result<()> {
        match Box::pin(self.open(visitor, is_balancer)).await? {
            Some(opened) => opened.serve().await,
            None => Ok(()),
        }
    }

    /// None: the client is not let in, and has been told.
    async fn open(self, visitor: Visitor, is_balancer: bool) -> io::Result<Option<Opened>> {
        if let Stream::Plain(tcp) = &visitor.stream {
            // As on the way out: a small write must never wait for the peer's delayed ACK.
            tcp.set_nodelay(true)?;
        }
        // Nobody has been greeted: a gateway that stops owes nothing.
        let Some(come) = self.shutdown.run_until_cancelled(self.come_in(visitor, is_balancer)).await else {
            return Ok(None);
        };
        let Some((visitor, session)) = come? else { return Ok(None) };
        let Visitor { stream, peer, place, patience } = visitor;
        let Self { service, name, protocol, tls, xclient_from, certificate, shutdown } = self;
        Ok(match (service, session) {
            (Service::Odmr(gate), _) => {
                let visit = Visit { peer, listener: name, tls, certificate, patience, shutdown };
                Some(Opened::Odmr(gate, Box::new((stream, visit, place))))
            }
            (Service::Smtp(_), session) => session.map(|session| {
                let mut server = Server::new(protocol, tls == ListenerTls::Implicit);
                if xclient_from.iter().any(|network| network.contains(peer.ip())) {
                    server.trust_as_proxy();
                }
                let receiver = Limited::new(place, peer, session);
                let tls = Some(certificate);
                Opened::Smtp(Box::new(Connection { stream, server, receiver, tls, patience, shutdown }))
            }),
        })
    }

    /// Until the greeting. None: it is not for this client, and it has been told.
    async fn come_in(&self, visitor: Visitor, is_balancer: bool) -> io::Result<Option<(Visitor, Option<Session>)>> {
        let mut visitor = match is_balancer {
            true => match visitor.behind_a_balancer().await? {
                Some(visitor) => visitor,
                None => return Ok(None),
            },
            false => visitor,
        };
        let Service::Smtp(intake) = &self.service else { return Ok(Some((visitor, None))) };
        if self.tls == ListenerTls::Implicit {
            visitor = visitor.shake_hands(self.certificate.clone()).await?;
        }
        let facts = SessionFacts {
            listener: self.name.clone(),
            peer: visitor.peer,
            peer_name: None,
            helo: None,
            tls_version: visitor.stream.tls_version(),
            auth_user: None,
        };
        let mut session = Session::new(intake.clone(), facts);
        if let Some(reply) = session.connect().await {
            visitor.refuse(&reply).await?;
            return Ok(None);
        }
        Ok(visitor.is_silent().await?.then_some((visitor, Some(session))))
    }
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
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In bytes; nothing is run.
    fn size<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_that_waits_keeps_less_than_4_kib_of_its_own() {
        let task = size(|(door, visitor): (Door, Visitor)| async move { door.receive(visitor, false).await });
        let boxed = size_of::<Connection<Limited<Session>>>();
        assert!(task + boxed <= 4096, "{task} for the task and {boxed} for the session");
    }
}
