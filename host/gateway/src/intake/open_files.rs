//! How many files and connections the process may have open: as many as the system lets it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// For the queue, plugins, next hops and the admin interface.
const OWN: u64 = 1024;

/// Raises the limit as far as it goes, and tells where that is too little for so many connections.
pub fn raise_open_files(max_connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let most = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let needed = needed(max_connections);
    if let Some(most) = most.filter(|most| *most < needed) {
        warn!(
            most,
            needed,
            "max-connections = {max_connections} cannot be reached with so few open files; raise LimitNOFILE= in the unit, or `ulimit -n`"
        );
    }
}

/// A client that sends a large mail has its connection and the file that the mail goes to.
fn needed(max_connections: usize) -> u64 {
    (max_connections as u64).saturating_mul(2).saturating_add(OWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_is_reckoned_with_the_file_of_a_large_mail() {
        assert_eq!(needed(10_000), 21_024);
    }
}
