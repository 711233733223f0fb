//! `waypost plugin test`: runs a plugin's scenarios in the real engine, once or after each change.

use super::{Cache, PluginError, cache, print_line, target::Target};
use plugin_test::{Bench, ScenarioReport, scenario, text};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The project, or a component
    #[arg(default_value = ".", value_name = "DIR|FILE.wasm")]
    target: PathBuf,
    /// Where the scenarios are [default: tests/ beside the component]
    #[arg(long, value_name = "DIR")]
    scenarios: Option<PathBuf>,
    /// Only scenarios or steps with this text in their name; earlier steps of the same scenario run unseen
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Run again whenever the component or a scenario changes
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    #[arg(long)]
    json: bool,
    /// Tell what steps that hold changed, called and logged, too
    #[arg(long, short)]
    verbose: bool,
}

pub async fn run(args: Args) -> Result<(), PluginError> {
    let cache = cache()?;
    if args.watch {
        return super::watch::watch(&args.watched()?, async || once(&args, &cache).await).await;
    }
    once(&args, &cache).await
}

async fn once(args: &Args, cache: &Cache) -> Result<(), PluginError> {
    let target = Target::find(&args.target, args.scenarios.as_deref())?;
    let scenarios = read(&target)?;
    let bench = Bench::new(&target.component, &cache.dir);
    let inspected = bench.inspect().await;
    inspected.map_err(|refused| failed(format!("{}: it cannot serve: {refused}", target.component.display())))?;
    let mut reports = Vec::new();
    for scenario in &scenarios {
        let Some(report) = selected(plugin_test::run(&bench, scenario).await, args.filter.as_deref()) else { continue };
        if !args.json {
            print_line(text::scenario(&report, args.verbose).trim_end());
        }
        reports.push(report);
    }
    if reports.is_empty() {
        let filter = args.filter.as_deref().unwrap_or_default();
        return Err(PluginError::Usage(format!(
            "waypost plugin test: no scenario and no step is named like {filter:?}"
        )));
    }
    if args.json {
        let report = json!({
            "component": target.component,
            "holds": text::failed(&reports) == 0,
            "failed": text::failed(&reports),
            "scenarios": reports,
        });
        print_line(&report.to_string());
    } else {
        print_line(&text::summary(&reports));
    }
    match text::failed(&reports) {
        0 => Ok(()),
        count => Err(failed(format!("{count} of the plugin's promises did not hold"))),
    }
}

fn read(target: &Target) -> Result<Vec<plugin_test::Scenario>, PluginError> {
    let dir = target.scenarios.display();
    let files =
        if target.scenarios.is_file() { Ok(vec![target.scenarios.clone()]) } else { scenario::find(&target.scenarios) };
    let files = files.unwrap_or_default();
    if files.is_empty() {
        return Err(PluginError::Usage(format!("waypost plugin test: there is no scenario in {dir}\n{HOW_TO}")));
    }
    scenario::read_all(&files).map_err(|mistakes| PluginError::Configuration(mistakes.to_string()))
}

const HOW_TO: &str = "\
Write what the plugin should do into a file there, for instance tests/first.toml:

    [[step]]
    name = \"a mail passes\"
    hook = \"on-message\"
    sender = \"ann@client.example\"
    recipients = [\"bob@example.org\"]
    mail = \"\"\"
    Subject: hello

    text
    \"\"\"
    [step.expect]
    verdict = \"pass\"";

/// Steps that are not asked for are left out of the report.
fn selected(mut report: ScenarioReport, filter: Option<&str>) -> Option<ScenarioReport> {
    let Some(filter) = filter else { return Some(report) };
    if !report.scenario.contains(filter) {
        let was_loaded = report.load == plugin_test::LoadReport::Loaded;
        report.steps.retain(|step| step.name.contains(filter));
        if report.steps.is_empty() || !was_loaded {
            return None;
        }
    }
    Some(report)
}

impl Args {
    /// The directories whose changes matter.
    fn watched(&self) -> Result<Vec<PathBuf>, PluginError> {
        let parent = |path: &Path| {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            parent.unwrap_or(Path::new(".")).to_owned()
        };
        let component = if self.target.is_dir() { self.target.clone() } else { parent(&self.target) };
        let scenarios = self.scenarios.clone().unwrap_or_else(|| component.join("tests"));
        let scenarios = if scenarios.is_file() { parent(&scenarios) } else { scenarios };
        Ok([component, scenarios].into_iter().filter(|dir| dir.is_dir()).collect())
    }
}

fn failed(text: String) -> PluginError {
    PluginError::Failed(format!("waypost plugin test: {text}"))
}
