//! From the listener to the durable record: what a client says, and what it is answered.

mod account;
mod admission;
mod bounds;
mod checking;
mod connection;
mod data;
mod etrn;
mod incoming;
mod judge;
mod limited;
mod listener;
mod mistakes;
mod open_files;
mod origin;
mod policy;
mod receiver;
mod replies;
mod session;
mod timer;
mod trace_fields;
mod welcome;

pub use account::Recorder;
pub use connection::Connection;
pub use incoming::Incoming;
pub use listener::{Listener, Service};
pub use open_files::raise_open_files;
pub use receiver::{MailFacts, Receiver};
pub use session::Intake;
