//! From the durable record to each recipient's outcome.

mod attempt;
mod away;
mod breaker;
mod collect;
mod concurrency;
mod connection;
mod connector;
mod deliver;
mod doubt;
mod flush;
mod in_flight;
mod job;
mod lane;
mod leased;
mod notify;
mod online;
mod outgoing;
pub mod own;
mod pace;
mod probing;
mod reroute;
mod route;
mod settle;
mod settling;
mod switches;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

pub use collect::{Round, as_next_hop};
pub use connection::{Attempt, Connection, Means, Target, connect};
pub use connector::Connector;
pub use deliver::{Deliverer, DelivererParts};
pub use notify::NotifierCounts;
pub use reroute::{Reroute, RerouteError};
pub use watch::{Patience, Told, Watch};
