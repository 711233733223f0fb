//! From the listener to the durable record: what a client says, and what it is answered.

mod account;
mod admission;
mod connection;
mod data;
mod etrn;
mod incoming;
mod listener;
mod policy;
mod receiver;
mod replies;
mod session;
mod trace_fields;

pub use account::Recorder;
pub use connection::Connection;
pub use incoming::Incoming;
pub use listener::{Listener, Service};
pub use receiver::{MailFacts, Receiver};
pub use session::Intake;
