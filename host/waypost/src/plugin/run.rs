//! `waypost plugin run`: one mail through one plugin, and what came of it.

use super::{PluginError, cache, print_line};
use mail::{Content, Domain, Hook, Mailbox, ReversePath, Timestamp};
use plugin_host::{Grant, SystemResolver};
use plugin_test::{After, Answered, Bench, Facts, Names, Plugin, Setting, Web, text};
use serde_json::json;
use std::{
    fmt::Write as _,
    io::Write as _,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// The mail; - reads standard input [default: an empty one]
    #[arg(long, value_name = "FILE.eml")]
    message: Option<PathBuf>,
    /// What it is asked [default: on-message, or the first hook that it has]
    #[arg(long)]
    hook: Option<String>,
    /// Reverse-path; '' is the null reverse-path
    #[arg(long, default_value = "sender@client.example", value_name = "ADDRESS")]
    sender: String,
    /// May be given several times; on-recipient asks about the last one
    #[arg(long, default_value = "user@example.org", value_name = "ADDRESS")]
    recipient: Vec<String>,
    #[arg(long, default_value = "192.0.2.1", value_name = "IP")]
    peer_ip: IpAddr,
    #[arg(long)]
    helo: Option<String>,
    /// The table that the plugin reads: a file, JSON, or TOML; here --config is the same
    #[arg(long, value_name = "TABLE")]
    plugin_config: Option<PathBuf>,
    /// dns, or a web server: http://127.0.0.1:11333; really asked. May be given several times
    #[arg(long, value_name = "GRANT")]
    grant: Vec<String>,
    /// Print the mail as the plugin leaves it, and nothing else
    #[arg(long, conflicts_with = "json")]
    print: bool,
    #[arg(long)]
    json: bool,
}

/// `config` is the command line's `--config`.
pub async fn run(args: Args, config: Option<&Path>) -> Result<(), PluginError> {
    if !args.file.is_file() {
        return Err(usage(format!("{} is not there", args.file.display())));
    }
    let facts = args.facts()?;
    let mut setting = Setting::new(facts.domain.clone());
    if let Some(table) = args.plugin_config.as_deref().or(config) {
        setting.config = super::table(table)?;
    }
    for grant in &args.grant {
        setting.plugin.grants.push(grant.parse::<Grant>().map_err(|error| usage(error.to_string()))?);
    }
    (setting.start, setting.web) = (facts.now, Web::Real);
    if setting.plugin.grants.contains(&Grant::Dns) || args.grant.iter().any(|grant| grant.contains("://")) {
        let resolver = SystemResolver::from_system().map_err(|error| failed(error.to_string()))?;
        setting.dns = Names::Real(Arc::new(resolver));
    }
    let cache = cache()?;
    let plugin = Bench::new(&args.file, &cache.dir)
        .load(&setting)
        .await
        .map_err(|refused| failed(format!("{}: it cannot serve: {refused}", args.file.display())))?;
    let hook = args.hook(&plugin)?;
    let question = facts.question(hook).ok_or_else(|| usage(format!("{} needs a --recipient", hook.as_str())))?;
    let answered = plugin.ask(question, facts.now).await;
    let answered = answered.ok_or_else(|| failed(format!("it was not asked: {}", hook.as_str())))?;
    tell(&args, hook, &answered);
    match &answered.record.failure {
        None => Ok(()),
        Some(failure) => Err(failed(format!("the call failed ({}): {}", failure.kind, failure.text))),
    }
}

impl Args {
    fn facts(&self) -> Result<Facts, PluginError> {
        let sender: ReversePath = match self.sender.as_str() {
            "<>" => ReversePath::Null,
            text => text.parse().map_err(|error| usage(format!("--sender: {error}")))?,
        };
        let recipients = self.recipient.iter().map(|text| text.parse::<Mailbox>());
        let recipients: Vec<Mailbox> =
            recipients.collect::<Result<_, _>>().map_err(|error| usage(format!("--recipient: {error}")))?;
        let domain: Domain = recipients.last().map(Mailbox::domain).ok_or_else(|| usage("no recipient".to_owned()))?;
        if let Some(other) = recipients.iter().find(|one| one.domain() != domain) {
            return Err(usage(format!("a plugin is asked about one domain's recipients: {other} is not of {domain}")));
        }
        let bytes = match self.message.as_deref() {
            None => Vec::new(),
            Some(path) => super::read_bytes(path).map_err(|error| usage(format!("{}: {error}", path.display())))?,
        };
        Ok(Facts {
            domain,
            peer_ip: self.peer_ip,
            helo: self.helo.clone(),
            sender,
            recipients,
            content: Content::new(plugin_test::with_crlf(&bytes).into()),
            now: Timestamp::from_system(SystemTime::now()),
        })
    }

    fn hook(&self, plugin: &Plugin) -> Result<Hook, PluginError> {
        let hooks = plugin.hooks();
        let has = || hooks.iter().map(|hook| hook.as_str()).collect::<Vec<_>>().join(", ");
        let Some(wanted) = &self.hook else {
            let usual = hooks.iter().find(|hook| **hook == Hook::OnMessage).or(hooks.first());
            return usual.copied().ok_or_else(|| failed("it exports no hook".to_owned()));
        };
        let known = hooks.iter().find(|hook| hook.as_str() == wanted);
        known.copied().ok_or_else(|| usage(format!("it does not export {wanted}; it exports {}", has())))
    }
}

fn tell(args: &Args, hook: Hook, answered: &Answered) {
    let content = if let After::Message(_, content) = &answered.after { Some(content) } else { None };
    if args.print {
        // A reader that has gone is no reason to fail.
        let bytes = content.map(Content::to_bytes).unwrap_or_default();
        let _ = std::io::stdout().write_all(&bytes);
        return;
    }
    if args.json {
        let report = json!({ "call": answered.record, "log": answered.log, "requests": answered.asked });
        print_line(&report.to_string());
        return;
    }
    let record = &answered.record;
    let mut shown = format!("{}: {}\n", hook.as_str(), record.answer);
    for edit in &record.edits {
        let _ = writeln!(shown, "  {edit}");
    }
    for line in &answered.log {
        let _ = writeln!(shown, "  log: {line}");
    }
    if let Some(failure) = &record.failure {
        for frame in &failure.backtrace {
            let _ = writeln!(shown, "  in {frame}");
        }
    }
    let calls: Vec<String> = record.host_calls.iter().map(|(name, count)| format!("{name} ×{count}")).collect();
    let _ = write!(shown, "cost: {}", text::cost(record));
    if !calls.is_empty() {
        let _ = write!(shown, " ({})", calls.join(", "));
    }
    print_line(&shown);
}

fn usage(text: String) -> PluginError {
    PluginError::Usage(format!("waypost plugin run: {text}"))
}

fn failed(text: String) -> PluginError {
    PluginError::Failed(format!("waypost plugin run: {text}"))
}
