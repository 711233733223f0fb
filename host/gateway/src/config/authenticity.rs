//! Reads `[authenticity]` of the gateway's file: whether it is looked at where mail comes from, and for how long.

use super::Authenticity;
use std::time::Duration;
use toml_keys::Table;

/// RFC 7208 §4.6.4 asks for 20 seconds at least for SPF alone; clients wait longer, people don't like to.
const LONGEST: Duration = Duration::from_secs(60);

pub(super) fn read(mut table: Table<'_>) -> Authenticity {
    let default = Authenticity::default();
    let settings = Authenticity {
        enabled: table.get("enabled").and_then(|value| value.boolean()).unwrap_or(default.enabled),
        time: table
            .get("time")
            .and_then(|value| value.duration(Duration::from_secs(1)..=LONGEST, "\"10 s\""))
            .unwrap_or(default.time),
    };
    table.finish();
    settings
}
