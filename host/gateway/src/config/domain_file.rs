//! Reads one domain's file.
//!
//! A setting that this version cannot honour is an error, never ignored: most of them guard
//! somebody's mail.

use super::{
    Accept, DAY, DomainConfig, ON_DEMAND, Offline, OfflineSetting, Record, Service, alerting, check_in,
    hops::{self, HOP},
    identity,
    own_address::OwnAddresses,
    plugins,
};
use crate::dsn;
use journal::recorded::Bounds;
use mail::{Domain, TlsMode};
use std::{path::PathBuf, time::Duration};
use toml_keys::{Source, Table, Value};

pub(super) const TOP_KEYS: &[&str] =
    &["next-hop", "tls", "retention", "accept", "delay-notice", "plugins", "authentication-results", "record"];

/// None when something is wrong that leaves no sense in the rest; every mistake is noted.
pub(super) fn read(
    source: &Source<'_>,
    name: Domain,
    own_plugins: Option<PathBuf>,
    own: &OwnAddresses<'_>,
) -> Option<DomainConfig> {
    let document = source.parse()?;
    let mut root = source.root(&document);
    let next_hop = root.required("next-hop", HOP);
    let on_demand = next_hop.as_ref().is_some_and(|value| value.is_string() && value.string(HOP) == Some(ON_DEMAND));
    let next_hops = next_hop.as_ref().filter(|_| !on_demand).map(|value| hops::read(value, own)).unwrap_or_default();
    let tls = root.get("tls").and_then(|value| {
        // The default comes first: it is the example.
        let mode = |mode: TlsMode| (mode.as_str(), mode);
        value.choice(&[
            mode(TlsMode::Opportunistic),
            mode(TlsMode::None),
            mode(TlsMode::Required),
            mode(TlsMode::Verified),
        ])
    });
    let retention = root
        .get("retention")
        .and_then(|value| value.duration(Duration::from_secs(1)..=1000 * DAY, "\"30 d\""))
        .unwrap_or(30 * DAY);
    let delay_notice = root
        .get("delay-notice")
        .and_then(|value| value.duration(Duration::from_secs(1)..=1000 * DAY, "\"4 h\""))
        .unwrap_or(dsn::DELAY_NOTICE);
    let accept =
        root.get("accept").and_then(|v| v.choice(&[("after-probe", Accept::AfterProbe), ("always", Accept::Always)]));
    let (plugins, plugin_places) = plugins::bindings(&mut root).into_iter().unzip();
    let authentication_results = root.get("authentication-results").and_then(|value| value.boolean());
    let record = root.get("record").and_then(|v| record(&v));
    let offline = root.get("offline").and_then(|v| v.table()).map(|table| offline(table, own)).unwrap_or_default();
    let around = identity::Around { next_hops: &next_hops, on_demand, tls };
    let identity = root.get("identity").and_then(|value| identity::read(&value, &around));
    let check_in = root.get("check-in").and_then(|value| value.table());
    if let Some(value) = next_hop.filter(|_| on_demand) {
        collectable(&value, check_in.is_some(), own);
    }
    let check_in = check_in.and_then(|table| check_in::of_domain(table, on_demand));
    root.finish();
    Some(DomainConfig {
        file: source.file.to_owned(),
        name,
        next_hops,
        on_demand,
        tls: tls.unwrap_or_default(),
        retention,
        accept: accept.unwrap_or_default(),
        delay_notice,
        plugins,
        plugin_places,
        own_plugins,
        offline,
        identity,
        check_in,
        authentication_results,
        record,
    })
}

/// Mail that nobody can collect would wait until it is given up.
fn collectable(value: &Value<'_>, has_check_in: bool, own: &OwnAddresses<'_>) {
    if !has_check_in {
        let hint = "`waypost password` prints the lines to add";
        value.error("mail that is collected on demand needs a [check-in] with a user and a password", hint);
    }
    if !own.listeners.iter().any(|listener| listener.service == Service::Odmr) {
        let hint = "add one to waypost.toml: [[listener]], address = \"[::]:366\", service = \"odmr\"";
        value.error("mail that is collected on demand needs a [[listener]] with service = \"odmr\"", hint);
    }
}

fn offline(mut table: Table<'_>, own: &OwnAddresses<'_>) -> Offline {
    let action = table.get("action");
    let redirect = table.get("redirect").map(|value| hops::read(&value, own));
    let setting = action.as_ref().and_then(|value| {
        value.choice(&[
            ("hold", OfflineSetting::Hold),
            ("redirect", OfflineSetting::Redirect),
            ("bounce", OfflineSetting::Bounce),
        ])
    });
    if let Some(value) = action.filter(|_| setting == Some(OfflineSetting::Redirect) && redirect.is_none()) {
        let hint = "add where to, for instance redirect = \"backup.example.net:25\"";
        value.error("`action` is \"redirect\", but `redirect` is missing", hint);
    }
    let alert = table.get("alert").map(|value| alerting::targets(&value)).unwrap_or_default();
    let alert_after = table.get("alert-after").and_then(|value| value.duration(Duration::ZERO..=DAY, "\"1 min\""));
    let hold_refusals =
        table.get("hold-refusals").and_then(|value| value.duration(Duration::ZERO..=1000 * DAY, "\"1 d\""));
    table.finish();
    let default = Offline::default();
    Offline {
        action: setting.unwrap_or_default(),
        redirect: redirect.unwrap_or_default(),
        alert,
        alert_after: alert_after.unwrap_or(default.alert_after),
        hold_refusals: hold_refusals.unwrap_or(default.hold_refusals),
    }
}

fn record(value: &Value<'_>) -> Option<Record> {
    let mut table =
        value.inline_table("for instance record = { sample = 10, keep = \"7 d\", max-size = \"100 MiB\" }")?;
    let sample = table.get("sample").and_then(|v| v.whole_number(1..=100, "10")).unwrap_or(100);
    let keep = table.get("keep").and_then(|v| v.duration(Duration::from_secs(60)..=1000 * DAY, "\"7 d\""));
    let max_size = table.get("max-size").and_then(|v| v.size(1 << 20..=1 << 40, "\"100 MiB\""));
    table.finish();
    let bounds = Bounds { keep: keep.unwrap_or(7 * DAY), max_size: max_size.unwrap_or(100 << 20) };
    Some(Record { sample: sample as u8, bounds })
}
