//! Reads `[identity]`: what the next hop must show before it gets any mail.
//!
//! A proof that could never hold, or that something else in the file defeats, is a mistake.

use super::Identity;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mail::{Domain, NextHop, TlsMode};
use std::net::IpAddr;
use toml_keys::Value;

const PIN: &str = "\"sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"";

/// What else the domain's file says that matters here.
pub(super) struct Around<'a> {
    pub(super) next_hops: &'a [NextHop],
    /// There is none: the owner comes for the mail.
    pub(super) on_demand: bool,
    /// As written; none where the file says nothing.
    pub(super) tls: Option<TlsMode>,
}

pub(super) fn read(value: &Value<'_>, around: &Around<'_>) -> Option<Identity> {
    let mut table = value.table()?;
    let (pin, name) = (table.get("pin"), table.get("name"));
    let (trust, dane) = (table.get("trust-on-first-probe"), table.get("dane"));
    let asked = |value: &Option<Value<'_>>| value.as_ref().is_some_and(|value| value.as_boolean() != Some(false));
    if pin.is_none() && name.is_none() && !asked(&trust) && !asked(&dane) {
        value.key_error(
            "[identity] asks for no proof",
            format!(
                "for instance pin = [{PIN}], trust-on-first-probe = true, name = \"mail.example.org\" or dane = true"
            ),
        );
    }
    let identity = Identity {
        pins: pin.map(|value| pins(&value)).unwrap_or_default(),
        trust_on_first_probe: trust.as_ref().and_then(|value| value.boolean()).unwrap_or_default(),
        name: name.and_then(|value| value.parsed("\"mail.example.org\"", certificate_name)),
        dane: dane.as_ref().and_then(|value| value.boolean()).unwrap_or_default(),
    };
    if around.on_demand {
        value.key_error(
            "whoever collects mail on demand proves who they are by [check-in]",
            "leave [identity] out: it is about next hops that are connected to",
        );
    }
    no_clear_text(value, around);
    if let Some(value) = trust.filter(|_| identity.trust_on_first_probe && !identity.pins.is_empty()) {
        value.key_error(
            "`pin` says which key it is: there is nothing to learn from the first probe",
            "keep one of `pin` and `trust-on-first-probe`",
        );
    }
    for value in dane.iter().filter(|_| identity.dane) {
        for hop in around.next_hops.iter().filter(|hop| hop.ip().is_some()) {
            let message = format!("{hop} is an address: TLSA records belong to names");
            value.key_error(message, "name the next hop, or leave `dane` out");
        }
    }
    table.finish();
    Some(identity)
}

fn certificate_name(text: &str) -> Result<Domain, String> {
    let name: Domain = text.parse().map_err(|error: mail::AddressError| error.to_string())?;
    if name.is_address_literal() || text.parse::<IpAddr>().is_ok() {
        Err(format!("{text} is an address, not a name"))
    } else {
        Ok(name)
    }
}

fn pins(value: &Value<'_>) -> Vec<[u8; 32]> {
    let written = value.one_or_more();
    if written.is_empty() {
        value.error("`pin` is an empty list", format!("for instance pin = [{PIN}]"));
    }
    written.iter().filter_map(|value| value.parsed(PIN, pin)).collect()
}

fn pin(text: &str) -> Result<[u8; 32], String> {
    let Some(encoded) = text.strip_prefix("sha256:") else {
        return Err(format!("{text:?} does not begin with sha256:"));
    };
    let bytes = STANDARD.decode(encoded).map_err(|error| format!("what follows sha256: is no base64: {error}"))?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| format!("what follows sha256: has {length} bytes in place of 32"))
}

/// With `[identity]`, TLS is required whatever else is said; saying none is a contradiction.
fn no_clear_text(value: &Value<'_>, around: &Around<'_>) {
    if around.tls == Some(TlsMode::None) {
        value.key_error(
            "`tls` is \"none\", and in clear text nobody can prove anything",
            "leave `tls` out: with [identity] TLS is always required",
        );
    }
    for hop in around.next_hops.iter().filter(|hop| hop.tls == Some(TlsMode::None)) {
        value.key_error(
            format!("{hop} is without TLS, and in clear text nobody can prove anything"),
            "leave ?tls=none out, or [identity]",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_the_base64_of_32_bytes() {
        let text = PIN.trim_matches('"');
        assert_eq!(pin(text).unwrap().first(), Some(&0xe3));
        for wrong in ["", "sha256:", "sha1:AAAA", "sha256:AAAA", "sha256:not base64", &text[7..]] {
            assert!(pin(wrong).is_err(), "{wrong}");
        }
    }
}
