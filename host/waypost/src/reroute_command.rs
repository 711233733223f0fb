//! `waypost queue reroute`: says what would move where, has it moved, and takes it back.

use crate::{
    admin_client::{AdminClient, AdminError},
    cli::RerouteArgs,
    trace_command::say,
};
use gateway::{
    Reroute,
    admin::{Changed, Moved},
};

pub fn run(client: &AdminClient, args: RerouteArgs) -> Result<(), AdminError> {
    let RerouteArgs { which, to, dry_run, list, undo, json } = args;
    if list {
        let rules: Vec<Reroute> = client.get("/api/queue/reroute", &[])?;
        return show(json, &rules, || rules_text(&rules));
    }
    if let Some(id) = undo {
        let changed: Changed = client.post("/api/queue/reroute/undo", &[("id", id.clone())])?;
        let text =
            || format!("{id} is undone; {} recipients take the route of their domain's file", changed.recipients);
        return show(json, &changed, text);
    }
    let mut query: Vec<(&str, String)> = which.pairs().chain(to.map(|to| ("to", to))).collect();
    query.push(("dry-run", dry_run.to_string()));
    let moved: Moved = client.post("/api/queue/reroute", &query)?;
    show(json, &moved, || moved_text(&moved, dry_run))
}

fn show(json: bool, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> Result<(), AdminError> {
    // Our own types: they always serialise.
    say(&if json { serde_json::to_string_pretty(value).unwrap_or_default() } else { text() });
    Ok(())
}

fn moved_text(moved: &Moved, dry_run: bool) -> String {
    if moved.moves.is_empty() && moved.rule.is_none() {
        return "Nothing moves.".to_owned();
    }
    let line = |part: &gateway::admin::Move| {
        let from = part.from.as_deref().unwrap_or("(not tried yet)");
        format!("{:>8}  {:<30}  {from} → {}", part.recipients, part.domain, part.to)
    };
    let mut lines: Vec<String> = moved.moves.iter().map(line).collect();
    let more = if moved.more { ", and more than was looked at" } else { "" };
    lines.push(match (&moved.rule, dry_run) {
        (_, true) => format!("{} recipients would move{more}.", moved.recipients),
        (Some(rule), false) => {
            format!(
                "{} recipients move{more}. Take it back with: waypost queue reroute --undo {rule}",
                moved.recipients
            )
        }
        (None, false) => format!("{} recipients take the route of their domain's file{more}.", moved.recipients),
    });
    lines.join("\n")
}

fn rules_text(rules: &[Reroute]) -> String {
    if rules.is_empty() {
        return "There is no rule: mail goes where its domain's file says.".to_owned();
    }
    let line = |rule: &Reroute| {
        let who = [
            rule.domain.as_ref().map(|domain| format!("domain {domain}")),
            rule.from.as_ref().map(|hop| format!("for {hop}")),
            rule.sender.as_ref().map(|sender| format!("from {sender}")),
            rule.recipient.as_ref().map(|recipient| format!("to {recipient}")),
        ];
        let who: Vec<String> = who.into_iter().flatten().collect();
        let made = mail::Timestamp::from_millis(rule.made_at).to_rfc3339();
        format!("{:<5} mail received before {made}, {} → {}", rule.id, who.join(", "), rule.to)
    };
    rules.iter().map(line).collect::<Vec<_>>().join("\n")
}
