//! `waypost queue …`: asks the running gateway and prints.

use crate::{
    admin_client::{AdminClient, AdminError},
    cli::{ActArgs, FilterArgs, QueueCommand},
    reroute_command,
};
use gateway::{
    admin::{Changed, Listed},
    config::Config,
};
use std::io::{self, Write};

/// As `println!`, but a reader that has gone (`waypost queue list | head`) is no reason to panic.
macro_rules! say {
    ($($text:tt)*) => {{
        let _ = writeln!(io::stdout(), $($text)*);
    }};
}

pub fn run(config: &Config, command: QueueCommand) -> Result<(), AdminError> {
    let client = AdminClient::new(config)?;
    match command {
        QueueCommand::List { filter, json, limit } => {
            let mut query = pairs(&filter);
            query.push(("limit", limit.to_string()));
            let listed: Listed = client.get("/api/queue", &query)?;
            if json {
                print_json(&listed)
            } else {
                print_list(&listed)
            }
            Ok(())
        }
        QueueCommand::Retry(act) => change(&client, "retry", "due now", &act, Vec::new()),
        QueueCommand::Reroute(args) => reroute_command::run(&client, args),
        QueueCommand::Hold { act, reason } => change(&client, "hold", "held", &act, vec![("reason", reason)]),
        QueueCommand::Release(act) => change(&client, "release", "released", &act, Vec::new()),
        QueueCommand::Remove(act) => change(&client, "remove", "removed", &act, Vec::new()),
    }
}

fn change(
    client: &AdminClient,
    call: &str,
    done: &str,
    act: &ActArgs,
    mut extra: Vec<(&'static str, String)>,
) -> Result<(), AdminError> {
    let mut query = pairs(&act.filter);
    query.append(&mut extra);
    let changed: Changed = client.post(&format!("/api/queue/{call}"), &query)?;
    if act.json {
        print_json(&changed);
    } else {
        say!("{} recipient{} {done}", changed.recipients, if changed.recipients == 1 { "" } else { "s" });
    }
    Ok(())
}

fn pairs(filter: &FilterArgs) -> Vec<(&'static str, String)> {
    let FilterArgs { id, which, state, older_than } = filter.clone();
    let own = [("id", id), ("state", state), ("older-than", older_than)];
    own.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(which.pairs()).collect()
}

fn print_json(value: &impl serde::Serialize) {
    // Our own types: they always serialise.
    say!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
}

fn print_list(listed: &Listed) {
    if listed.recipients.is_empty() {
        say!("Nothing waits.");
        return;
    }
    say!("{:<26}  {:<11}  {:<20}  {:<20}  {:>3}  SENDER → RECIPIENT", "ID", "STATE", "QUEUED", "DUE", "TRY");
    for entry in &listed.recipients {
        let due = entry.due_at.as_deref().unwrap_or("when told");
        let sender = if entry.sender.is_empty() { "<>" } else { &entry.sender };
        say!(
            "{:<26}  {:<11}  {:<20}  {:<20}  {:>3}  {} → {}",
            entry.id,
            entry.state,
            entry.queued_at,
            due,
            entry.attempts,
            sender,
            entry.recipient
        );
        let why = [entry.waiting_for.as_ref().map(|hop| format!("waits for {hop}")), entry.reason.clone()];
        let why: Vec<String> = why.into_iter().flatten().collect();
        if !why.is_empty() {
            say!("{:28}{}", "", why.join(": "));
        }
    }
    let more = if listed.more { ", more than shown here (see --limit)" } else { "" };
    say!("{} recipients of {} mails wait{more}.", listed.counts.recipients, listed.counts.mails);
}
