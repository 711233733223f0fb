//! Decides how a wrong configuration is described: the key, what was expected, what stands there, an example.

use crate::nearest;
use serde::de::{self, Expected, Unexpected};
use std::fmt;

/// Where in the table, and what is wrong there.
#[derive(Debug)]
pub(super) struct ConfigError {
    /// `routes[1].next-hop`; empty for the table itself.
    path: String,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    /// Reads after a colon.
    Value(String),
    /// Reads on after the key; the right key, if one is near.
    Key(String, Option<&'static str>),
}

impl ConfigError {
    pub(super) fn at_key(mut self, key: &str) -> Self {
        let joint = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{key}{joint}{}", self.path);
        self
    }

    pub(super) fn at_index(mut self, index: usize) -> Self {
        let joint = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("[{index}]{joint}{}", self.path);
        self
    }

    /// The message; the line of `example` (TOML) that sets the key in question is quoted.
    pub(super) fn with_example(self, example: &str) -> String {
        let key = match (&self.problem, self.path.contains(['.', '['])) {
            (Problem::Key(_, Some(right)), false) => right,
            _ => self.path.split(['.', '[']).next().unwrap_or_default(),
        };
        let sets_key = |line: &&str| line.split_once('=').is_some_and(|(name, _)| name.trim() == key);
        match example.lines().map(str::trim).find(sets_key) {
            Some(line) if self.to_string().ends_with('?') => format!("{self} for instance: {line}"),
            Some(line) => format!("{self}; for instance: {line}"),
            None => self.to_string(),
        }
    }

    fn value(problem: String) -> Self {
        Self { path: String::new(), problem: Problem::Value(problem) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Value(problem) if self.path.is_empty() => f.write_str(problem),
            Problem::Value(problem) => write!(f, "`{}`: {problem}", self.path),
            Problem::Key(problem, _) => write!(f, "`{}` {problem}", self.path),
        }
    }
}

impl std::error::Error for ConfigError {}

impl de::Error for ConfigError {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self::value(problem.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::value(format!("expected {}, found {}", in_words(expected), described(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        let list: Vec<String> = expected.iter().map(|name| format!("{name:?}")).collect();
        let hint = nearest(found, expected.iter().copied()).map_or(String::new(), |n| format!("; did you mean {n:?}?"));
        Self::value(format!("expected one of {}, found {found:?}{hint}", list.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let near = nearest(field, expected.iter().copied());
        let hint = match near {
            Some(name) => format!("did you mean `{name}`?"),
            None if expected.is_empty() => "no key is expected".to_owned(),
            None => format!("the keys are {}", expected.join(", ")),
        };
        Self { path: field.to_owned(), problem: Problem::Key(format!("is not a key here; {hint}"), near) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { path: field.to_owned(), problem: Problem::Key("is missing".to_owned(), None) }
    }
}

/// What serde expects, in the words of a TOML file.
fn in_words(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    let words = match text.as_str() {
        "a sequence" => "a list",
        "a map" => "a table",
        "a boolean" => "true or false",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number (not negative)",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        struct_name if struct_name.starts_with("struct ") => "a table",
        _ => return text,
    };
    words.to_owned()
}

/// What stands there. A fraction is not printed: the code for it would be a tenth of a small plugin.
fn described(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        Unexpected::Str(text) => format!("{text:?}"),
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => value.to_string(),
        Unexpected::Signed(value) => value.to_string(),
        Unexpected::Float(_) => "a fraction".to_owned(),
        _ => "something else".to_owned(),
    }
}
