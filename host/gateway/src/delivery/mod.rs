//! From the durable record to each recipient's outcome.

mod attempt;
mod away;
mod collect;
mod connection;
mod connector;
mod deliver;
mod flush;
mod in_flight;
mod job;
mod lane;
mod online;
mod own;
mod pace;
mod route;
mod settle;
mod settling;
#[cfg(test)]
mod tests;
mod watch;

pub use collect::{Round, as_next_hop};
pub use connection::{Attempt, Connection, Target, connect};
pub use connector::Connector;
pub use deliver::{Deliverer, DelivererParts};
pub use watch::{Patience, Told, Watch};
