//! Walks the tables of one file: each key that is asked for is known, those left at the end are mistakes.

use super::{Mistake, Mistakes, nearest, value::Value};
use std::{cell::RefCell, ops::Range, path::Path};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// One file's text, and its mistakes so far.
pub(crate) struct Source<'a> {
    pub(crate) file: &'a Path,
    text: &'a str,
    mistakes: RefCell<Vec<Mistake>>,
}

pub(crate) struct Table<'a> {
    source: &'a Source<'a>,
    entries: &'a DeTable<'a>,
    /// `[default]`; empty for the document itself.
    label: String,
    header: Range<usize>,
    known: Vec<&'static str>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, mistakes: RefCell::default() }
    }

    /// None, and the mistakes are noted, when the text is not TOML.
    pub(crate) fn parse(&self) -> Option<Spanned<DeTable<'a>>> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        // What a parser recovers from broken syntax is a guess; a doubled key leaves the first.
        let readable = errors.iter().all(|e| e.message().contains("duplicate key"));
        for error in errors {
            let mut lines = error.message().trim().splitn(2, '\n');
            let message = lines.next().unwrap_or_default().to_owned();
            let hint = lines.next().map(|more| more.replace('\n', "; "));
            self.note(error.span().unwrap_or(0..0), message, hint);
        }
        readable.then_some(document)
    }

    pub(crate) fn root(&'a self, document: &'a Spanned<DeTable<'a>>) -> Table<'a> {
        Table::new(self, document.get_ref(), String::new(), 0..0)
    }

    pub(crate) fn note(&self, span: Range<usize>, message: String, hint: Option<String>) {
        self.mistakes.borrow_mut().push(Mistake::at(self.file, self.text, span, message, hint));
    }

    pub(crate) fn note_file(&self, message: &str, hint: &str) {
        self.mistakes.borrow_mut().push(Mistake::of_file(self.file, message, Some(hint.to_owned())));
    }

    /// `value`, unless there are mistakes.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Mistakes> {
        match (value, self.mistakes.into_inner()) {
            (Some(value), mistakes) if mistakes.is_empty() => Ok(value),
            (_, mistakes) => Err(Mistakes::new(mistakes)),
        }
    }
}

impl<'a> Table<'a> {
    pub(crate) fn new(source: &'a Source<'a>, entries: &'a DeTable<'a>, label: String, header: Range<usize>) -> Self {
        Self { source, entries, label, header, known: Vec::new() }
    }

    pub(crate) fn get(&mut self, key: &'static str) -> Option<Value<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let found = self.entries.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(self.value(found))
    }

    /// As `get`; a missing key is noted with this example.
    pub(crate) fn required(&mut self, key: &'static str, example: &str) -> Option<Value<'a>> {
        let found = self.get(key);
        if found.is_none() {
            self.note(format!("`{key}` is missing{}", self.place()), format!("for instance {key} = {example}"));
        }
        found
    }

    /// Every entry, for tables whose keys are names.
    pub(crate) fn all(&self) -> Vec<(&'a str, Value<'a>)> {
        self.entries.iter().map(|entry| (entry.0.get_ref().as_ref(), self.value(entry))).collect()
    }

    /// Notes each key that was not asked for.
    pub(crate) fn finish(self) {
        for (key, _) in self.entries.iter().filter(|(key, _)| !self.known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref().as_ref();
            let message = format!("unknown key `{name}`{}", self.place());
            self.source.note(key.span(), message, Some(nearest(name, &self.known, '`')));
        }
    }

    /// Where it begins, from 1.
    pub(crate) fn line(&self) -> usize {
        self.source.text.get(..self.header.start).unwrap_or_default().matches('\n').count() + 1
    }

    /// About the table as a whole.
    pub(crate) fn note(&self, message: String, hint: String) {
        if self.header.is_empty() {
            self.source.note_file(&message, &hint);
        } else {
            self.source.note(self.header.clone(), message, Some(hint));
        }
    }

    fn place(&self) -> String {
        if self.label.is_empty() { String::new() } else { format!(" in {}", self.label) }
    }

    fn value(&self, (key, value): (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>)) -> Value<'a> {
        Value { source: self.source, name: key.get_ref().to_string(), key: key.span(), spanned: value }
    }
}
