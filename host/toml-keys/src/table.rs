//! Walks the tables of one file: each key that is asked for is known, those left at the end are mistakes.

use crate::{Mistake, Value};
use std::{cell::RefCell, ops::Range, path::Path};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The mistakes that were found so far.
pub type Noted = RefCell<Vec<Mistake>>;

/// One file's text, and where its mistakes are noted.
pub struct Source<'a> {
    pub file: &'a Path,
    pub text: &'a str,
    pub noted: &'a Noted,
    /// Keys that stand before the first table: people put them behind it.
    pub top_keys: &'static [&'static str],
}

/// A table under examination: each key asked for is known, those left at the end are not.
pub struct Table<'a> {
    source: &'a Source<'a>,
    entries: &'a DeTable<'a>,
    /// `[offline]`; empty for the document itself.
    name: String,
    header: Range<usize>,
    known: Vec<&'static str>,
}

impl<'a> Source<'a> {
    /// None, and the errors are noted, when the text is not TOML.
    pub fn parse(&self) -> Option<Spanned<DeTable<'a>>> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        // What a parser recovers from broken syntax is a guess; a doubled key leaves the first.
        let readable = errors.iter().all(|e| e.message().contains("duplicate key"));
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let mut lines = error.message().trim().splitn(2, '\n');
            let message = lines.next().unwrap_or_default().to_owned();
            self.note(span, message, lines.next().map(|more| more.replace('\n', "; ")));
        }
        readable.then_some(document)
    }

    pub(crate) fn note(&self, span: Range<usize>, message: String, hint: Option<String>) {
        let error = Mistake::at(self.file, self.text, span, message, hint);
        self.noted.borrow_mut().push(error);
    }

    pub fn root(&'a self, document: &'a Spanned<DeTable<'a>>) -> Table<'a> {
        Table::new(self, document.get_ref(), String::new(), 0..0)
    }
}

impl<'a> Table<'a> {
    pub(crate) fn new(source: &'a Source<'a>, entries: &'a DeTable<'a>, name: String, header: Range<usize>) -> Self {
        Self { source, entries, name, header, known: Vec::new() }
    }

    pub fn get(&mut self, key: &'static str) -> Option<Value<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let found = self.entries.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(self.value(found))
    }

    /// As `get`; a missing key is noted as an error with this example.
    pub fn required(&mut self, key: &'static str, example: &str) -> Option<Value<'a>> {
        let found = self.get(key);
        if found.is_none() {
            self.error(format!("`{key}` is missing{}", self.place()), format!("for instance {key} = {example}"));
        }
        found
    }

    /// Every entry, for tables whose keys are names.
    pub fn all(&self) -> Vec<(&'a str, Value<'a>)> {
        self.entries.iter().map(|entry| (entry.0.get_ref().as_ref(), self.value(entry))).collect()
    }

    /// Notes each key that was not asked for.
    pub fn finish(self) {
        for (key, _) in self.entries.iter().filter(|(key, _)| !self.known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref().as_ref();
            let message = format!("unknown key `{name}`{}", self.place());
            let hint = if !self.name.is_empty() && self.source.top_keys.contains(&name) {
                format!("`{name}` belongs before the first [table] of the file")
            } else {
                nearest(name, &self.known, '`')
            };
            self.source.note(key.span(), message, Some(hint));
        }
    }

    /// About the table as a whole.
    pub fn error(&self, message: String, hint: String) {
        if self.header.is_empty() {
            let error = Mistake::of_file(self.source.file, message, hint);
            self.source.noted.borrow_mut().push(error);
        } else {
            self.source.note(self.header.clone(), message, Some(hint));
        }
    }

    /// Where it begins, from 1.
    pub fn line(&self) -> usize {
        self.source.text.get(..self.header.start).unwrap_or_default().matches('\n').count() + 1
    }

    fn place(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!(" in {}", self.name) }
    }

    fn value(&self, (key, value): (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>)) -> Value<'a> {
        Value { source: self.source, name: key.get_ref().to_string(), key: key.span(), spanned: value }
    }
}

/// `did you mean x? One of x, y, z`, each name in `quote`s.
pub(crate) fn nearest(wrong: &str, valid: &[&str], quote: char) -> String {
    let quoted = |name: &str| format!("{quote}{name}{quote}");
    let list = valid.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let best = valid.iter().map(|name| (strsim::damerau_levenshtein(wrong, name), name)).min();
    match best {
        // A third of the name may differ: more is another word.
        Some((distance, name)) if distance <= name.chars().count().max(3) / 3 + 1 => {
            format!("did you mean {}? One of {list}", quoted(name))
        }
        _ => format!("one of {list}"),
    }
}
