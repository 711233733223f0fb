//! The crate's promises, kept over whole sessions in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod chaos;
mod client;
mod client_tls;
mod dialogue;
mod gateway;
mod odmr;
mod relay;
mod script;
mod smuggling;
