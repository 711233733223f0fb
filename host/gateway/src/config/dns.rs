//! Reads `[dns]` and `[next-hop-tls]` of the gateway's file: who is asked where next hops are, and who vouches for them.

use super::{DnsSettings, gateway_file::socket_address};
use std::path::{Path, PathBuf};
use toml_keys::Table;

pub(super) fn read(mut table: Table<'_>, base: &Path) -> DnsSettings {
    let example = "[\"127.0.0.1:53\"]";
    let servers = table.get("servers").map(|value| {
        let written = value.one_or_more();
        if written.is_empty() {
            value.error("`servers` is an empty list", "leave it out to ask the system's servers");
        }
        written.iter().filter_map(|v| v.parsed(example, socket_address)).collect()
    });
    let trust_anchor = table.get("trust-anchor").and_then(|value| {
        let path = base.join(value.string("\"root.key\"")?);
        if let Err(error) = crate::dns::read_anchors(&path) {
            value.error(error.to_string(), "a file of DNSKEY records in zone file format, as unbound-anchor makes");
        }
        Some(path)
    });
    table.finish();
    DnsSettings { servers: servers.unwrap_or_default(), trust_anchor }
}

/// Authorities that are believed beside the system's.
pub(super) fn authorities(mut table: Table<'_>, base: &Path) -> Option<PathBuf> {
    let file = table.required("ca-file", "\"ca.pem\"").and_then(|value| {
        let path = base.join(value.string("\"ca.pem\"")?);
        if let Err(error) = crate::tls::read_authorities(&path) {
            value.error(error.to_string(), "a file of certificates in PEM, each from BEGIN CERTIFICATE to its end");
        }
        Some(path)
    });
    table.finish();
    file
}
