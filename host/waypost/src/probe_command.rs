//! `waypost probe`: by the running gateway, which mail goes out from, or by this process where none runs.

use crate::{
    admin_client::{AdminClient, AdminError},
    cli::ProbeArgs,
    setup::{self, SetupError},
    trace_command::say,
};
use gateway::{
    admin::{Confirmed, ProbeQuery},
    clock::Clock,
    config::Config,
    probe::{Alone, AloneError, Line, Sent, Step, Summary, Verdict},
};
use mail::{Domain, Outcome};
use std::sync::{Mutex, PoisonError};

#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("waypost: {0}")]
    Admin(#[from] AdminError),
    #[error("waypost: {0}")]
    Alone(#[from] AloneError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("waypost: {0}")]
    Query(String),
    #[error("waypost: {0}")]
    Address(#[from] mail::AddressError),
    /// Said already, step by step.
    #[error("the probe of {0} has failed")]
    Failed(String),
    #[error("the mail was not delivered: {0}")]
    NotDelivered(mail::Failure),
}

impl ProbeError {
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Setup(error) => error.is_configuration(),
            Self::Alone(error) => matches!(error, AloneError::Configuration(_)),
            _ => false,
        }
    }
}

pub async fn run(config: Config, args: ProbeArgs) -> Result<(), ProbeError> {
    let domain: Domain = args.name.parse()?;
    let query = ProbeQuery { next_hop: args.next_hop.clone(), timeout: args.timeout.clone() };
    query.options().map_err(ProbeError::Query)?;
    match AdminClient::new(&config) {
        Ok(client) => by_gateway(&client, &domain, &query, &args),
        Err(AdminError::NotRunning { .. }) => by_ourselves(&config, &domain, &query, &args).await,
        Err(error) => Err(error.into()),
    }
}

fn by_gateway(client: &AdminClient, domain: &Domain, query: &ProbeQuery, args: &ProbeArgs) -> Result<(), ProbeError> {
    let path = format!("/api/domains/{domain}/probe");
    if let Some(code) = &args.confirm {
        let confirmed: Confirmed = client.post(&format!("{path}/confirm"), &[("code", code.clone())])?;
        tell_confirmed(&confirmed, args.json);
        return Ok(());
    }
    if let Some(to) = &args.message {
        let sent: Sent = client.post(&format!("{path}/message"), &[("to", to.clone())])?;
        tell_sent(domain, &sent, "is in the queue", args.json);
        return Ok(());
    }
    let all = [("next-hop", query.next_hop.clone()), ("timeout", query.timeout.clone())];
    let pairs: Vec<(&str, String)> = all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let printer = Printer::new(args.json);
    client.post_lines(&path, &pairs, |line| printer.line(&line))?;
    printer.end(domain)
}

async fn by_ourselves(
    config: &Config,
    domain: &Domain,
    query: &ProbeQuery,
    args: &ProbeArgs,
) -> Result<(), ProbeError> {
    let clock = Clock::system();
    let queue = match setup::open_queue(config, &clock) {
        Ok(queue) => queue,
        Err(error) => {
            // A probe needs no queue but for remembering that it has passed.
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("what passes is not remembered: {error}\n"),
            );
            queue::Queue::open_in_memory(queue::Options::default(), clock.now()).map_err(SetupError::from)?
        }
    };
    let alone = Alone::new(config, domain, queue, clock).await?;
    let done = ask_alone(&alone, config, domain, query, args).await;
    alone.close().await;
    done
}

async fn ask_alone(
    alone: &Alone,
    config: &Config,
    domain: &Domain,
    query: &ProbeQuery,
    args: &ProbeArgs,
) -> Result<(), ProbeError> {
    if let Some(code) = &args.confirm {
        let Sent { id, to, sent_at, .. } = alone.confirm(code)?;
        let delivered_at = None;
        tell_confirmed(&Confirmed { domain: domain.to_string(), id, to, sent_at, delivered_at }, args.json);
        return Ok(());
    }
    if let Some(to) = &args.message {
        let (sent, outcome) = alone.message(to).await?;
        return match outcome {
            Outcome::Delivered(reply) => {
                tell_sent(domain, &sent, &format!("was taken: {reply}"), args.json);
                Ok(())
            }
            Outcome::Deferred(failure) | Outcome::Failed(failure) => Err(ProbeError::NotDelivered(failure)),
        };
    }
    if !args.json {
        say(&format!("no gateway runs with {}: this process probes", config.file.display()));
    }
    let options = query.options().map_err(ProbeError::Query)?;
    let printer = Printer::new(args.json);
    alone.probe(&options, &|line| printer.line(&line)).await;
    printer.end(domain)
}

/// Shows each line as it comes.
struct Printer {
    json: bool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    hop: String,
    warnings: usize,
    summary: Option<Summary>,
}

impl Printer {
    fn new(json: bool) -> Self {
        Self { json, seen: Mutex::default() }
    }

    fn line(&self, line: &Line) {
        if self.json {
            say(&serde_json::to_string(line).unwrap_or_default());
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match line {
            Line::Step(step) => {
                seen.warnings += usize::from(step.verdict == Verdict::Warning);
                if !self.json {
                    show(step, &mut seen.hop);
                }
            }
            Line::Summary(summary) => seen.summary = Some(summary.clone()),
        }
    }

    fn end(self, domain: &Domain) -> Result<(), ProbeError> {
        let seen = self.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some(Summary { passed: true, proven, .. }) = seen.summary else {
            return Err(ProbeError::Failed(domain.to_string()));
        };
        if !self.json {
            let warnings = match seen.warnings {
                0 => String::new(),
                1 => ", with a warning".to_owned(),
                many => format!(", with {many} warnings"),
            };
            let proven = if proven {
                format!("mail for {domain} is accepted")
            } else {
                "that proves nothing of the domain's own next hops".to_owned()
            };
            say(&format!("passed{warnings}: {proven}"));
        }
        Ok(())
    }
}

fn show(step: &Step, hop: &mut String) {
    if *hop != step.next_hop {
        hop.clone_from(&step.next_hop);
        say(hop);
    }
    say(&format!("  {step}"));
}

fn tell_sent(domain: &Domain, sent: &Sent, what: &str, json: bool) {
    if json {
        return say(&serde_json::to_string_pretty(sent).unwrap_or_default());
    }
    let Sent { id, code, to, .. } = sent;
    say(&format!("mail {id} to {to} {what}"));
    say(&format!("when it is in the mailbox, say the code of its subject:\n  waypost probe {domain} --confirm {code}"));
    say(&format!("when it does not come:\n  waypost trace {id}"));
}

fn tell_confirmed(confirmed: &Confirmed, json: bool) {
    if json {
        return say(&serde_json::to_string_pretty(confirmed).unwrap_or_default());
    }
    let Confirmed { domain, to, sent_at, delivered_at, .. } = confirmed;
    let delivered = delivered_at.as_ref().map(|at| format!(", delivered {at}")).unwrap_or_default();
    say(&format!("the way to {to} works: sent {sent_at}{delivered}; mail for {domain} is accepted"));
}
