//! What is thrown at each parser and at whole sessions, and what must hold whatever comes.
//!
//! One function for each target; the fuzzer in `libfuzzer/` and `tests/replay.rs` call the same ones. They look at
//! the project from outside and never reach for a private part of it.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a target tells a finding")]

#[cfg(feature = "gateway")]
mod authenticity;
mod client;
pub mod corpus;
mod driver;
#[cfg(feature = "gateway")]
mod files;
mod odmr;
mod oracle;
mod pieces;
mod session;
#[cfg(feature = "gateway")]
mod spool;
#[cfg(feature = "gateway")]
mod way_in;
mod words;

/// A target by the name of its directory in `corpus/`.
pub type Target = fn(&[u8]);

pub const TARGETS: &[(&str, Target)] = &[
    ("address", words::address),
    #[cfg(feature = "gateway")]
    ("authenticity", authenticity::authenticity),
    ("bdat", session::bdat),
    #[cfg(feature = "gateway")]
    ("body", files::body),
    #[cfg(feature = "gateway")]
    ("check_in", way_in::check_in),
    ("client", client::client),
    ("command", session::command),
    #[cfg(feature = "gateway")]
    ("config", files::config),
    ("data", session::data),
    ("foreign_reply", words::foreign_reply),
    ("header", words::header),
    #[cfg(feature = "gateway")]
    ("login", way_in::login),
    ("odmr", odmr::odmr),
    #[cfg(feature = "gateway")]
    ("proxy", way_in::proxy),
    #[cfg(feature = "gateway")]
    ("record", files::record),
    ("reply", client::reply),
    ("session", session::session),
    #[cfg(feature = "gateway")]
    ("spool", spool::spool),
    ("stuffing", client::stuffing),
];

/// The target `name`. Panics where there is none.
pub fn target(name: &str) -> Target {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target).expect("a target")
}
