//! Decides which header fields a message gets. Calls nothing.

use super::Template;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `[config.tag]` of a domain.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    headers: BTreeMap<String, String>,
    subject_prefix: Option<String>,
}

impl Settings {
    pub const EXAMPLE: &str = r#"
        headers = { "X-Gateway" = "{domain} {id}" }
        subject-prefix = "[external]"
    "#;
}

/// What a value may speak of.
#[derive(Clone, Debug)]
pub struct Facts {
    pub domain: String,
    pub id: String,
    /// None is the null reverse-path.
    pub sender: Option<String>,
    pub recipients: usize,
    /// Hundredths of a point.
    pub score: i32,
}

/// The settings, checked.
#[derive(Debug)]
pub struct Tags {
    headers: Vec<(String, Template)>,
    subject_prefix: Option<String>,
}

/// Fields that a message must not hold twice (RFC 5322 §3.6), and those that others rely on as evidence.
const RESERVED: [&str; 20] = [
    "arc-authentication-results",
    "arc-message-signature",
    "arc-seal",
    "authentication-results",
    "bcc",
    "cc",
    "content-transfer-encoding",
    "content-type",
    "date",
    "dkim-signature",
    "from",
    "in-reply-to",
    "message-id",
    "mime-version",
    "received",
    "references",
    "reply-to",
    "return-path",
    "sender",
    "to",
];

impl Tags {
    pub fn new(settings: Settings) -> Result<Self, String> {
        let headers = settings.headers.iter().map(|(name, value)| field(name, value)).collect::<Result<Vec<_>, _>>()?;
        let subject_prefix = settings.subject_prefix.as_deref().map(checked_prefix).transpose()?;
        if headers.is_empty() && subject_prefix.is_none() {
            return Ok(Self { headers: vec![field("X-Waypost", "{id}")?], subject_prefix: None });
        }
        Ok(Self { headers, subject_prefix })
    }

    /// Name and value of each field, in the order of their names.
    pub fn fields(&self, facts: &Facts) -> impl Iterator<Item = (&str, String)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.fill(facts)))
    }

    pub fn wants_subject(&self) -> bool {
        self.subject_prefix.is_some()
    }

    /// The new subject; none where the prefix is there already, as in an answer (`Re: [external] …`).
    pub fn subject(&self, old: &str) -> Option<String> {
        let prefix = self.subject_prefix.as_deref()?;
        let old: String = old.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let has_it = old.to_lowercase().contains(&prefix.to_lowercase());
        (!has_it).then(|| format!("{prefix} {}", old.trim()).trim_end().to_owned())
    }
}

fn field(name: &str, value: &str) -> Result<(String, Template), String> {
    let example = "for instance: headers = { \"X-Gateway\" = \"{domain} {id}\" }";
    // RFC 5322 §3.6.8: printable ASCII without the colon.
    if !(1..=76).contains(&name.len()) || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
        return Err(format!(
            "`headers`: {name:?} is not a field name; expected 1 to 76 printable ASCII characters without a colon or space; {example}"
        ));
    }
    let folded = name.to_ascii_lowercase();
    if folded == "subject" {
        return Err(format!(
            "`headers`: {name} is set by `subject-prefix`, for instance: subject-prefix = \"[external]\""
        ));
    }
    if RESERVED.contains(&folded.as_str()) || folded.starts_with("resent-") {
        return Err(format!(
            "`headers`: {name} has a meaning of its own; expected a field that mail does not use; {example}"
        ));
    }
    let value = Template::parse(value).map_err(|why| format!("`headers.{name}`: {value:?} {why}; {example}"))?;
    Ok((name.to_owned(), value))
}

fn checked_prefix(prefix: &str) -> Result<String, String> {
    let problem = match prefix.trim() {
        "" => "is empty",
        _ if prefix.len() > 60 => "is longer than 60 bytes",
        _ if prefix.chars().any(char::is_control) => "holds a control character",
        trimmed => return Ok(trimmed.to_owned()),
    };
    Err(format!("`subject-prefix` {problem}; expected a short text, for instance: subject-prefix = \"[external]\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_sdk::config::parse;

    fn tags(json: &str) -> Result<Tags, String> {
        Tags::new(parse(json, Settings::EXAMPLE)?)
    }

    fn fields(json: &str) -> Vec<(String, String)> {
        let facts =
            Facts { domain: "example.org".to_owned(), id: "01J".to_owned(), sender: None, recipients: 1, score: 0 };
        tags(json).unwrap().fields(&facts).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn without_configuration_a_message_gets_its_id() {
        assert_eq!(fields("{}"), [pair("X-Waypost", "01J")]);
        assert_eq!(fields(r#"{"headers":{}}"#), [pair("X-Waypost", "01J")]);
        assert_eq!(fields(r#"{"subject-prefix":"[x]"}"#), []);
    }

    #[test]
    fn configured_fields_are_added_with_their_values_filled_in() {
        assert_eq!(
            fields(r#"{"headers":{"X-Gateway":"gw1","X-From":"{sender} to {domain}"}}"#),
            [pair("X-From", "<> to example.org"), pair("X-Gateway", "gw1")]
        );
    }

    #[test]
    fn a_subject_is_prefixed_once() {
        let tags = tags(r#"{"subject-prefix":" [external] "}"#).unwrap();
        assert!(tags.wants_subject());
        assert_eq!(tags.subject("Hello").as_deref(), Some("[external] Hello"));
        assert_eq!(tags.subject("").as_deref(), Some("[external]"));
        assert_eq!(tags.subject("a\r\nBcc: b").as_deref(), Some("[external] a  Bcc: b"));
        assert_eq!(tags.subject("[external] Hello"), None);
        assert_eq!(tags.subject("Re: [External] Hello"), None);
        assert_eq!(Tags::new(Settings::default()).unwrap().subject("Hello"), None);
    }

    #[test]
    fn a_bad_configuration_is_refused_with_its_key_and_an_example() {
        for (json, parts) in [
            (r#"{"header":{}}"#, ["`header` is not a key here", "did you mean `headers`?", "X-Gateway"]),
            (r#"{"headers":["X-A"]}"#, ["`headers`", "expected a table", "for instance: headers = "]),
            (r#"{"headers":{"X-A":5}}"#, ["`headers.X-A`", "expected a string", "for instance: headers = "]),
            (r#"{"headers":{"X A":"b"}}"#, ["`headers`", "\"X A\" is not a field name", "for instance"]),
            (r#"{"headers":{"":"b"}}"#, ["`headers`", "is not a field name", "for instance"]),
            (r#"{"headers":{"X:":"b"}}"#, ["`headers`", "without a colon", "for instance"]),
            (r#"{"headers":{"X-A":"{idd}"}}"#, ["`headers.X-A`", "did you mean {id}?", "for instance"]),
            (r#"{"headers":{"X-A":"a\r\nb"}}"#, ["`headers.X-A`", "control character", "for instance"]),
            (r#"{"headers":{"FROM":"b"}}"#, ["`headers`", "FROM has a meaning of its own", "for instance"]),
            (r#"{"headers":{"Resent-To":"b"}}"#, ["`headers`", "meaning of its own", "for instance"]),
            (r#"{"headers":{"Subject":"b"}}"#, ["`headers`", "`subject-prefix`", "[external]"]),
            (r#"{"subject-prefix":""}"#, ["`subject-prefix`", "is empty", "[external]"]),
            (r#"{"subject-prefix":"a\nb"}"#, ["`subject-prefix`", "control character", "[external]"]),
        ] {
            let message = tags(json).unwrap_err();
            for part in parts {
                assert!(message.contains(part), "{json}: {message}");
            }
        }
    }

    #[test]
    fn the_examples_in_readme_and_messages_are_valid() {
        let readme = include_str!("../README.md");
        let block = readme.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let file: serde_json::Value = toml::from_str(block).unwrap();
        let example: serde_json::Value = toml::from_str(Settings::EXAMPLE).unwrap();
        for table in [&file["config"]["tag"], &example] {
            tags(&table.to_string()).map(drop).unwrap();
        }
    }
}
