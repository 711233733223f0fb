//! The fields of a report for programs (RFC 3464 §2.2 and §2.3).

use super::{Action, Told, encoding::Form, encoding::from_xtext};
use mail::{EnhancedCode, Failure, FailureKind, NextHop, Timestamp};

pub fn per_message(form: Form, hostname: &str, envid: Option<&str>, arrived: Timestamp) -> String {
    let mut out = String::new();
    form.field(&mut out, "Reporting-MTA", &format!("dns; {hostname}"));
    if let Some(envid) = envid {
        form.field(&mut out, "Original-Envelope-Id", &from_xtext(envid));
    }
    form.field(&mut out, "Arrival-Date", &arrived.to_rfc5322());
    out
}

/// With the blank line that separates it from what stands before.
pub fn per_recipient(form: Form, Told { recipient, action }: &Told, now: Timestamp) -> String {
    let mut out = "\r\n".to_owned();
    let mut field = |name, value: &str| form.field(&mut out, name, value);
    if let Some(orcpt) = &recipient.orcpt {
        field("Original-Recipient", &form.original_recipient(orcpt));
    }
    field("Final-Recipient", &form.address(&recipient.address));
    field("Action", action.as_str());
    field("Status", &status(action).to_string());
    if let Some(hop) = action.next_hop() {
        field("Remote-MTA", &format!("dns; {}", mta_name(hop)));
    }
    if let Some(reply) = action.reply() {
        field("Diagnostic-Code", &format!("smtp; {reply}"));
        // Where it has said nothing, it may not have been asked now: one that is away is known to be.
        field("Last-Attempt-Date", &now.to_rfc5322());
    }
    if let Action::Delayed { until, .. } = action {
        field("Will-Retry-Until", &until.to_rfc5322());
    }
    out
}

/// A domain name, or an address in brackets.
fn mta_name(hop: &NextHop) -> String {
    match hop.ip() {
        Some(std::net::IpAddr::V4(ip)) => format!("[{ip}]"),
        Some(std::net::IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        None => hop.host.clone(),
    }
}

/// The status of RFC 3463: the next hop's own, else by what went wrong.
pub fn status(action: &Action) -> EnhancedCode {
    match action {
        Action::Failed(failure) => of_failure(5, failure),
        Action::Delayed { failure, .. } => {
            failure.as_ref().map_or(EnhancedCode::new(4, 4, 7), |failure| of_failure(4, failure))
        }
        Action::Relayed { reply, .. } | Action::Delivered { reply, .. } => {
            reply.enhanced.filter(|code| code.class == 2).unwrap_or(EnhancedCode::new(2, 0, 0))
        }
    }
}

fn of_failure(class: u8, failure: &Failure) -> EnhancedCode {
    use FailureKind as Kind;
    if let Some(code) = failure.reply.as_ref().and_then(|reply| reply.enhanced).filter(|code| code.class != 2) {
        return EnhancedCode { class, ..code };
    }
    let (subject, detail) = match failure.kind {
        Kind::Dns => (4, 4),
        Kind::Connect => (4, 1),
        Kind::Timeout | Kind::TempFail => (4, 7),
        Kind::Tls | Kind::Identity => (7, 5),
        Kind::Protocol => (5, 0),
        Kind::PermFail | Kind::Other => (0, 0),
    };
    EnhancedCode::new(class, subject, detail)
}
