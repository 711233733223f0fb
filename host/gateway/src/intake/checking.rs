//! Has it found out where a mail comes from, and sees to it that everyone who asks later hears the same.
//!
//! Only for domains where something comes of it; others wait for nothing.

use super::policy::Policy;
use crate::authenticity::{Checked, Checks};
use mail::{Content, SessionFacts};
use std::{net::IpAddr, sync::Arc};
use tracing::info;

/// Once for a connection, and again if it speaks for another client. `named` is the address that was asked about.
pub async fn name_client(checks: &Checks, facts: &mut Arc<SessionFacts>, named: &mut Option<IpAddr>) {
    let ip = facts.peer.ip();
    if facts.peer_name.is_some() || *named == Some(ip) {
        return;
    }
    *named = Some(ip);
    if let Some(name) = checks.peer_name(ip).await {
        Arc::make_mut(facts).peer_name = Some(name);
    }
}

/// The content as it goes on. What was found is in the transaction, and in the field on top.
pub async fn check(checks: &Checks, policy: &mut Policy, spf: Option<Checked>, content: Content) -> Content {
    let transaction = &mut policy.transaction;
    if transaction.recipients.is_empty() || !checks.are_wanted_by(&policy.domain) {
        return checks.without_foreign_results(content).await;
    }
    // As it was received: whoever signed it may have signed what is then removed.
    let findings = checks.message(&transaction.session, &transaction.sender, spf, &content).await;
    transaction.authenticity = findings.results();
    info!(id = %transaction.id, domain = %transaction.domain, sender = %transaction.sender, peer = %transaction.session.peer,
        outcome = "checked", results = transaction.authenticity.to_string());
    let content = checks.without_foreign_results(content).await;
    checks.with_field(content, &findings, &policy.domain)
}
