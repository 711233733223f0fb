//! The HTTP interface that the command line speaks to a running gateway.
//!
//! Every call needs the token, and the page asks for it; bodies and answers are JSON. Listens on loopback unless told otherwise.

mod alert_api;
mod api;
mod domains_api;
mod guard;
mod identity_api;
mod journal_api;
mod metrics;
mod page;
mod probe_api;
mod reroute_api;
mod state_api;
mod token;

use crate::{
    check_in::CheckIns, config::Config, delivery::Deliverer, disk::Disk, limits::Limits, plugins::Plugins,
    probe::Prober, reload::Reloader,
};
use queue::Queue;
use std::{io, net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use alert_api::{Outbox, Trial};
pub use api::{Changed, Counts, Entry, FilterQuery, Listed};
pub use domains_api::{AwayEntry, DomainEntry, DomainShown, IdentityShown, Switched};
pub use identity_api::{HopIdentity, TrustQuery};
pub use journal_api::{DiffQuery, TraceQuery};
pub use probe_api::{Confirmed, ProbeQuery};
pub use reroute_api::{Move, Moved};

#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("cannot listen on {address} for the admin interface: {source}; choose another under [admin] listen")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot read or make the token file {path}: {source}")]
    Token { path: String, source: io::Error },
}

pub struct Admin {
    socket: TcpListener,
    address: SocketAddr,
    token: Arc<str>,
    hosts: guard::Hosts,
}

/// What the calls act on.
pub struct AdminParts {
    pub queue: Queue,
    pub deliverer: Arc<Deliverer>,
    pub reloader: Arc<Reloader>,
    pub plugins: Arc<dyn Plugins>,
    pub prober: Arc<Prober>,
    pub check_ins: Arc<CheckIns>,
    pub disk: Arc<Disk>,
    pub limits: Arc<Limits>,
}

impl Admin {
    /// A default address that another gateway has is no reason not to relay mail: then any port will
    /// do, and the run file says which. A configured one must be free.
    pub async fn bind(config: &Config) -> Result<Option<Self>, AdminError> {
        let wanted = config.admin.listen;
        let wrong = |source| AdminError::Listen { address: wanted, source };
        let socket = match TcpListener::bind(wanted).await {
            Ok(socket) => socket,
            Err(error) if !config.admin.explicit && error.kind() == io::ErrorKind::AddrInUse => {
                warn!(address = %wanted, "the admin address is taken: using another port");
                TcpListener::bind(SocketAddr::new(wanted.ip(), 0)).await.map_err(wrong)?
            }
            Err(error) => return Err(wrong(error)),
        };
        let address = socket.local_addr().map_err(wrong)?;
        let path = &config.admin.token_file;
        let token = token::load_or_make(path)
            .map_err(|source| AdminError::Token { path: path.display().to_string(), source })?;
        let hosts = guard::hosts(&config.hostname, &config.admin.hosts);
        Ok(Some(Self { socket, address, token: token.into(), hosts }))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn run(self, parts: AdminParts, shutdown: CancellationToken) {
        let AdminParts { queue, deliverer, reloader, plugins, prober, check_ins, disk, limits } = parts;
        let state = api::State { queue, deliverer, reloader, plugins, prober, disk, limits, token: self.token };
        let service = api::router(state, self.hosts, check_ins).into_make_service_with_connect_info::<SocketAddr>();
        let served =
            axum::serve(self.socket, service).with_graceful_shutdown(async move { shutdown.cancelled().await });
        if let Err(error) = served.await {
            warn!(%error, "the admin interface ended");
        }
    }
}
