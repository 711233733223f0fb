//! From the durable record to each recipient's outcome.

mod connection;
mod deliver;
mod in_flight;
mod job;
mod lane;
mod route;
mod settle;

pub use connection::{Attempt, Connection, connect};
pub use deliver::{Deliverer, DelivererParts};
