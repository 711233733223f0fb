//! `waypost domain show`: all that is known of one domain, in words.

use super::{DomainError, print, state};
use crate::{
    admin_client::{AdminClient, AdminError},
    trace_command::say,
};
use gateway::{
    admin::{DomainShown, IdentityShown},
    probe::{Report, Step},
};
use mail::Domain;
use serde_json::Value;

pub fn run(client: &AdminClient, domain: &Domain, json: bool) -> Result<(), DomainError> {
    let mut shown: Value = client.get(&format!("/api/domains/{domain}"), &[])?;
    let keys: Value = client.get(&format!("/api/domains/{domain}/identity"), &[])?;
    if json {
        if let Some(object) = shown.as_object_mut() {
            object.insert("keys".to_owned(), keys);
        }
        print(&shown);
        return Ok(());
    }
    let shown: DomainShown = serde_json::from_value(shown)
        .map_err(|error| AdminError::Refused(format!("an answer of another version: {error}")))?;
    tell(&shown).iter().for_each(|line| say(line));
    super::trust::tell_keys(&keys).iter().for_each(|line| say(line));
    if let Some(report) = &shown.last_probe {
        say(&last_probe(report));
    }
    Ok(())
}

fn tell(shown: &DomainShown) -> Vec<String> {
    let DomainShown { entry, file, tls, accept, retention_s, plugins, offline_action, redirect, .. } = shown;
    let line = |name: &str, value: String| format!("{name:<12}{value}");
    let days = retention_s / 86_400;
    let kept = if days * 86_400 == *retention_s { format!("{days} d") } else { format!("{retention_s} s") };
    let mut lines = vec![
        entry.name.clone(),
        line("state", state(entry)),
        line("file", file.clone()),
        line("next hop", format!("{}, tls {tls}", entry.next_hops.join(", "))),
        line("accept", accept.clone()),
        line("waiting", format!("{} recipients, {} of them held", entry.waiting, entry.held)),
        line("quarantined", entry.quarantined.to_string()),
        line("retention", kept),
        line(
            "offline",
            if redirect.is_empty() {
                offline_action.clone()
            } else {
                format!("{offline_action} to {}", redirect.join(", "))
            },
        ),
        line("plugins", if plugins.is_empty() { "none".to_owned() } else { plugins.join(", ") }),
    ];
    for away in &entry.away {
        lines.push(line("away", format!("{} since {}: {}", away.next_hop, away.since, away.reason)));
    }
    lines.extend(shown.identity.as_ref().map(|asked| line("identity", identity(asked))));
    lines.extend(shown.check_in.as_ref().map(|user| line("check-in", format!("as {user}"))));
    lines
}

fn identity(asked: &IdentityShown) -> String {
    let all = [
        (asked.pins > 0).then(|| format!("one of {} pinned keys", asked.pins)),
        asked.trust_on_first_probe.then(|| "the key of the first probe".to_owned()),
        asked.name.as_ref().map(|name| format!("a certificate for {name}")),
        asked.dane.then(|| "DANE".to_owned()),
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn last_probe(report: &Report) -> String {
    let verdict = if report.passed { "passed" } else { "failed" };
    let mut lines = vec![format!("last probe  {}: {verdict}", report.at)];
    let mut hop = None;
    for step @ Step { next_hop, .. } in &report.steps {
        if hop.replace(next_hop) != Some(next_hop) {
            lines.push(format!("  {next_hop}"));
        }
        lines.push(format!("  {step}"));
    }
    lines.join("\n")
}
