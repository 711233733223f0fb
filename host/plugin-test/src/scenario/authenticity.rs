//! Reads what a step says that the gateway has found out: `spf`, `dkim`, `dmarc` and `arc`.

use super::step::Keys;
use mail::{AuthResult, Authenticity};
use toml_keys::Value;

/// Nothing has been checked where the step says nothing.
pub(super) fn read(keys: &mut Keys<'_, '_>) -> Authenticity {
    let mut of = |key| keys.get(key).as_ref().and_then(result).unwrap_or_default();
    let (spf, dmarc, arc) = (of("spf"), of("dmarc"), of("arc"));
    let signatures = keys.get("dkim").and_then(|value| value.table()).map(|table| table.all()).unwrap_or_default();
    let dkim = signatures.iter().filter_map(|(domain, value)| Some(((*domain).to_owned(), result(value)?))).collect();
    Authenticity { spf, dkim, dmarc, arc }
}

fn result(value: &Value<'_>) -> Option<AuthResult> {
    value.choice(&AuthResult::ALL.map(|result| (result.as_str(), result)))
}
