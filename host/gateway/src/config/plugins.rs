//! Reads which plugins run, with which configuration, and what each may use.
//!
//! Never looks for a plugin's file: whoever loads plugins says what is missing.

use super::{DEFAULT_GRANTS, Place, PluginSettings};
use mail::{Binding, Isolation, Mode, OnFailure};
use std::{collections::BTreeMap, time::Duration};
use toml_keys::{Table, Value};

const EXAMPLE: &str = "[\"recipients\", { use = \"greylist\", on-failure = \"pass\" }]";
const MIB: u64 = 1 << 20;

/// `[plugins.<name>]` of the gateway's file.
pub(super) fn settings(value: &Value<'_>) -> BTreeMap<String, PluginSettings> {
    let mut settings = BTreeMap::new();
    for (name, value) in value.table().map(|table| table.all()).unwrap_or_default() {
        if let Err((message, hint)) = check_name(name) {
            value.key_error(message, hint);
        }
        let value = value.named(&format!("plugins.{name}"));
        let Some(mut table) = value.table() else { continue };
        let mut grants: Vec<String> = DEFAULT_GRANTS.map(String::from).into();
        for grant in table.get("grant").iter().flat_map(Value::one_or_more).filter_map(|v| grant(&v)) {
            if !grants.contains(&grant) {
                grants.push(grant);
            }
        }
        let memory = table.get("memory").and_then(|v| v.size(MIB..=4096 * MIB, "\"64 MiB\""));
        let limits = Duration::from_millis(1)..=Duration::from_secs(300);
        let time = table.get("time").and_then(|v| v.duration(limits, "\"2 s\""));
        table.finish();
        settings.insert(name.to_owned(), PluginSettings { grants, memory, time });
    }
    settings
}

fn grant(value: &Value<'_>) -> Option<String> {
    let text = value.string("[\"dns\"]")?;
    if let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) {
        // Which hosts and paths there may be is for the plugin host to say.
        if rest.is_empty() || text.contains(char::is_whitespace) {
            value.error(
                format!("{text:?} is not a place for HTTP"),
                "for instance grant = [\"http://127.0.0.1:11333\"]",
            );
            return None;
        }
        return Some(text.to_owned());
    }
    let choices = ["config", "log", "metrics", "kv", "dns"].map(|name| (name, name));
    value.choice(&choices).map(str::to_owned)
}

/// `[[chain]]` of the gateway's file.
pub(super) fn chain(value: &Value<'_>) -> Vec<(Binding, Place)> {
    let wide = |bound: Bound| (Binding { gateway_wide: true, ..bound.binding }, bound.place);
    value.tables().into_iter().filter_map(entry).map(wide).collect()
}

/// `plugins` and `[config.<plugin>]` of a domain's file.
pub(super) fn bindings(root: &mut Table<'_>) -> Vec<(Binding, Place)> {
    let list = root.get("plugins").map(|v| v.list(EXAMPLE));
    let unreadable = matches!(list, Some(None));
    let entries = list.flatten().unwrap_or_default();
    let mut bindings: Vec<Bound> = entries.iter().filter_map(binding).collect();
    let tables = root.get("config").and_then(|v| v.table()).map(|table| table.all()).unwrap_or_default();
    for (name, value) in tables {
        let value = value.named(&format!("config.{name}"));
        let Some(config) = value.table().and_then(|_| value.json()) else { continue };
        let mut of_plugin = bindings.iter_mut().filter(|bound| bound.binding.plugin == name).peekable();
        if of_plugin.peek().is_none() {
            // A list that nobody can read names nobody's plugin; it has its own error.
            if !unreadable {
                unused_table(&value, name, &entries);
            }
            continue;
        }
        let mut read = false;
        for bound in of_plugin.filter(|bound| bound.configured == Configured::Elsewhere) {
            bound.binding.config = config.clone();
            read = true;
        }
        if !read {
            let message = format!("plugin \"{name}\" has its configuration in `plugins` already");
            value.key_error(message, format!("keep either `config = {{ … }}` or [config.{name}]"));
        }
    }
    bindings.into_iter().map(|bound| (bound.binding, bound.place)).collect()
}

fn unused_table(value: &Value<'_>, name: &str, entries: &[Value<'_>]) {
    let nobody = entries.is_empty();
    let hint = if nobody {
        format!("for instance plugins = [\"{name}\"], before the first [table]")
    } else {
        format!("add \"{name}\" to `plugins`, or correct the name of this table")
    };
    value.key_error(format!("`plugins` does not name \"{name}\", so nobody reads this table"), hint);
}

/// Where a binding's configuration stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Configured {
    Inline,
    /// In a table of the plugin's name, or nowhere.
    Elsewhere,
}

/// One entry as it was read.
struct Bound {
    binding: Binding,
    configured: Configured,
    place: Place,
}

fn binding(value: &Value<'_>) -> Option<Bound> {
    if value.is_string() {
        let binding = plain(plugin_name(value)?);
        return Some(Bound { binding, configured: Configured::Elsewhere, place: value.place() });
    }
    entry(value.inline_table("a plugin is its name, or { use = \"name\", … }")?)
}

fn plain(plugin: String) -> Binding {
    let config = serde_json::Value::Object(Default::default());
    Binding {
        plugin,
        on_failure: None,
        config,
        isolation: Isolation::Domain,
        mode: Mode::Active,
        sample: 100,
        gateway_wide: false,
    }
}

/// The keys of `{ use = … }` and of `[[chain]]`.
fn entry(mut table: Table<'_>) -> Option<Bound> {
    let used = table.required("use", "\"greylist\"");
    let plugin = used.as_ref().and_then(plugin_name);
    let mut binding = plain(plugin.clone().unwrap_or_default());
    binding.on_failure = table.get("on-failure").and_then(|value| {
        value.choice(&[
            ("tempfail", OnFailure::TempFail),
            ("pass", OnFailure::Pass),
            ("reject", OnFailure::Reject),
            ("quarantine", OnFailure::Quarantine),
        ])
    });
    if let Some(value) = table.get("isolation") {
        let choices = [("domain", Isolation::Domain), ("transaction", Isolation::Transaction)];
        binding.isolation = value.choice(&choices).unwrap_or_default();
    }
    let inline = table
        .get("config")
        .and_then(|v| v.inline_table("for instance config = { delay = \"5 min\" }").and_then(|_| v.json()));
    let configured = if inline.is_some() { Configured::Inline } else { Configured::Elsewhere };
    if let Some(config) = inline {
        binding.config = config;
    }
    if let Some(value) = table.get("mode") {
        binding.mode = value.choice(&[("active", Mode::Active), ("shadow", Mode::Shadow)]).unwrap_or_default();
    }
    if let Some(value) = table.get("sample") {
        binding.sample = value.whole_number(1..=100, "10").map_or(100, |percent| percent as u8);
    }
    table.finish();
    plugin.and(used).map(|used| Bound { binding, configured, place: used.place() })
}

fn plugin_name(value: &Value<'_>) -> Option<String> {
    let name = value.string("\"greylist\"")?;
    match check_name(name) {
        Ok(()) => Some(name.to_owned()),
        Err((message, hint)) => {
            value.error(message, hint);
            None
        }
    }
}

/// A file name without its ending, which never leads out of its directory.
fn check_name(name: &str) -> Result<(), (String, String)> {
    let message = format!("{name:?} is not the name of a plugin");
    if let Some(stem) = name.strip_suffix(".wasm") {
        return Err((message, format!("leave the ending out: \"{}\"", stem.rsplit('/').next().unwrap_or(stem))));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        let hint = "the file's name without .wasm: letters, digits, hyphens, underscores and dots";
        return Err((message, hint.to_owned()));
    }
    Ok(())
}
