//! Reads the plugin's table of the domain's file (`[config.NAME]`), and says exactly what is wrong with it.

mod error;
mod value;

use crate::bindings::services::waypost::plugin::config as host;
use error::ConfigError;
use serde::de::DeserializeOwned;

/// One key of the table, as text; for a plugin with one or two keys.
pub fn get(key: &str) -> Option<String> {
    host::get(key)
}

/// The whole table as JSON.
pub fn json() -> String {
    host::json()
}

/// A secret of the domain, by name; none where it isn't granted.
pub fn secret(name: &str) -> Option<String> {
    host::secret(name)
}

/// The whole table as a type of the plugin's own. Derive `Deserialize` with
/// `#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]`, and a misspelt key is
/// answered with the nearest right one.
pub fn config<T: DeserializeOwned>() -> Result<T, String> {
    parse(&host::json(), "")
}

/// As [`config`], with an example to quote from: lines of TOML, one for each key.
pub fn with_example<T: DeserializeOwned>(example: &str) -> Result<T, String> {
    parse(&host::json(), example)
}

/// What [`with_example`] does with the host's JSON; for tests.
pub fn parse<T: DeserializeOwned>(json: &str, example: &str) -> Result<T, String> {
    let tree: serde_json::Value = serde_json::from_str(json).map_err(|e| format!("the configuration: {e}"))?;
    T::deserialize(value::Node(tree)).map_err(|error: ConfigError| error.with_example(example))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::text::{Glob, NextHop, OneOrMany};
    use serde::Deserialize;
    use std::time::Duration;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
    struct Settings {
        names: Vec<String>,
        fold_case: bool,
        limit: u8,
        #[serde(deserialize_with = "crate::text::duration")]
        delay: Duration,
        rest: Rest,
        routes: Vec<Route>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Rest {
        #[default]
        Hold,
        Default,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Route {
        #[serde(rename = "match")]
        pattern: Option<Glob>,
        next_hop: OneOrMany<NextHop>,
    }

    const EXAMPLE: &str = "names = [\"ann\"]\ndelay = \"5 min\"";

    fn refusal(json: &str) -> String {
        parse::<Settings>(json, EXAMPLE).unwrap_err()
    }

    #[test]
    fn a_table_is_read_and_what_is_absent_takes_its_default() {
        let read: Settings = parse(
            r#"{"names":["a"],"delay":"5 min","rest":"default","routes":[{"next-hop":"a:25"},{"match":"x*","next-hop":["b:1","c:2"]}]}"#,
            "",
        )
        .unwrap();
        assert_eq!((read.names.as_slice(), read.delay), (&["a".to_owned()][..], Duration::from_secs(300)));
        assert_eq!(read.rest, Rest::Default);
        assert_eq!(read.routes[1].next_hop.iter().map(NextHop::as_str).collect::<Vec<_>>(), ["b:1", "c:2"]);
        assert_eq!(parse::<Settings>("{}", ""), Ok(Settings::default()));
    }

    #[test]
    fn a_misspelt_key_is_answered_with_the_nearest_right_one() {
        assert_eq!(
            refusal(r#"{"name":[]}"#),
            "`name` is not a key here; did you mean `names`? for instance: names = [\"ann\"]"
        );
        assert_eq!(
            refusal(r#"{"routes":[{"next-hop":"a:25"},{"next-hops":"a:25"}]}"#),
            "`routes[1].next-hops` is not a key here; did you mean `next-hop`?"
        );
        assert_eq!(
            refusal(r#"{"colour":1}"#),
            "`colour` is not a key here; the keys are names, fold-case, limit, delay, rest, routes"
        );
    }

    #[test]
    fn a_wrong_value_is_answered_with_its_key_what_was_expected_and_an_example() {
        for (json, message) in [
            (r#"{"names":"ann"}"#, "`names`: expected a list, found \"ann\"; for instance: names = [\"ann\"]"),
            (r#"{"names":["ann",5]}"#, "`names[1]`: expected a string, found 5; for instance: names = [\"ann\"]"),
            (r#"{"fold-case":"yes"}"#, "`fold-case`: expected true or false, found \"yes\""),
            (r#"{"limit":300}"#, "`limit`: expected a whole number (not negative), found 300"),
            (
                r#"{"rest":"holt"}"#,
                "`rest`: expected one of \"hold\", \"default\", found \"holt\"; did you mean \"hold\"?",
            ),
            (r#"{"routes":[{}]}"#, "`routes[0].next-hop` is missing"),
            (r#"{"routes":[7]}"#, "`routes[0]`: expected a table, found 7"),
            ("[]", "expected a table, found a list"),
        ] {
            assert_eq!(refusal(json), message);
        }
        assert!(refusal(r#"{"delay":"soon"}"#).starts_with("`delay`: \"soon\" is not a duration"));
        assert!(refusal(r#"{"routes":[{"next-hop":"a"}]}"#).contains("`routes[0].next-hop`: \"a\" is not a next hop"));
        assert!(refusal(r#"{"routes":[{"next-hop":["a:1","b"]}]}"#).contains("`routes[0].next-hop[1]`: \"b\""));
    }
}
