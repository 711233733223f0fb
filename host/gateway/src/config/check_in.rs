//! Reads both tables called `[check-in]`: how a domain's owner proves who they are, and where the gateway listens for it.
//!
//! Forms only: no password is tried here.

use super::{CheckIn, CheckInListener, DAY, Listener, ListenerTls, Secret, gateway_file::socket_address};
use crate::check_in::password;
use std::time::Duration;
use toml_keys::{Table, Value};

const HASH: &str = "\"$argon2id$…\"";
const USER: &str = "\"example-org\"";
const SCRAM: &str = "\"SCRAM-SHA-256$10000:…\"";
/// RFC 2195 §2 and RFC 2104 §3: a key shorter than the digest is weaker than it.
const SHORTEST_SECRET: usize = 16;

/// Of a domain's file. None when a key that is needed is missing or wrong.
pub(super) fn of_domain(mut table: Table<'_>, on_demand: bool) -> Option<CheckIn> {
    let user = table.required("user", USER).and_then(|value| value.parsed(USER, user));
    let password_hash = table.required("password-hash", HASH).and_then(|value| value.parsed(HASH, password::check));
    let scram_sha_256 = table.get("scram-sha-256").and_then(|value| value.parsed(SCRAM, str::parse));
    let cram_md5_secret = table.get("cram-md5-secret").and_then(|value| secret(&value));
    let lease = table.get("lease");
    if let Some(value) = lease.as_ref().filter(|_| on_demand) {
        let hint = "remove it: nobody is connected to, wherever they are";
        value.error("`lease` is for a next hop, and mail is collected on demand here", hint);
    }
    let lease = lease.and_then(|value| value.duration(Duration::from_secs(1)..=30 * DAY, "\"10 min\""));
    table.finish();
    Some(CheckIn { user: user?, password_hash: password_hash?, lease, scram_sha_256, cram_md5_secret })
}

/// In CRAM-MD5 a blank ends it, in SCRAM a comma would need escaping, in HTTP a colon ends it.
fn user(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b',' | b':' | b'=');
    match text.len() {
        1..=255 if text.bytes().all(plain) => Ok(text.to_owned()),
        _ => Err("a user is 1 to 255 printable ASCII characters without blank, comma, colon and ="),
    }
}

fn secret(value: &Value<'_>) -> Option<Secret> {
    let text = value.string("\"a password of its own\"")?;
    if text.len() < SHORTEST_SECRET {
        value.error(
            format!("`cram-md5-secret` has {} bytes; at least {SHORTEST_SECRET} are needed", text.len()),
            "whoever listens can guess a short one: let `waypost password --cram-md5` make it",
        );
    }
    Some(Secret::new(text))
}

/// Of waypost.toml.
pub(super) fn of_gateway(mut table: Table<'_>, taken: &[Listener]) -> Option<CheckInListener> {
    let listen = table.required("listen", "\"0.0.0.0:8443\"");
    let address = listen.as_ref().and_then(|v| v.parsed("\"0.0.0.0:8443\"", socket_address));
    if let (Some(value), Some(address)) = (&listen, address)
        && address.port() != 0
        && taken.iter().any(|listener| listener.address == address)
    {
        value.error(format!("{address} is a [[listener]] already"), "check-ins need an address of their own");
    }
    let tls =
        table.get("tls").and_then(|v| v.choice(&[("implicit", ListenerTls::Implicit), ("none", ListenerTls::None)]));
    table.finish();
    Some(CheckInListener { address: address?, tls: tls != Some(ListenerTls::None) })
}
