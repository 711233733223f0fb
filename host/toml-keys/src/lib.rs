//! Reads TOML files that people write, key by key: every mistake at once, each with its place and what was expected.
//!
//! Nothing here knows what the keys mean, and nothing stops at the first mistake.

mod mistake;
mod table;
mod value;

pub use mistake::{Mistake, Mistakes, Place};
pub use table::{Noted, Source, Table};
pub use value::Value;
