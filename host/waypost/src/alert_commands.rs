//! `waypost alert …`: asks the running gateway and prints.

use crate::{
    admin_client::{AdminClient, AdminError},
    cli::AlertCommand,
    trace_command::say,
};
use gateway::{
    admin::{Outbox, Trial},
    config::Config,
};

pub fn run(config: &Config, command: AlertCommand) -> Result<(), AdminError> {
    let client = AdminClient::new(config)?;
    match command {
        AlertCommand::List { json } => list(&client, json),
        AlertCommand::Test { domain, json } => test(&client, domain, json),
    }
}

fn list(client: &AdminClient, json: bool) -> Result<(), AdminError> {
    let outbox: Outbox = client.get("/api/alerts", &[])?;
    if json {
        say(&serde_json::to_string_pretty(&outbox).unwrap_or_default());
        return Ok(());
    }
    for alert in &outbox.outstanding {
        say(&format!("{}  {}  {}  {} → {}", alert.id, alert.at, alert.event, alert.domain, alert.target));
        if let Some(error) = &alert.last_error {
            let next = alert.next_try.as_ref().map(|at| format!("; next try {at}")).unwrap_or_default();
            say(&format!("{:28}{} tries: {error}{next}", "", alert.tries));
        }
    }
    let more = if outbox.more { ", and more" } else { "" };
    say(&format!(
        "{} outstanding{more}; since the start {} accepted, {} tries failed, {} given up.",
        outbox.outstanding.len(),
        outbox.sent,
        outbox.failed,
        outbox.dropped
    ));
    Ok(())
}

/// Fails unless each target has accepted it.
fn test(client: &AdminClient, domain: String, json: bool) -> Result<(), AdminError> {
    let trial: Trial = client.post("/api/alerts/test", &[("domain", domain.clone())])?;
    if json {
        say(&serde_json::to_string_pretty(&trial).unwrap_or_default());
    } else {
        for target in &trial.targets {
            let verdict = if target.accepted { "accepted" } else { "not accepted" };
            say(&format!("{}: {verdict}: {}", target.target, target.said));
        }
    }
    if trial.targets.is_empty() {
        let hint = "name some: [offline] alert in the domain's file, or [alerts] to in waypost.toml";
        return Err(AdminError::Refused(format!("nobody hears of {domain}: {hint}")));
    }
    match trial.targets.iter().filter(|target| !target.accepted).count() {
        0 => Ok(()),
        failed => Err(AdminError::Refused(format!("{failed} of {} did not accept it", trial.targets.len()))),
    }
}
