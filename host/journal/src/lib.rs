//! What happened to each mail, for people: the journal, and whole transactions kept for replay.
//!
//! No part of the promise: nothing here decides about mail, and a journal that cannot be written, or is too slow,
//! loses steps and counts them.

mod inbox;
mod journal;
mod reader;
pub mod recorded;
mod schema;
mod shadow;
mod step;
mod writer;

#[cfg(test)]
mod tests;

pub use journal::{Journal, OpenError};
pub use reader::{Found, ReadError, Reader};
pub use shadow::Difference;
pub use step::{Asked, Intake, Outcome, Step, Story, Told};
pub use writer::Bounds;
