//! Reads a scenario's file from its top: the setting, then the steps.

use super::{Scenario, Step, step, world};
use crate::setting::Setting;
use mail::{Domain, Isolation, OnFailure, Timestamp};
use plugin_host::{Grant, PluginSettings};
use std::{cell::RefCell, path::Path, time::Duration};
use toml_keys::{Mistakes, Noted, Place, Source, Table, Value};

const STEP: &str = "write [[step]] with name, hook and what it is about, then [step.expect] with verdict = \"pass\"";

pub(super) fn read(file: &Path) -> Result<Scenario, Mistakes> {
    let unreadable = |error| Place::of_file(file).error(format!("it cannot be read: {error}"), None);
    let text = std::fs::read_to_string(file).map_err(|error| Mistakes::new(file, vec![unreadable(error)]))?;
    let noted = Noted::default();
    let source = Source { file, text: &text, noted: &noted, top_keys: &[] };
    let document = source.parse();
    let scenario = document.as_ref().and_then(|document| scenario(file, source.root(document)));
    match (scenario, noted.take()) {
        (Some(scenario), mistakes) if mistakes.is_empty() => Ok(scenario),
        (_, mistakes) => Err(Mistakes::new(file, mistakes)),
    }
}

/// In UTC.
fn date(value: &Value<'_>, example: &str) -> Option<Timestamp> {
    let text = value.date_text(example)?;
    let date = mail_parser::DateTime::parse_rfc3339(&text).and_then(|date| u64::try_from(date.to_timestamp()).ok());
    if date.is_none() {
        value.error(
            format!("`{}`: {text:?} is not a date and time", value.name),
            format!("for instance {} = {example}", value.name),
        );
    }
    date.map(Timestamp::from_secs)
}

fn scenario(file: &Path, mut root: Table<'_>) -> Option<Scenario> {
    let domain = root.get("domain").map(|value| value.parsed("\"example.org\"", str::parse::<Domain>));
    let domain = domain.unwrap_or_else(|| "example.org".parse().ok());
    let setting = setting(&mut root, domain.clone());
    let expect_load = root.get("expect-load").map(|value| expect_load(&value));
    let default = root.get("default").and_then(|value| value.table());
    let mut default = default.map(|mut table| {
        // A key that no step needs is still a key.
        step::KEYS.iter().for_each(|key| drop(table.get(key)));
        RefCell::new(table)
    });
    let steps = root.get("step");
    match (&steps, &expect_load) {
        (None, None) => root.error("it has no step".to_owned(), STEP.to_owned()),
        (Some(steps), Some(_)) => steps.key_error(
            "no step can run: [expect-load] says that the plugin is refused",
            "write the steps into a file of their own",
        ),
        _ => {}
    }
    let tables = steps.map(|steps| steps.tables()).unwrap_or_default();
    let setting = setting.zip(domain);
    let steps = setting.as_ref().map(|(setting, domain)| {
        let place = step::Place { file, domain, start: setting.start };
        let mut before = Duration::ZERO;
        let mut read = |(index, table)| {
            let step = step::read(table, default.as_ref(), &place, index, before);
            before = step.as_ref().map_or(before, |step: &Step| step.at);
            step
        };
        tables.into_iter().enumerate().map(&mut read).collect::<Vec<_>>()
    });
    if let Some(default) = default.take() {
        default.into_inner().finish();
    }
    root.finish();
    let expect_load = expect_load.map_or(Some(None), |read| read.map(Some))?;
    let steps = steps?.into_iter().collect::<Option<Vec<_>>>()?;
    Some(Scenario { file: file.to_owned(), setting: setting?.0, expect_load, steps })
}

fn setting(root: &mut Table<'_>, domain: Option<Domain>) -> Option<Setting> {
    let config = root.get("config").map(|value| value.table().and_then(|_| value.json()));
    let grants = grants(root);
    let limits = world::limits(root.get("limits"));
    let failures = [
        ("tempfail", OnFailure::TempFail),
        ("pass", OnFailure::Pass),
        ("reject", OnFailure::Reject),
        ("quarantine", OnFailure::Quarantine),
    ];
    let on_failure = root.get("on-failure").and_then(|value| value.choice(&failures));
    let isolations = [("domain", Isolation::Domain), ("transaction", Isolation::Transaction)];
    let isolation = root.get("isolation").and_then(|value| value.choice(&isolations));
    let start = root.get("clock").and_then(|value| date(&value, "2026-01-01T00:00:00Z"));
    let kv = world::kv(root.get("kv"));
    let dns = world::dns(root.get("dns"), root.get("dnsbl"));
    let web = world::web(root.get("http"));
    let mut setting = Setting::new(domain?);
    if let Some(config) = config {
        setting.config = config?;
    }
    setting.plugin = PluginSettings { limits, grants };
    setting.on_failure = on_failure;
    setting.isolation = isolation.unwrap_or_default();
    setting.start = start.unwrap_or(setting.start);
    setting.kv = kv;
    setting.dns = crate::Names::Fake(dns);
    setting.web = crate::Web::Fake(web);
    Some(setting)
}

/// As in the gateway, `grant` adds to the defaults; `deny` takes away, to see how a plugin fares without.
fn grants(root: &mut Table<'_>) -> Vec<Grant> {
    let mut grants = PluginSettings::default().grants;
    for value in root.get("grant").iter().flat_map(Value::one_or_more) {
        let grant = value.parsed("[\"dns\"]", str::parse::<Grant>);
        grants.extend(grant.filter(|grant| !grants.contains(grant)));
    }
    let words: Vec<(String, Grant)> = Grant::WORDS.into_iter().map(|grant| (grant.to_string(), grant)).collect();
    let choices: Vec<(&str, &Grant)> = words.iter().map(|(word, grant)| (word.as_str(), grant)).collect();
    for value in root.get("deny").iter().flat_map(Value::one_or_more) {
        if let Some(denied) = value.choice(&choices) {
            grants.retain(|grant| grant != denied);
        }
    }
    grants
}

fn expect_load(value: &Value<'_>) -> Option<String> {
    let mut table = value.table()?;
    let error = table.required("error", "\"delay-s: expected whole seconds\"");
    let error = error.and_then(|value| value.string("\"delay-s: expected whole seconds\"")).map(str::to_owned);
    table.finish();
    error
}
