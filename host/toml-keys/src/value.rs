//! Reads one TOML value as what it should be, or notes what was expected.

use crate::{
    Place,
    table::{Source, Table, nearest},
};
use std::{
    fmt::Display,
    ops::{Range, RangeInclusive},
    time::Duration,
};
use toml::{Spanned, de::DeValue};

/// A value, the key that it belongs to, and where both stand.
#[derive(Clone)]
pub struct Value<'a> {
    pub(crate) source: &'a Source<'a>,
    pub name: String,
    pub(crate) key: Range<usize>,
    pub(crate) spanned: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    /// Under the name that its table has in the file: `step.expect`.
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    pub fn error(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.source.note(self.spanned.span(), message.into(), Some(hint.into()));
    }

    pub fn place(&self) -> Place {
        Place::new(self.source.file, self.source.text, self.spanned.span())
    }

    /// About the key, for values that span lines.
    pub fn key_error(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.source.note(self.key.clone(), message.into(), Some(hint.into()));
    }

    pub fn is_string(&self) -> bool {
        self.spanned.get_ref().is_str()
    }

    pub fn is_table(&self) -> bool {
        self.spanned.get_ref().is_table()
    }

    /// The word `true` or `false`; none for anything else, which is no mistake.
    pub fn as_boolean(&self) -> Option<bool> {
        self.spanned.get_ref().as_bool()
    }

    /// `example` is TOML.
    pub fn string(&self, example: &str) -> Option<&'a str> {
        match self.spanned.get_ref() {
            DeValue::String(text) => Some(text.as_ref()),
            _ => self.wrong_type("a string", example),
        }
    }

    pub fn parsed<T, E: Display>(&self, example: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let text = self.string(example)?;
        parse(text)
            .map_err(|error| {
                // Some errors tell what was expected themselves.
                let error = error.to_string();
                let (message, told) = error.split_once("; ").map_or((error.as_str(), None), |(m, t)| (m, Some(t)));
                let hint = told.map_or_else(|| format!("for instance {} = {example}", self.name), str::to_owned);
                self.error(format!("`{}`: {message}", self.name), hint);
            })
            .ok()
    }

    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let Some(text) = self.spanned.get_ref().as_str() else {
            self.error(format!("`{}` must be a string, not {}", self.name, self.kind()), nearest("", &names, '"'));
            return None;
        };
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            self.error(format!("`{}` cannot be \"{text}\"", self.name), nearest(text, &names, '"'));
        }
        found
    }

    pub fn boolean(&self) -> Option<bool> {
        self.as_boolean().or_else(|| self.wrong_type("true or false", "true"))
    }

    pub fn whole_number<T>(&self, range: RangeInclusive<T>, example: &str) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let DeValue::Integer(digits) = self.spanned.get_ref() else {
            return self.wrong_type("a whole number", example);
        };
        let number = i64::from_str_radix(digits.as_str(), digits.radix()).ok().and_then(|n| T::try_from(n).ok());
        number.filter(|n| range.contains(n)).or_else(|| self.out_of_range(range.start(), range.end(), example))
    }

    pub fn number(&self, example: &str) -> Option<f64> {
        match self.spanned.get_ref() {
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix()).ok().map(|n| n as f64),
            DeValue::Float(digits) => digits.as_str().parse().ok(),
            _ => self.wrong_type("a number", example),
        }
    }

    /// A string, or a date of TOML as one (RFC 3339).
    pub fn date_text(&self, example: &str) -> Option<String> {
        match self.spanned.get_ref() {
            DeValue::Datetime(date) => Some(date.to_string()),
            _ => self.string(example).map(str::to_owned),
        }
    }

    /// In bytes.
    pub fn size(&self, range: RangeInclusive<u64>, example: &str) -> Option<u64> {
        let size = self.parsed(example, mail::parse_size)?;
        if range.contains(&size) {
            return Some(size);
        }
        self.out_of_range(&bytes(*range.start()), &bytes(*range.end()), example)
    }

    pub fn duration(&self, range: RangeInclusive<Duration>, example: &str) -> Option<Duration> {
        let duration = self.any_duration(example)?;
        if range.contains(&duration) {
            return Some(duration);
        }
        self.out_of_range(&seconds(*range.start()), &seconds(*range.end()), example)
    }

    pub fn any_duration(&self, example: &str) -> Option<Duration> {
        self.parsed(example, mail::parse_duration)
    }

    /// A list of strings; mistakes in one don't hide those of others.
    pub fn strings(&self, example: &str) -> Option<Vec<String>> {
        let read: Vec<_> = self.list(example)?.iter().map(|value| value.string(example).map(str::to_owned)).collect();
        read.into_iter().collect()
    }

    /// The elements of a list; they keep its name. None when it is no list.
    pub fn list(&self, example: &str) -> Option<Vec<Self>> {
        let Some(elements) = self.spanned.get_ref().as_array() else {
            return self.wrong_type("a list", example);
        };
        Some(elements.iter().map(|element| Self { spanned: element, ..self.clone() }).collect())
    }

    /// A single value stands for a list of one.
    pub fn one_or_more(&self) -> Vec<Self> {
        match self.spanned.get_ref() {
            DeValue::Array(elements) => elements.iter().map(|e| Self { spanned: e, ..self.clone() }).collect(),
            _ => vec![self.clone()],
        }
    }

    pub fn table(&self) -> Option<Table<'a>> {
        let label = format!("[{}]", self.name);
        self.entries(label, self.key.clone(), &format!("write [{}] and its keys below", self.name))
    }

    /// `[[name]]`, any number of times.
    pub fn tables(&self) -> Vec<Table<'a>> {
        let Some(elements) = self.spanned.get_ref().as_array() else {
            let hint = format!("write [[{}]] above each", self.name);
            self.key_error(format!("`{}` must be a list of tables, not {}", self.name, self.kind()), hint);
            return Vec::new();
        };
        let element = |e| Self { spanned: e, ..self.clone() };
        let label = format!("[[{}]]", self.name);
        let hint = format!("write {label} above each");
        elements.iter().filter_map(|e| element(e).entries(label.clone(), e.span(), &hint)).collect()
    }

    /// An inline table within a list.
    pub fn inline_table(&self, hint: &str) -> Option<Table<'a>> {
        self.entries(format!("`{}`", self.name), self.spanned.span(), hint)
    }

    fn entries(&self, label: String, header: Range<usize>, hint: &str) -> Option<Table<'a>> {
        let Some(entries) = self.spanned.get_ref().as_table() else {
            self.error(format!("`{}` must be a table, not {}", self.name, self.kind()), hint);
            return None;
        };
        Some(Table::new(self.source, entries, label, header))
    }

    /// As plugins read it: dates become strings.
    pub fn json(&self) -> Option<serde_json::Value> {
        let element = |e| Self { spanned: e, ..self.clone() };
        Some(match self.spanned.get_ref() {
            DeValue::String(text) => text.as_ref().into(),
            DeValue::Boolean(yes) => (*yes).into(),
            DeValue::Datetime(date) => date.to_string().into(),
            DeValue::Integer(_) => self.whole_number(i64::MIN..=i64::MAX, "1")?.into(),
            DeValue::Float(digits) => {
                let number = digits.as_str().parse().ok().and_then(serde_json::Number::from_f64);
                if number.is_none() {
                    self.error(
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
                let read: Vec<_> =
                    self.inline_table("")?.all().into_iter().map(|(k, v)| (k.to_owned(), v.json())).collect();
                let object = read
                    .into_iter()
                    .map(|(key, value)| Some((key, value?)))
                    .collect::<Option<serde_json::Map<_, _>>>()?;
                object.into()
            }
        })
    }

    fn wrong_type<T>(&self, expected: &str, example: &str) -> Option<T> {
        let message = format!("`{}` must be {expected}, not {}", self.name, self.kind());
        self.error(message, format!("for instance {} = {example}", self.name));
        None
    }

    fn out_of_range<T>(&self, least: &dyn Display, most: &dyn Display, example: &str) -> Option<T> {
        let message = format!("`{}` must be from {least} to {most}", self.name);
        self.error(message, format!("for instance {} = {example}", self.name));
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

fn bytes(size: u64) -> String {
    match size {
        _ if size.is_multiple_of(1 << 30) => format!("{} GiB", size >> 30),
        _ if size.is_multiple_of(1 << 20) => format!("{} MiB", size >> 20),
        _ => format!("{} KiB", size >> 10),
    }
}

fn seconds(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms > 0 && ms.is_multiple_of(86_400_000) => format!("{} d", ms / 86_400_000),
        ms if ms.is_multiple_of(1000) => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}
