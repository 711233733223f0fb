//! Runs a scenario from its load to its last step. A step that fails does not keep the next from running.

use crate::{
    bench::{Bench, Plugin},
    check::{self, Difference},
    fake::http::Asked,
    log::LogLine,
    scenario::{Scenario, Step},
};
use mail::{CallRecord, Hook};
use serde::Serialize;
use std::path::PathBuf;

/// What came of a scenario.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ScenarioReport {
    pub scenario: String,
    pub file: PathBuf,
    pub load: LoadReport,
    pub steps: Vec<StepReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum LoadReport {
    Loaded,
    /// As it should be.
    Refused {
        reason: String,
    },
    /// It should serve, and doesn't; or the other way round.
    Wrong {
        expected: String,
        got: String,
    },
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepReport {
    pub name: String,
    pub line: usize,
    pub hook: Hook,
    /// None where the component does not export the hook.
    pub call: Option<CallRecord>,
    pub log: Vec<LogLine>,
    /// Requests to made-up web servers that no `[[http]]` fitted.
    pub strangers: Vec<Asked>,
    /// None: the step holds.
    pub differences: Vec<Difference>,
}

impl LoadReport {
    pub fn holds(&self) -> bool {
        !matches!(self, Self::Wrong { .. })
    }
}

impl StepReport {
    pub fn holds(&self) -> bool {
        self.differences.is_empty()
    }
}

impl ScenarioReport {
    pub fn holds(&self) -> bool {
        self.load.holds() && self.steps.iter().all(StepReport::holds)
    }
}

/// In a fresh setting: nothing is left of an earlier scenario.
pub async fn run(bench: &Bench, scenario: &Scenario) -> ScenarioReport {
    let (load, plugin) = load(bench, scenario).await;
    let mut steps = Vec::new();
    if let Some(plugin) = plugin {
        for step in &scenario.steps {
            steps.push(ask(&plugin, scenario, step).await);
        }
    }
    ScenarioReport { scenario: scenario.name(), file: scenario.file.clone(), load, steps }
}

async fn load(bench: &Bench, scenario: &Scenario) -> (LoadReport, Option<Plugin>) {
    let loaded = bench.load(&scenario.setting).await;
    match (loaded, &scenario.expect_load) {
        (Ok(plugin), None) => (LoadReport::Loaded, Some(plugin)),
        (Ok(_), Some(wanted)) => {
            (LoadReport::Wrong { expected: format!("… {wanted} …"), got: "it loads".to_owned() }, None)
        }
        (Err(refused), Some(wanted)) if refused.0.contains(wanted) => (LoadReport::Refused { reason: refused.0 }, None),
        (Err(refused), wanted) => {
            let expected = wanted.as_ref().map_or_else(|| "it loads".to_owned(), |wanted| format!("… {wanted} …"));
            (LoadReport::Wrong { expected, got: refused.0 }, None)
        }
    }
}

async fn ask(plugin: &Plugin, scenario: &Scenario, step: &Step) -> StepReport {
    let at = scenario.setting.start.plus(step.at);
    let hook = step.question.hook();
    let mut report = StepReport {
        name: step.name.clone(),
        line: step.line,
        hook,
        call: None,
        log: Vec::new(),
        strangers: Vec::new(),
        differences: Vec::new(),
    };
    match plugin.ask(step.question.clone(), at).await {
        Some(answered) => {
            report.differences = check::check(&step.expect, &step.question, &answered, plugin, at);
            report.call = Some(answered.record);
            report.log = answered.log;
            report.strangers = answered.asked.into_iter().filter(|asked| !asked.expected).collect();
        }
        None => {
            let hooks: Vec<&str> = plugin.hooks().into_iter().map(Hook::as_str).collect();
            report.differences.push(Difference {
                what: "hook".to_owned(),
                expected: hook.as_str().to_owned(),
                got: format!("the component exports {}", hooks.join(", ")),
            });
        }
    }
    report
}
