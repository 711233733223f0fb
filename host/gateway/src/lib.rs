//! The way of a mail, from the listener to its last recipient's outcome, and what controls it.
//!
//! ```text
//! intake:   listener → connection → session ─ on-recipient, on-message ─► queue.enqueue: ours from here
//! delivery: claim → route (on-route) → lane → attempt → settle;  next hop away: on-offline
//! ```

pub mod admin;
mod alerts;
mod authenticity;
pub mod check_in;
pub mod clock;
pub mod config;
mod delivery;
mod disk;
mod dns;
mod domains;
mod dsn;
mod events;
mod gateway;
mod identity;
mod intake;
mod limits;
mod memory;
pub mod odmr;
mod plugins;
pub mod probe;
#[doc(hidden)]
pub mod proxy;
mod random;
mod read_back;
mod reload;
mod run_file;
mod stories;
mod stream;
mod tls;

#[doc(hidden)]
pub use authenticity::{author_domain, without_results_of};
pub use config::Patience as ClientPatience;
pub use delivery::{Attempt, Connection as SendingConnection, Means, Patience, Reroute, Target, Told, Watch, connect};
pub use dns::{AnchorError, Dns};
pub use domains::Domains;
pub use gateway::{Running, StartError, start};
pub use intake::{Connection as ReceivingConnection, MailFacts, Receiver};
pub use plugins::{MetricValue, PluginMetric, PluginStatus, Plugins};
pub use reload::{Fault, Status};
pub use run_file::RunFile;
pub use stream::Stream;
pub use tls::{ClientTls, TlsError, check_files as check_tls_files};
