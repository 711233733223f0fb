//! The listener that serves check-ins and nothing else, and the clock that ends leases.

use super::{http, update::CheckIns};
use crate::{
    config::CheckInListener,
    delivery::Deliverer,
    limits::{Limits, customer},
    stream::Stream,
    tls::ServerTls,
};
use axum::{Extension, Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use mail::{Domain, Timestamp};
use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

const CONNECTIONS: u32 = 256;
const CONNECTIONS_PER_ADDRESS: u32 = 8;
/// The handshake; all of the header.
const STEP: Duration = Duration::from_secs(10);
/// The whole of a connection: one request.
const WHOLE: Duration = Duration::from_secs(60);
const MAX_HEADER: usize = 16 << 10;
const MAX_FIELDS: usize = 64;
/// Leases are looked at again after this time: the clock may have been set.
const LOOK: Duration = Duration::from_secs(30);

pub struct CheckInSocket {
    socket: TcpListener,
    tls: bool,
}

impl CheckInSocket {
    pub async fn bind(settings: &CheckInListener) -> io::Result<Self> {
        let socket = TcpListener::bind(settings.address).await?;
        if !settings.tls && !settings.address.ip().is_loopback() {
            warn!(address = %settings.address, "check-ins in clear text: anybody on the way can read the passwords; leave out tls = \"none\" under [check-in]");
        }
        Ok(Self { socket, tls: settings.tls })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub async fn run(
        self,
        check_ins: Arc<CheckIns>,
        tls: Arc<ServerTls>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) {
        let routes: Router = http::routes(check_ins);
        let limits = Limits::of_connections(CONNECTIONS, CONNECTIONS_PER_ADDRESS);
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = shutdown.cancelled() => return,
            };
            let (tcp, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "cannot accept a check-in");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(place) = limits.enter(0, Some(customer(peer.ip()))) else { continue };
            let (routes, config, shutdown) = (routes.clone(), self.tls.then(|| tls.current()), shutdown.clone());
            tasks.spawn(async move {
                let _place = place;
                let served = tokio::time::timeout(WHOLE, serve(tcp, peer, routes, config));
                tokio::select! {
                    served = served => if let Ok(Err(error)) = served {
                        debug!(%peer, %error, "check-in connection ended");
                    },
                    () = shutdown.cancelled() => {}
                }
            });
        }
    }
}

async fn serve(
    tcp: TcpStream,
    peer: SocketAddr,
    routes: Router,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> io::Result<()> {
    let mut stream = Stream::Plain(tcp);
    if let Some(config) = tls {
        stream = tokio::time::timeout(STEP, stream.accept_tls(config)).await??;
    }
    let service = TowerToHyperService::new(routes.layer(Extension(ConnectInfo(peer))));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(STEP)
        .max_buf_size(MAX_HEADER)
        .max_headers(MAX_FIELDS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

/// A lease ends by itself: its lane goes away then, not only with the next mail.
pub async fn watch_leases(deliverer: Arc<Deliverer>, shutdown: CancellationToken) {
    let mut changes = deliverer.connector.leases.changes();
    // Which end of each was told.
    let mut told: HashMap<Domain, Timestamp> = HashMap::new();
    loop {
        changes.mark_unchanged();
        let now = deliverer.clock.now();
        let mut next = LOOK;
        for domain in deliverer.domains.all().values().filter(|domain| domain.config.lease().is_some()) {
            let Some(lease) = deliverer.connector.leases.of(&domain.config.name) else { continue };
            if now < lease.until {
                next = next.min(lease.until.since(now));
            } else if told.insert(domain.config.name.clone(), lease.until) != Some(lease.until) {
                deliverer.lease_ended(domain);
            }
        }
        tokio::select! {
            // Not a moment before: time is counted in milliseconds.
            () = tokio::time::sleep(next + Duration::from_millis(1)) => {}
            changed = changes.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
    }
}
