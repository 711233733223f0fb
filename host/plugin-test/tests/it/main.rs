//! Scenarios against real components: what holds, what doesn't and how that is told.

// Helpers outside of test functions may panic too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod differences;
mod holding;
mod replaying;
mod rig;
