//! The table that a plugin reads for its domain, prepared once when it is loaded.

use serde_json::Value;
use std::collections::HashMap;

/// The member whose strings only `config.secret` hands out.
const SECRETS: &str = "secrets";

/// Texts as the guest gets them.
#[derive(Debug, Default)]
pub(crate) struct ConfigTable {
    json: String,
    values: HashMap<String, String>,
    secrets: HashMap<String, String>,
}

impl ConfigTable {
    pub(crate) fn new(config: &Value) -> Self {
        let Value::Object(table) = config else {
            return Self { json: "{}".to_owned(), ..Self::default() };
        };
        let mut table = table.clone();
        let secrets = match table.remove(SECRETS) {
            Some(Value::Object(secrets)) => secrets.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
            _ => HashMap::new(),
        };
        let values = table.iter().map(|(key, value)| (key.clone(), text(value))).collect();
        Self { json: Value::Object(table).to_string(), values, secrets }
    }
    /// Without the secrets.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }
    pub(crate) fn secret(&self, name: &str) -> Option<&str> {
        self.secrets.get(name).map(String::as_str)
    }
}

/// Strings as they are, everything else as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_handed_out_one_by_one_and_never_with_the_table() {
        let table = ConfigTable::new(&json!({ "delay": "5 min", "n": 3, "secrets": { "key": "s3cret" } }));
        assert_eq!((table.get("delay"), table.get("n")), (Some("5 min"), Some("3")));
        assert_eq!((table.secret("key"), table.get("secrets")), (Some("s3cret"), None));
        assert_eq!(table.json(), r#"{"delay":"5 min","n":3}"#);
        assert_eq!(ConfigTable::new(&Value::Null).json(), "{}");
    }
}
