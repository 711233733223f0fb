//! Real components in the real engine: what they may do, and what the mail's fate is when they misbehave.

// Helpers outside of test functions may panic too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod breaking;
mod deliveries;
mod hooks;
mod hostile;
mod http;
mod limits;
mod loading;
mod messages;
mod records;
mod released;
mod resolver;
mod rig;
mod shadows;
