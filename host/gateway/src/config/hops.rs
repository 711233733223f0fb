//! Reads next hops, and refuses those that would send mail round in a circle.

use super::own_address::OwnAddresses;
use mail::NextHop;
use toml_keys::Value;

/// An example of one.
pub(super) const HOP: &str = "\"mail.example.org:25\"";

/// One, or a list that is not empty.
pub(super) fn read(value: &Value<'_>, own: &OwnAddresses<'_>) -> Vec<NextHop> {
    let written = value.one_or_more();
    if written.is_empty() {
        value.error(format!("`{}` is an empty list", value.name), format!("for instance {} = {HOP}", value.name));
    }
    let mut hops: Vec<NextHop> = Vec::new();
    for value in written {
        let Some(hop) = value.parsed::<NextHop, _>(HOP, str::parse) else { continue };
        if let Some(listener) = own.reached_by(&hop) {
            value.error(
                format!("{hop} is this gateway itself, which listens on {listener}: mail would go round in a circle"),
                "name the server that mail goes on to",
            );
        }
        if hops.contains(&hop) {
            value.error(format!("{hop} is in `{}` twice", value.name), "they are tried in order; once is enough");
        }
        hops.push(hop);
    }
    hops
}
