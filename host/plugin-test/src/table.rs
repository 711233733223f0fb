//! The table that a plugin reads, as it is given on a command line: JSON or TOML.

use serde_json::Value;

/// What begins with a brace is JSON, everything else is TOML. The error says where the mistake is.
pub fn parse_table(text: &str) -> Result<Value, String> {
    let value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?
    } else {
        let table: toml::Table = toml::from_str(text).map_err(|error| format!("it is no TOML: {error}"))?;
        serde_json::to_value(table).map_err(|error| error.to_string())?
    };
    if value.is_object() { Ok(value) } else { Err("it is no table".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_json_or_toml() {
        assert_eq!(parse_table("{\"delay-s\": \"60\"}").unwrap(), parse_table("delay-s = \"60\"").unwrap());
        assert_eq!(parse_table("").unwrap(), serde_json::json!({}));
        assert!(parse_table("{").unwrap_err().contains("line 1"));
        assert!(parse_table("60").unwrap_err().contains("no TOML"));
    }
}
