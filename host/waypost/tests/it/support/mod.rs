//! What every scenario needs: a gateway process, next hops that record, and tools that we did not write.

pub mod admin;
pub mod content;
pub mod faulty_hop;
pub mod gateway;
pub mod load;
pub mod next_hop;
pub mod proving_hop;
pub mod scripted_dns;
pub mod signed_zone;
pub mod smtp;
pub mod tap;
pub mod tmpfs;
pub mod tools;
pub mod tracer;
pub mod webhook;

use std::time::{Duration, Instant};

/// Waits for a condition; panics with `what` when it does not come.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    until_within(Duration::from_secs(60), what, &mut condition)
}

pub fn until_within<T>(limit: Duration, what: &str, condition: &mut impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "did not come within {limit:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
