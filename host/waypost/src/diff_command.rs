//! `waypost plugin diff`: what plugins in shadow mode would have changed, from the running gateway or its journal.

use crate::{
    admin_client::{AdminClient, AdminError},
    setup::{self, SetupError},
    trace_command::{journal, say},
};
use gateway::config::Config;
use journal::{Difference, ReadError};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Of this plugin
    #[arg(value_name = "NAME")]
    plugin: Option<String>,
    /// Of this domain
    #[arg(long)]
    domain: Option<String>,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("waypost: {0}")]
    Admin(#[from] AdminError),
    #[error("waypost: {0}")]
    Journal(#[from] ReadError),
}

pub fn run(config: Option<&Path>, args: &Args) -> Result<(), DiffError> {
    let config = setup::load_config(config)?;
    let found = match ask(&config, args) {
        Ok(found) => found,
        Err(AdminError::Refused(told)) => return Err(AdminError::Refused(told).into()),
        Err(_) => journal(&config)?.differences(args.plugin.as_deref(), args.domain.as_deref())?,
    };
    match args.json {
        true => say(&serde_json::to_string_pretty(&found).unwrap_or_default()),
        false => say(&tell(&found)),
    }
    Ok(())
}

fn ask(config: &Config, args: &Args) -> Result<Vec<Difference>, AdminError> {
    let all = [("plugin", args.plugin.clone()), ("domain", args.domain.clone())];
    let given: Vec<(&str, String)> = all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    AdminClient::new(config)?.get("/api/plugins/diff", &given)
}

fn tell(found: &[Difference]) -> String {
    if found.is_empty() {
        return "No plugin has been asked as a shadow; bind one with mode = \"shadow\".".to_owned();
    }
    let mut lines = Vec::new();
    for of_one in found.chunk_by(|a, b| (&a.plugin, &a.domain, &a.hook) == (&b.plugin, &b.domain, &b.hook)) {
        let total: u64 = of_one.iter().map(|difference| difference.count).sum();
        let same: u64 =
            of_one.iter().filter(|difference| difference.is_none()).map(|difference| difference.count).sum();
        if let Some(Difference { plugin, domain, hook, .. }) = of_one.first() {
            lines.push(format!("{plugin} for {domain}, {hook}: {total} asked, {same} the same"));
        }
        for difference in of_one.iter().filter(|difference| !difference.is_none()) {
            let Difference { would, did, count, samples, .. } = difference;
            lines.push(format!("  {count:>8}  would {would}, the chain: {did}; for instance {}", samples.join(" ")));
        }
    }
    lines.join("\n")
}
