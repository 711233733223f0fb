//! Answers ETRN (RFC 1985): whether a domain's mail may be started, and how much waits.
//!
//! Anybody may ask: mail goes to the domain's own next hop, whoever asked, and no more often than the deliverer lets it.

use super::session::Intake;
use mail::{Domain, Reply, SessionFacts};
use smtp::Node;
use tracing::info;

/// Domains under one name that are started at once.
const MAX_SUBDOMAINS: usize = 100;

impl Intake {
    pub(super) async fn start(&self, node: &Node, session: &SessionFacts) -> Reply {
        let (Node::Domain(name) | Node::Subdomains(name)) = node;
        // A name that is served itself, or its owner asks for names of strangers. RCPT tells as much.
        if self.domains.get(name).is_none() {
            return not_allowed(name);
        }
        let mut waiting = self.deliverer.start_domain(name).await;
        if let Node::Subdomains(name) = node {
            for domain in self.under(name) {
                waiting += self.deliverer.start_domain(&domain).await;
            }
        }
        info!(peer = %session.peer, node = %name, waiting, "ETRN");
        started(name, waiting)
    }

    fn under(&self, name: &Domain) -> Vec<Domain> {
        let domains = self.domains.all();
        let is_under =
            |domain: &&Domain| domain.as_str().strip_suffix(name.as_str()).is_some_and(|label| label.ends_with('.'));
        domains.keys().filter(is_under).take(MAX_SUBDOMAINS).cloned().collect()
    }
}

fn not_allowed(name: &Domain) -> Reply {
    Reply::new(459, (4, 7, 1), format!("[WP-ETRN] Node {name} not allowed: it is not served here"))
}

/// RFC 1985 §5.2.
fn started(name: &Domain, waiting: usize) -> Reply {
    match waiting {
        0 => Reply::new(251, (2, 0, 0), format!("No messages waiting for node {name}")),
        many => Reply::new(253, (2, 0, 0), format!("{many} pending messages for node {name} started")),
    }
}
