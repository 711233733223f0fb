//! The way of a mail, from the listener to its last recipient's outcome, and what controls it.

pub mod config;
