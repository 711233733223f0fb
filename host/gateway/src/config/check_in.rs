//! Reads `[check-in]`: how a domain's owner proves who they are.
//!
//! Forms only: no password is tried here.

use super::{CheckIn, DAY, Secret};
use argon2::password_hash::phc::PasswordHash;
use std::time::Duration;
use toml_keys::{Table, Value};

const HASH: &str = "\"$argon2id$…\"";
const USER: &str = "\"example-org\"";
const SCRAM: &str = "\"SCRAM-SHA-256$10000:…\"";
/// RFC 2195 §2 and RFC 2104 §3: a key shorter than the digest is weaker than it.
const SHORTEST_SECRET: usize = 16;

/// None when a key that is needed is missing or wrong.
pub(super) fn read(mut table: Table<'_>) -> Option<CheckIn> {
    let user = table.required("user", USER).and_then(|value| value.parsed(USER, user));
    let password_hash = table.required("password-hash", HASH).and_then(|value| value.parsed(HASH, argon2id));
    let scram_sha_256 = table.get("scram-sha-256").and_then(|value| value.parsed(SCRAM, str::parse));
    let cram_md5_secret = table.get("cram-md5-secret").and_then(|value| secret(&value));
    if let Some(value) = table.get("lease") {
        value.duration(Duration::from_secs(1)..=1000 * DAY, "\"10 min\"");
        value.key_error("`lease` is not supported by this version yet", "leave it out: it would not be enforced");
    }
    table.finish();
    let lease = Duration::from_secs(600);
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

fn argon2id(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "this is no argon2id hash with its salt; let `waypost password` make it";
    let hash = PasswordHash::new(text).map_err(|_| WRONG)?;
    let whole = hash.algorithm.as_str() == "argon2id" && hash.salt.is_some() && hash.hash.is_some();
    let usable = argon2::Params::try_from(&hash).is_ok();
    if whole && usable { Ok(text.to_owned()) } else { Err(WRONG) }
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
