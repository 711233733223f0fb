//! Reads one TOML value as what it should be, or notes what was expected.

use super::{
    nearest,
    table::{Source, Table},
};
use std::{
    fmt::Display,
    ops::{Range, RangeInclusive},
    time::Duration,
};
use toml::{Spanned, de::DeValue};

/// A value, the key that it belongs to, and where both stand.
#[derive(Clone)]
pub(crate) struct Value<'a> {
    pub(super) source: &'a Source<'a>,
    pub(crate) name: String,
    pub(super) key: Range<usize>,
    pub(super) spanned: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    /// Under the name that its table has in the file: `step.expect`.
    pub(crate) fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    pub(crate) fn note(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.source.note(self.spanned.span(), message.into(), Some(hint.into()));
    }

    /// About the key, for values that span lines.
    pub(crate) fn note_key(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.source.note(self.key.clone(), message.into(), Some(hint.into()));
    }

    /// `example` is TOML.
    pub(crate) fn string(&self, example: &str) -> Option<&'a str> {
        match self.spanned.get_ref() {
            DeValue::String(text) => Some(text.as_ref()),
            _ => self.wrong_type("a string", example),
        }
    }

    pub(crate) fn parsed<T, E: Display>(&self, example: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        parse(self.string(example)?).map_err(|error| self.wrong(&error.to_string(), example)).ok()
    }

    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let Some(text) = self.spanned.get_ref().as_str() else {
            self.note(format!("`{}` must be a string, not {}", self.name, self.kind()), nearest("", &names, '"'));
            return None;
        };
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            self.note(format!("`{}` cannot be \"{text}\"", self.name), nearest(text, &names, '"'));
        }
        found
    }

    pub(crate) fn is_true(&self) -> bool {
        self.spanned.get_ref().as_bool() == Some(true)
    }

    pub(crate) fn is_false(&self) -> bool {
        self.spanned.get_ref().as_bool() == Some(false)
    }

    pub(crate) fn is_table(&self) -> bool {
        self.spanned.get_ref().is_table()
    }

    pub(crate) fn whole_number<T>(&self, range: RangeInclusive<T>, example: &str) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let DeValue::Integer(digits) = self.spanned.get_ref() else {
            return self.wrong_type("a whole number", example);
        };
        let number = i64::from_str_radix(digits.as_str(), digits.radix()).ok().and_then(|n| T::try_from(n).ok());
        let number = number.filter(|n| range.contains(n));
        if number.is_none() {
            let message = format!("`{}` must be from {} to {}", self.name, range.start(), range.end());
            self.note(message, format!("for instance {} = {example}", self.name));
        }
        number
    }

    pub(crate) fn number(&self, example: &str) -> Option<f64> {
        match self.spanned.get_ref() {
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix()).ok().map(|n| n as f64),
            DeValue::Float(digits) => digits.as_str().parse().ok(),
            _ => self.wrong_type("a number", example),
        }
    }

    /// In bytes.
    pub(crate) fn size(&self, range: RangeInclusive<u64>, example: &str) -> Option<u64> {
        let size = self.parsed(example, mail::parse_size)?;
        if !range.contains(&size) {
            let message = format!("`{}` must be from {} to {} bytes", self.name, range.start(), range.end());
            self.note(message, format!("for instance {} = {example}", self.name));
            return None;
        }
        Some(size)
    }

    pub(crate) fn duration(&self, example: &str) -> Option<Duration> {
        self.parsed(example, mail::parse_duration)
    }

    /// A date or a string of RFC 3339, in UTC.
    pub(crate) fn date(&self, example: &str) -> Option<mail::Timestamp> {
        let text = match self.spanned.get_ref() {
            DeValue::Datetime(date) => date.to_string(),
            _ => self.string(example)?.to_owned(),
        };
        let parsed =
            mail_parser::DateTime::parse_rfc3339(&text).and_then(|date| u64::try_from(date.to_timestamp()).ok());
        if parsed.is_none() {
            self.wrong(&format!("{text:?} is not a date and time"), example);
        }
        parsed.map(mail::Timestamp::from_secs)
    }

    /// The elements of a list, each under its name.
    pub(crate) fn list(&self, example: &str) -> Option<Vec<Self>> {
        let Some(elements) = self.spanned.get_ref().as_array() else {
            return self.wrong_type("a list", example);
        };
        Some(elements.iter().map(|element| Self { spanned: element, ..self.clone() }).collect())
    }

    /// A list of strings; mistakes in one don't hide those of others.
    pub(crate) fn strings(&self, example: &str) -> Option<Vec<String>> {
        let read: Vec<_> = self.list(example)?.iter().map(|value| value.string(example).map(str::to_owned)).collect();
        read.into_iter().collect()
    }

    /// A single value stands for a list of one.
    pub(crate) fn one_or_more(&self) -> Vec<Self> {
        match self.spanned.get_ref() {
            DeValue::Array(elements) => elements.iter().map(|e| Self { spanned: e, ..self.clone() }).collect(),
            _ => vec![self.clone()],
        }
    }

    pub(crate) fn table(&self) -> Option<Table<'a>> {
        let Some(entries) = self.spanned.get_ref().as_table() else {
            let hint = format!("write [{}] and its keys below", self.name);
            self.note(format!("`{}` must be a table, not {}", self.name, self.kind()), hint);
            return None;
        };
        Some(Table::new(self.source, entries, format!("[{}]", self.name), self.key.clone()))
    }

    /// `[[name]]`, any number of times.
    pub(crate) fn tables(&self) -> Vec<Table<'a>> {
        let label = format!("[[{}]]", self.name);
        let hint = format!("write {label} above each");
        let Some(elements) = self.spanned.get_ref().as_array() else {
            self.note_key(format!("`{}` must be a list of tables, not {}", self.name, self.kind()), hint);
            return Vec::new();
        };
        let element = |element: &'a Spanned<DeValue<'a>>| {
            let Some(entries) = element.get_ref().as_table() else {
                self.note(format!("`{}` must hold tables", self.name), hint.clone());
                return None;
            };
            Some(Table::new(self.source, entries, label.clone(), element.span()))
        };
        elements.iter().filter_map(element).collect()
    }

    /// As plugins read it: dates become strings.
    pub(crate) fn json(&self) -> Option<serde_json::Value> {
        let element = |e| Self { spanned: e, ..self.clone() };
        Some(match self.spanned.get_ref() {
            DeValue::String(text) => text.as_ref().into(),
            DeValue::Boolean(yes) => (*yes).into(),
            DeValue::Datetime(date) => date.to_string().into(),
            DeValue::Integer(_) => self.whole_number(i64::MIN..=i64::MAX, "1")?.into(),
            DeValue::Float(digits) => {
                let number = digits.as_str().parse().ok().and_then(serde_json::Number::from_f64);
                if number.is_none() {
                    self.note(
                        format!("`{}` must be a finite number", self.name),
                        "plugins read JSON, which has no inf and no nan",
                    );
                }
                number?.into()
            }
            DeValue::Array(elements) => {
                // Every element is read, so that every mistake is noted.
                let read: Vec<_> = elements.iter().map(|e| element(e).json()).collect();
                read.into_iter().collect::<Option<Vec<_>>>()?.into()
            }
            DeValue::Table(_) => {
                let entries = self.table()?.all();
                let read: Vec<_> = entries.into_iter().map(|(key, value)| (key.to_owned(), value.json())).collect();
                let entries = read.into_iter().map(|(key, value)| Some((key, value?)));
                entries.collect::<Option<serde_json::Map<_, _>>>()?.into()
            }
        })
    }

    /// Some errors tell what was expected themselves.
    fn wrong(&self, error: &str, example: &str) {
        let (message, told) = error.split_once("; ").map_or((error, None), |(message, told)| (message, Some(told)));
        let hint = told.map_or_else(|| format!("for instance {} = {example}", self.name), str::to_owned);
        self.note(format!("`{}`: {message}", self.name), hint);
    }

    fn wrong_type<T>(&self, expected: &str, example: &str) -> Option<T> {
        let message = format!("`{}` must be {expected}, not {}", self.name, self.kind());
        self.note(message, format!("for instance {} = {example}", self.name));
        None
    }

    fn kind(&self) -> &'static str {
        match self.spanned.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        }
    }
}
