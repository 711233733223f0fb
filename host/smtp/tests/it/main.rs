//! The crate's promises, kept over whole sessions in memory.

mod client;
mod dialogue;
mod gateway;
mod relay;
mod smuggling;
