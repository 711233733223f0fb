//! `waypost domain …`: a domain's file, and its switches in the running gateway.

mod add;
mod show;
mod trust;

use crate::{
    admin_client::{AdminClient, AdminError},
    cli::{DomainCommand, NameArgs},
    setup::{self, SetupError},
    trace_command::say,
};
use gateway::{
    admin::{DomainEntry, Switched},
    config::{Config, ConfigErrors},
};
use mail::{AddressError, Domain};
use std::{io, path::Path};

#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    #[error("waypost: {0}")]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Mistakes(#[from] ConfigErrors),
    #[error("waypost: {0}")]
    Name(#[from] AddressError),
    #[error("waypost: {0} is there already: change it, and the gateway takes the change by itself")]
    Exists(String),
    #[error("waypost: cannot write {path}: {source}")]
    Write { path: String, source: io::Error },
    #[error("waypost: there is no plugin {name}: neither {places}")]
    NoPlugin { name: String, places: String },
    #[error("waypost: {0}")]
    Trust(String),
}

impl DomainError {
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Setup(error) => error.is_configuration(),
            Self::Mistakes(_) => true,
            _ => false,
        }
    }
}

pub fn run(file: Option<&Path>, command: DomainCommand) -> Result<(), DomainError> {
    if let DomainCommand::Add(args) = command {
        return add::run(&setup::config_path(file)?, args);
    }
    let config = setup::load_config(file)?;
    match command {
        DomainCommand::Add(_) => Ok(()),
        DomainCommand::List { json } => list(&config, json),
        DomainCommand::Show(NameArgs { name, json }) => show::run(&AdminClient::new(&config)?, &domain(&name)?, json),
        DomainCommand::Hold { domain, reason } => {
            let query: Vec<(&str, String)> = reason.into_iter().map(|reason| ("reason", reason)).collect();
            switch(&config, &domain, "hold", &query, "all its mail waits until `waypost domain release NAME`")
        }
        DomainCommand::Release(name) => switch(&config, &name, "release", &[], "its mail goes out again"),
        DomainCommand::Offline(name) => {
            switch(&config, &name, "offline", &[], "its next hop counts as away until `waypost domain online NAME`")
        }
        DomainCommand::Online(name) => switch(&config, &name, "online", &[], "its next hop is tried again"),
        DomainCommand::Trust(args) => trust::run(&AdminClient::new(&config)?, &domain(&args.name)?, &args),
    }
}

fn domain(name: &str) -> Result<Domain, DomainError> {
    Ok(name.parse()?)
}

fn switch(
    config: &Config,
    args: &NameArgs,
    call: &str,
    query: &[(&str, String)],
    done: &str,
) -> Result<(), DomainError> {
    let name = domain(&args.name)?;
    let switched: Switched = AdminClient::new(config)?.post(&format!("/api/domains/{name}/{call}"), query)?;
    if args.json {
        print(&switched);
        return Ok(());
    }
    let woken = match switched.woken {
        0 => String::new(),
        1 => "; 1 recipient is due now".to_owned(),
        many => format!("; {many} recipients are due now"),
    };
    say(&format!("{name}: {}{woken}", done.replace("NAME", name.as_str())));
    Ok(())
}

fn list(config: &Config, json: bool) -> Result<(), DomainError> {
    let listed: Vec<DomainEntry> = AdminClient::new(config)?.get("/api/domains", &[])?;
    if json {
        print(&listed);
        return Ok(());
    }
    if listed.is_empty() {
        say("No domain is configured: waypost domain add NAME --next-hop HOST:PORT");
        return Ok(());
    }
    say(&format!("{:<28}  {:<32}  {:>7}  {:>6}  STATE", "DOMAIN", "NEXT HOP", "WAITING", "HELD"));
    for entry in &listed {
        let hops = entry.next_hops.join(", ");
        say(&format!("{:<28}  {hops:<32}  {:>7}  {:>6}  {}", entry.name, entry.waiting, entry.held, state(entry)));
    }
    Ok(())
}

/// In a few words; what a person has to act on comes first.
fn state(entry: &DomainEntry) -> String {
    let mut words = Vec::new();
    if !entry.proven {
        words.push("not proven: 451".to_owned());
    }
    words.extend(entry.held_for.as_ref().map(|reason| format!("held ({reason})")));
    if entry.said_offline {
        words.push("said to be offline".to_owned());
    }
    words.extend(entry.away.iter().map(|away| format!("offline since {}", away.since)));
    if words.is_empty() { "online".to_owned() } else { words.join(", ") }
}

fn print(value: &impl serde::Serialize) {
    say(&serde_json::to_string_pretty(value).unwrap_or_default());
}
