//! Runs plugins outside of a gateway: scenarios, single mails, recorded mail. The engine and its limits are the real
//! ones; the clock, DNS, web servers and state are made up.

mod fake;

pub use fake::kv::{Entry, MemoryKv};
