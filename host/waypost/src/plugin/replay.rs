//! `waypost plugin replay`: a component over recorded mail, and what it would do otherwise.

use super::{PluginError, cache, print_line};
use crate::setup;
use gateway::config::Config;
use journal::recorded::{self, Recorded};
use mail::Domain;
use plugin_test::{
    Bench, Plugin, Setting,
    replay::{Against, Compared, Said, replay},
    text,
};
use serde_json::json;
use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Recorded mail of one domain
    #[arg(long, value_name = "DIR", required_unless_present = "domain", conflicts_with = "domain")]
    recorded: Option<PathBuf>,
    /// What the gateway has recorded of this domain, with the configuration that its file gives to the plugin
    #[arg(long)]
    domain: Option<String>,
    /// Compare with this component, and not with what was said when the mail came
    #[arg(long, value_name = "OLD.wasm")]
    against: Option<PathBuf>,
    /// Whose recorded calls are compared [default: the file's name without its ending]
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// The table that the plugin reads: a file, JSON, or TOML
    #[arg(long, value_name = "TABLE")]
    plugin_config: Option<PathBuf>,
    /// Exit with 1 where anything differs
    #[arg(long)]
    fail_on_difference: bool,
    #[arg(long)]
    json: bool,
}

/// What came of all mails.
#[derive(Default)]
struct Total {
    mails: usize,
    calls: usize,
    answers: usize,
    edits: usize,
    differences: Vec<Compared>,
    unreadable: Vec<String>,
}

/// `config` is the gateway's file, as given.
pub async fn run(args: Args, config: Option<&Path>) -> Result<(), PluginError> {
    for file in [Some(&args.file), args.against.as_ref()].into_iter().flatten() {
        if !file.is_file() {
            return Err(usage(format!("{} is not there", file.display())));
        }
    }
    let name = args.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = args.plugin.clone().unwrap_or(name);
    let (directory, mut setting) = args.source(&name, config)?;
    let files = recorded::list(&directory)
        .map_err(|error| usage(format!("{}: {error}; see `record` in docs/configuration.md", directory.display())))?;
    if files.is_empty() {
        return Err(usage(format!(
            "nothing is recorded in {}; see `record` in docs/configuration.md",
            directory.display()
        )));
    }
    if let Some(table) = &args.plugin_config {
        setting.config = super::table(table)?;
    }
    let total = args.compare(&files, &name, setting).await?;
    tell(&args, &total);
    if !total.unreadable.is_empty() {
        return Err(failed(total.unreadable.join("\n")));
    }
    if args.fail_on_difference && !total.differences.is_empty() {
        return Err(failed(format!("{} of {} calls differ", total.differences.len(), total.calls)));
    }
    Ok(())
}

impl Args {
    fn source(&self, plugin: &str, config: Option<&Path>) -> Result<(PathBuf, Setting), PluginError> {
        let Some(name) = &self.domain else {
            let directory = self.recorded.clone().unwrap_or_default();
            // Each mail tells its domain; the first stands for all.
            let first = recorded::list(&directory).ok().and_then(|files| Recorded::read(files.first()?).ok());
            let domain = first.map(|(recorded, _)| recorded.domain).or_else(|| "example.org".parse().ok());
            let domain = domain.ok_or_else(|| failed("no domain".to_owned()))?;
            return Ok((directory, Setting::new(domain)));
        };
        let domain: Domain = name.parse().map_err(|error| usage(format!("--domain: {error}")))?;
        let config = setup::load_config(config).map_err(|error| PluginError::Configuration(error.to_string()))?;
        let setting = setting_of(&config, &domain, plugin, self.plugin_config.is_some())?;
        Ok((config.data_dir.join("recorded").join(domain.as_str()), setting))
    }

    async fn compare(&self, files: &[PathBuf], name: &str, setting: Setting) -> Result<Total, PluginError> {
        let cache = cache()?;
        let load = async |file: &Path| {
            let loaded = Bench::new(file, &cache.dir).load(&setting).await;
            loaded.map_err(|refused| failed(format!("{}: it cannot serve: {refused}", file.display())))
        };
        let plugin: Plugin = load(&self.file).await?;
        let other = match &self.against {
            Some(file) => Some(load(file).await?),
            None => None,
        };
        let against = other.as_ref().map_or(Against::Recorded { plugin: name }, Against::Other);
        let mut total = Total::default();
        for file in files {
            match Recorded::read(file) {
                Ok((recorded, content)) => total.add(replay(&plugin, &against, &recorded, &content).await),
                Err(error) => total.unreadable.push(error.to_string()),
            }
        }
        Ok(total)
    }
}

impl Total {
    fn add(&mut self, compared: Vec<Compared>) {
        self.mails += 1;
        self.calls += compared.len();
        let differing = compared.into_iter().filter(Compared::differs);
        for one in differing {
            if one.answer_differs() {
                self.answers += 1;
            } else {
                self.edits += 1;
            }
            self.differences.push(one);
        }
    }
}

/// As the gateway would run it for the domain; a plugin that the domain does not use needs a table of its own.
fn setting_of(config: &Config, domain: &Domain, plugin: &str, has_table: bool) -> Result<Setting, PluginError> {
    let found = config.domains.get(domain);
    let found = found.ok_or_else(|| usage(format!("{domain} is no domain of {}", config.file.display())))?;
    let settings = setup::plugin_settings(config).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        PluginError::Configuration(texts.join("\n\n"))
    })?;
    let mut setting = Setting::new(domain.clone());
    let mut bindings = config.chain.iter().chain(&found.plugins);
    match bindings.clone().find(|binding| binding.plugin == plugin) {
        Some(binding) => {
            setting.config = binding.config.clone();
            setting.on_failure = binding.on_failure;
            setting.isolation = binding.isolation;
        }
        None if has_table => {}
        None => {
            let first = bindings.next().map_or("NAME", |binding| &binding.plugin);
            let hint =
                format!("name the one whose place it takes, for instance --plugin {first}, or give --plugin-config");
            return Err(usage(format!("{domain} uses no plugin {plugin:?}; {hint}")));
        }
    }
    setting.plugin = settings.get(plugin).cloned().unwrap_or_default();
    Ok(setting)
}

fn tell(args: &Args, total: &Total) {
    if args.json {
        let report = json!({
            "mails": total.mails,
            "calls": total.calls,
            "answers-differ": total.answers,
            "edits-differ": total.edits,
            "differences": total.differences,
        });
        print_line(&report.to_string());
        return;
    }
    let mut shown = String::new();
    for one in &total.differences {
        let about = one.recipient.as_ref().map_or_else(String::new, |recipient| format!(" {recipient}"));
        let _ = writeln!(shown, "{} {}{about}", one.id, one.hook.as_str());
        said(&mut shown, "was", one.was.as_ref());
        said(&mut shown, "now", one.now.as_ref());
    }
    let same = total.calls - total.differences.len();
    let number = |count: usize| text::grouped(count as u64);
    let _ = write!(
        shown,
        "{} mails, {} calls: {} the same, {} with another answer, {} with other edits",
        number(total.mails),
        number(total.calls),
        number(same),
        number(total.answers),
        number(total.edits)
    );
    print_line(&shown);
}

fn said(shown: &mut String, word: &str, said: Option<&Said>) {
    let Some(said) = said else {
        let _ = writeln!(shown, "  {word}  not asked");
        return;
    };
    let failure = said.failure.as_ref().map_or_else(String::new, |failure| format!("  (failed: {failure})"));
    let _ = writeln!(shown, "  {word}  {}{failure}", said.answer);
    for edit in &said.edits {
        let _ = writeln!(shown, "       {edit}");
    }
}

fn usage(text: String) -> PluginError {
    PluginError::Usage(format!("waypost plugin replay: {text}"))
}

fn failed(text: String) -> PluginError {
    PluginError::Failed(format!("waypost plugin replay: {text}"))
}
