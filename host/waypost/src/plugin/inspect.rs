//! `waypost plugin inspect`: what a component says of itself, and whether the gateway would take it.

use super::{PluginError, print_line};
use plugin_host::{HostConfig, Inspection, PluginHost};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{fmt::Write, path::PathBuf, sync::Arc};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args) -> Result<(), PluginError> {
    let bytes = std::fs::read(&args.file)
        .map_err(|error| PluginError::Usage(format!("waypost plugin inspect: {}: {error}", args.file.display())))?;
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    // Of its own, so that the time to compile is told, not the time to find what was compiled before.
    let dir = tempfile::tempdir().map_err(|error| PluginError::Failed(error.to_string()))?;
    let kv = Arc::new(plugin_test::MemoryKv::default());
    let config = HostConfig::new(dir.path().to_owned(), dir.path().join("cache"), kv);
    let host = PluginHost::new(config).map_err(|error| PluginError::Failed(error.to_string()))?;
    match host.inspect(&args.file).await {
        Ok(inspection) if args.json => print_line(&as_json(&inspection, &sha256).to_string()),
        Ok(inspection) => print_line(&as_text(&inspection, &sha256)),
        Err(error) if args.json => {
            let report = json!({ "usable": false, "reason": error.reason, "size": bytes.len(), "sha256": sha256 });
            print_line(&report.to_string());
            return Err(PluginError::Failed(refusal(&args.file, &error.reason)));
        }
        Err(error) => return Err(PluginError::Failed(refusal(&args.file, &error.reason))),
    }
    Ok(())
}

fn refusal(file: &std::path::Path, reason: &str) -> String {
    format!("{}: it cannot serve: {reason}", file.display())
}

fn as_text(found: &Inspection, sha256: &str) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<9} {value}");
    };
    line("name", found.name.as_deref().unwrap_or("- (the component does not say)"));
    line("version", found.version.as_deref().unwrap_or("- (the component does not say)"));
    line("hooks", &found.hooks.join(", "));
    line("contract", &format!("waypost:plugin@{}", found.wit_version));
    for (name, why) in grants(found) {
        line("grants", &format!("{name}  ({why})"));
    }
    for (index, import) in found.imports.iter().enumerate() {
        line(if index == 0 { "imports" } else { "" }, import);
    }
    line("size", &format!("{} bytes", found.size));
    line("compiled", &format!("in {:.1?}", found.compile_time));
    line("sha256", sha256);
    text.truncate(text.trim_end().len());
    text
}

fn as_json(found: &Inspection, sha256: &str) -> serde_json::Value {
    let grants: Vec<_> = grants(found).iter().map(|(name, why)| json!({ "grant": name, "why": why })).collect();
    json!({
        "usable": true,
        "name": found.name,
        "version": found.version,
        "hooks": found.hooks,
        "contract": format!("waypost:plugin@{}", found.wit_version),
        "imports": found.imports,
        "grants": grants,
        "size": found.size,
        "compile-us": u64::try_from(found.compile_time.as_micros()).unwrap_or(u64::MAX),
        "sha256": sha256,
    })
}

/// What an operator may have to grant beyond the defaults. Some languages import all of the contract, so an import of
/// `dns` says only that it might be asked.
fn grants(found: &Inspection) -> Vec<(&'static str, &'static str)> {
    let imports = |prefix: &str| found.imports.iter().any(|name| name.starts_with(prefix));
    let mut grants = Vec::new();
    if imports("wasi:http/") {
        grants.push(("\"https://HOST\"", "it imports wasi:http: one grant for each server that it asks"));
    }
    if imports("waypost:plugin/dns@") {
        grants.push(("\"dns\"", "it imports dns; needed if it really asks"));
    }
    grants
}
