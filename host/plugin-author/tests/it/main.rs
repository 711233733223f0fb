//! What a person meets who makes a project: new, build, and what is said when something is missing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod build;
mod new;
