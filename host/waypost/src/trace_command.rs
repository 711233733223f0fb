//! `waypost trace`: one mail's whole story, from the running gateway or, where none runs, from its journal.

use crate::{
    admin_client::{AdminClient, AdminError},
    cli::TraceArgs,
};
use gateway::{admin::TraceQuery, config::Config};
use journal::{Intake, Outcome, ReadError, Reader, Step, Story, Told};
use mail::{CallRecord, Mode, Timestamp};
use std::io::{self, Write};

#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("{0}")]
    Admin(#[from] AdminError),
    #[error("{0}")]
    Journal(#[from] ReadError),
    #[error("{0}")]
    Query(String),
    #[error("nothing is known of such a mail: it is older than the journal keeps, or never came here")]
    Nothing,
}

pub fn run(config: &Config, args: TraceArgs) -> Result<(), TraceError> {
    let TraceArgs { id, sender, recipient, limit, json } = args;
    let query = TraceQuery { id, sender, recipient, limit: Some(limit) };
    let found = query.found().map_err(TraceError::Query)?;
    let stories: Vec<Story> = match ask(config, &query) {
        Ok(stories) => stories,
        Err(AdminError::Refused(told)) => return Err(AdminError::Refused(told).into()),
        Err(_) => journal(config)?.stories(&found)?,
    };
    if json {
        say(&serde_json::to_string_pretty(&stories).unwrap_or_default());
    }
    if stories.is_empty() {
        return Err(TraceError::Nothing);
    }
    if !json {
        // The latest last, where the eye is.
        stories.iter().rev().for_each(|story| say(&tell(story)));
    }
    Ok(())
}

fn ask(config: &Config, query: &TraceQuery) -> Result<Vec<Story>, AdminError> {
    let TraceQuery { id, sender, recipient, limit } = query.clone();
    let limit = limit.map(|limit| limit.to_string());
    let all = [("id", id), ("sender", sender), ("recipient", recipient), ("limit", limit)];
    let given: Vec<(&str, String)> = all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    AdminClient::new(config)?.get("/api/trace", &given)
}

/// Of a gateway that doesn't run.
pub fn journal(config: &Config) -> Result<Reader, ReadError> {
    Reader::open(&config.data_dir.join("journal.sqlite"))
}

/// A reader that has gone (`waypost trace … | head`) is no reason to fail.
pub fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

fn tell(story: &Story) -> String {
    let mut lines = vec![format!("{}", story.id)];
    story.steps.iter().for_each(|told| step(&mut lines, told));
    lines.push(String::new());
    lines.join("\n")
}

fn step(lines: &mut Vec<String>, Told { at, step }: &Told) {
    let at = time(*at);
    match step {
        Step::Intake(told) => intake(lines, &at, told),
        Step::Calls { calls, .. } => {
            lines.push(format!("  {at}  plugins"));
            calls.iter().for_each(|record| call(lines, record));
        }
        Step::Attempt { next_hop, took_ms, transcript } => {
            lines.push(format!("  {at}  attempt at {next_hop}, {took_ms} ms"));
            lines.extend(transcript.lines().map(|line| format!("      {line}")));
        }
        Step::Outcome(told) => outcome(lines, &at, told),
        Step::Note { text } => lines.push(format!("  {at}  {text}")),
    }
}

fn intake(lines: &mut Vec<String>, at: &str, intake: &Intake) {
    let sender = if intake.sender.is_empty() { "<>" } else { &intake.sender };
    let size = intake.size.map(|size| format!(", {size} bytes")).unwrap_or_default();
    lines.push(format!("  {at}  from {sender} for {}{size}", intake.domain));
    if let Some(session) = &intake.session {
        let name = session.peer_name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let helo = session.helo.as_ref().map(|helo| format!(", which says it is {helo}")).unwrap_or_default();
        let tls = session.tls_version.as_deref().unwrap_or("no TLS");
        lines.push(format!("      client {}{name}{helo}; {tls}; listener {}", session.peer, session.listener));
    }
    if !intake.authenticity.is_none() {
        lines.push(format!("      {}", intake.authenticity));
    }
    let (connect, message): (Vec<_>, Vec<_>) = intake.calls.iter().partition(|c| c.hook == mail::Hook::OnConnect);
    connect.into_iter().for_each(|record| call(lines, record));
    for asked in &intake.recipients {
        lines.push(format!("      RCPT {}: {}", asked.address, asked.reply));
        asked.calls.iter().for_each(|record| call(lines, record));
    }
    message.into_iter().for_each(|record| call(lines, record));
    lines.push(format!("      {}: {}", intake.outcome, intake.reply));
}

fn call(lines: &mut Vec<String>, call: &CallRecord) {
    let version = call.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let shadow = if call.mode == Mode::Shadow { " (shadow: changes nothing)" } else { "" };
    lines.push(format!("        {}{version} {}{shadow}: {}", call.plugin, call.hook.as_str(), call.answer));
    if let Some(failure) = &call.failure {
        lines.push(format!("          failed ({}): {}", failure.kind, failure.text));
        lines.extend(failure.backtrace.iter().map(|frame| format!("            in {frame}")));
    }
    lines.extend(call.edits.iter().map(|edit| format!("          {edit}")));
    let spent = &call.spent;
    let fuel = spent.fuel.map(|fuel| format!(", {fuel} instructions")).unwrap_or_default();
    let asked: Vec<String> = call.host_calls.iter().map(|(name, count)| format!("{name} ×{count}")).collect();
    let asked = if asked.is_empty() { String::new() } else { format!("; asked {}", asked.join(", ")) };
    let kib = spent.peak_memory / 1024;
    lines.push(format!("          {} µs, {} µs CPU, {kib} KiB{fuel}{asked}", spent.wall_us, spent.cpu_us));
}

fn outcome(lines: &mut Vec<String>, at: &str, told: &Outcome) {
    let Outcome { recipient, outcome, attempt, next_hop, reason, until } = told;
    let hop = next_hop.as_ref().map(|hop| format!(", {hop}")).unwrap_or_default();
    let until = until.as_ref().map(|until| format!(", until {until}")).unwrap_or_default();
    lines.push(format!("  {at}  {recipient} {outcome} (attempt {attempt}{hop}{until})"));
    lines.extend(reason.iter().map(|reason| format!("      {reason}")));
}

/// To the millisecond, in UTC.
fn time(at: Timestamp) -> String {
    format!("{}.{:03}Z", at.to_rfc3339().trim_end_matches('Z'), at.as_millis() % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::{CallFailure, Hook, MailId, Spent};

    #[test]
    fn a_story_reads_from_the_session_to_the_outcome() {
        let failure =
            CallFailure { kind: "trap".into(), text: "unreachable".into(), backtrace: vec!["tag::run".into()] };
        let record = CallRecord {
            about: None,
            plugin: "tag".into(),
            version: Some("0.1.0".into()),
            hook: Hook::OnMessage,
            mode: Mode::Shadow,
            at: Timestamp::from_secs(1),
            answer: "pass".into(),
            failure: Some(failure),
            edits: vec!["+ X-Tag: 1".into()],
            spent: Spent { wall_us: 12, cpu_us: 8, peak_memory: 2048, fuel: None },
            host_calls: vec![("kv.get".into(), 2)],
        };
        let intake = Intake {
            domain: "example.org".into(),
            session: None,
            sender: String::new(),
            recipients: Vec::new(),
            size: Some(3),
            authenticity: mail::Authenticity { spf: mail::AuthResult::Pass, ..Default::default() },
            outcome: "queued".into(),
            reply: "250 ok".into(),
            calls: vec![record],
        };
        let steps = vec![Told { at: Timestamp::from_millis(1_500), step: Step::Intake(Box::new(intake)) }];
        assert_eq!(
            tell(&Story { id: MailId::from_u128(1), steps }),
            "00000000000000000000000001\n  1970-01-01T00:00:01.500Z  from <> for example.org, 3 bytes\n      \
             spf=pass dkim=none dmarc=none arc=none\n        tag 0.1.0 on-message (shadow: changes nothing): pass\n          failed (trap): unreachable\n            \
             in tag::run\n          + X-Tag: 1\n          12 µs, 8 µs CPU, 2 KiB; asked kv.get ×2\n      queued: 250 ok\n"
        );
    }
}
