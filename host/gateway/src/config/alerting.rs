//! Reads who is alerted, in a domain's file and in the gateway's.
//!
//! Never connects and never looks whether a program exists.

use super::{AlertTarget, Alerting};
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use toml_keys::{Table, Value};

pub(super) const EXAMPLE: &str = "[\"https://hooks.example.org/outage\"]";
const COMMAND: &str = "{ command = [\"/usr/local/bin/page-me\"] }";
const HOUR: Duration = Duration::from_secs(3600);

impl Alerting {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { to: Vec::new(), secret_file: data_dir.join("alert-secret"), expiry_warning: 24 * HOUR }
    }
}

/// `[alerts]` of the gateway's file.
pub(super) fn read(mut table: Table<'_>, base: &Path, data_dir: &Path) -> Alerting {
    let default = Alerting::new(data_dir);
    let example = "\"data/alert-secret\"";
    let alerting = Alerting {
        to: table.get("to").map(|value| targets(&value)).unwrap_or_default(),
        secret_file: table
            .get("secret-file")
            .and_then(|value| value.string(example))
            .map_or(default.secret_file, |path| base.join(path)),
        expiry_warning: table
            .get("expiry-warning")
            .and_then(|value| value.duration(Duration::from_secs(1)..=1000 * 24 * HOUR, "\"24 h\""))
            .unwrap_or(default.expiry_warning),
    };
    table.finish();
    alerting
}

/// URLs and tables with a command; each mistake is noted.
pub(super) fn targets(value: &Value<'_>) -> Vec<AlertTarget> {
    let mut targets: Vec<AlertTarget> = Vec::new();
    for target in value.one_or_more().iter().filter_map(target) {
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets
}

fn target(value: &Value<'_>) -> Option<AlertTarget> {
    if value.is_table() {
        let mut table = value.inline_table(&format!("for instance {COMMAND}"))?;
        let command = table.required("command", "[\"/usr/local/bin/page-me\"]").and_then(|value| command(&value));
        table.finish();
        return command.map(AlertTarget::Command);
    }
    value.parsed(EXAMPLE, |text| webhook(text).map(|()| AlertTarget::Webhook(text.to_owned())))
}

fn command(value: &Value<'_>) -> Option<Vec<String>> {
    let words = value.strings("[\"/usr/local/bin/page-me\", \"argument\"]")?;
    match words.first().map(PathBuf::from) {
        Some(program) if program.is_absolute() => Some(words),
        // What a search finds depends on who started the gateway.
        _ => {
            let hint = format!("there is no shell and no search: for instance {COMMAND}");
            value.error("`command` must begin with the absolute path of a program", hint);
            None
        }
    }
}

/// An alert says whose mail waits and why, so nobody on the way may read it: plain HTTP stays on private networks.
fn webhook(text: &str) -> Result<(), String> {
    let url: http::Uri = text.parse().map_err(|_| format!("{text:?} is not a URL"))?;
    let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
        return Err(format!("{text:?} is not a URL that begins with https://"));
    };
    if authority.as_str().contains('@') {
        return Err("a URL with a user or a password is not supported: alerts are signed instead".to_owned());
    }
    match scheme {
        "https" => Ok(()),
        "http" if is_private(url.host().unwrap_or_default()) => Ok(()),
        "http" => Err("http:// is only for loopback and private addresses: use https://".to_owned()),
        other => Err(format!("{other}:// is not supported: use https://")),
    }
}

/// Names are not resolved, so only `localhost` is known to be near.
fn is_private(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_private_networks() {
        for good in [
            "https://hooks.example.org/outage",
            "https://hooks.example.org:8443/a?b=c",
            "http://127.0.0.1:8080/",
            "http://localhost/alert",
            "http://[::1]:80/",
            "http://10.1.2.3/x",
            "http://[fd00::1]/x",
        ] {
            assert_eq!(webhook(good), Ok(()), "{good}");
        }
        for bad in [
            "http://hooks.example.org/outage",
            "http://192.0.2.1/",
            "http://localhost.example.org/",
            "ftp://hooks.example.org/",
            "https://user:secret@hooks.example.org/",
            "hooks.example.org",
            "/outage",
            "https://",
            "",
        ] {
            assert!(webhook(bad).is_err(), "{bad}");
        }
    }
}
