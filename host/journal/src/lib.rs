//! What happened to each mail, for people: the journal, and whole transactions kept for replay.
//!
//! No part of the promise: nothing here decides about mail, and a journal that cannot be written, or is too slow,
//! loses steps and counts them.

pub mod recorded;
