//! Decides whether an address is on the domain's list. Calls nothing.

use serde::Deserialize;
use std::{borrow::Cow, collections::HashSet, hash::BuildHasherDefault, hash::DefaultHasher};
use waypost_sdk::Verdict;
use waypost_sdk::text::{Address, Glob, fold, unquoted};

/// `[config.recipients]` of a domain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Local parts, or whole addresses.
    addresses: Vec<String>,
    /// For the local part.
    patterns: Vec<Glob>,
    plus_addressing: bool,
    plus_separator: String,
    fold_case: bool,
    /// What the sender of a refused recipient reads.
    unknown: String,
}

impl Settings {
    pub const EXAMPLE: &str = r#"
        addresses = ["ann", "bob@example.org"]
        patterns = ["sales-*"]
        plus-addressing = true
        plus-separator = "+"
        fold-case = true
        unknown = "No such user here"
    "#;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            patterns: Vec::new(),
            plus_addressing: true,
            plus_separator: "+".to_owned(),
            fold_case: true,
            unknown: "No such user here".to_owned(),
        }
    }
}

/// The default hasher without its random keys: who asks cannot choose what is in the set.
type Set = HashSet<Box<str>, BuildHasherDefault<DefaultHasher>>;

/// The settings, ready for look-ups that take the same time for any number of addresses.
pub struct Rules {
    local_parts: Set,
    addresses: Set,
    patterns: Vec<Glob>,
    /// None without plus-addressing.
    separator: Option<String>,
    fold_case: bool,
    unknown: String,
}

impl Rules {
    pub fn new(settings: Settings) -> Result<Self, String> {
        check_unknown(&settings.unknown)?;
        if settings.plus_addressing && settings.plus_separator.is_empty() {
            return Err(
                "`plus-separator` is empty; expected what stands before a tag, for instance: plus-separator = \"+\" \
                        (or plus-addressing = false)"
                    .to_owned(),
            );
        }
        let mut rules = Self {
            local_parts: Set::default(),
            addresses: Set::default(),
            patterns: Vec::with_capacity(settings.patterns.len()),
            separator: settings.plus_addressing.then_some(settings.plus_separator),
            fold_case: settings.fold_case,
            unknown: with_short_code(&settings.unknown),
        };
        rules.local_parts.reserve(settings.addresses.len());
        for (index, entry) in settings.addresses.iter().enumerate() {
            rules.add_address(entry).map_err(|why| {
                format!("`addresses[{index}]`: {entry:?} {why}; expected a local part or an address, for instance \"ann\" or \"ann@example.org\"")
            })?;
        }
        for (index, pattern) in settings.patterns.iter().enumerate() {
            rules.add_pattern(pattern).map_err(|why| format!("`patterns[{index}]`: {:?} {why}", pattern.as_str()))?;
        }
        Ok(rules)
    }

    /// Pass means: no objection, the next plugin is asked.
    pub fn decide(&self, address: &str) -> Verdict {
        let address = Address::new(address);
        // RFC 5321 §4.5.1: postmaster is never refused.
        if self.refuses_nobody() || address.is_postmaster() || self.knows(&address) {
            Verdict::Pass
        } else {
            Verdict::reject(550, "5.1.1", self.unknown.as_str())
        }
    }

    /// A plugin that was just added must not close the domain.
    fn refuses_nobody(&self) -> bool {
        self.local_parts.is_empty() && self.addresses.is_empty() && self.patterns.is_empty()
    }

    fn knows(&self, address: &Address<'_>) -> bool {
        let local = self.folded(&address.local);
        let folded = Address { local: Cow::Borrowed(local.as_ref()), domain: address.domain };
        // With its tag first: a list may hold "ann+x" itself.
        let base = self.separator.as_deref().and_then(|separator| folded.without_tag(separator));
        self.lists(&folded.local, folded.domain) || base.is_some_and(|base| self.lists(base, folded.domain))
    }

    fn lists(&self, local: &str, domain: &str) -> bool {
        self.local_parts.contains(local)
            || (!self.addresses.is_empty() && self.addresses.contains(format!("{local}@{domain}").as_str()))
            || self.patterns.iter().any(|pattern| pattern.matches(local))
    }

    fn add_address(&mut self, entry: &str) -> Result<(), &'static str> {
        let entry = entry.trim();
        // A quoted local part may hold an @ of its own: "a@b"@example.org.
        if !entry.contains('@') || (entry.starts_with('"') && entry.ends_with('"')) {
            let local = unquoted(entry);
            if local.is_empty() || local.chars().any(char::is_control) {
                return Err("is no address");
            }
            self.local_parts.insert(self.folded(&local).into());
            return Ok(());
        }
        let address = Address::new(entry);
        if address.local.is_empty() || address.domain.is_empty() {
            return Err("is half an address");
        }
        if !address.domain.is_ascii() {
            return Err("has a domain that mail never carries: write it in its ASCII form (xn--…)");
        }
        let local = self.folded(&address.local);
        self.addresses.insert(format!("{local}@{}", fold(address.domain)).into());
        Ok(())
    }

    fn add_pattern(&mut self, pattern: &Glob) -> Result<(), String> {
        if pattern.as_str().contains('@') {
            return Err("holds an @, but patterns are for the local part; for instance \"sales-*\". \
                        Whole addresses belong in `addresses`"
                .to_owned());
        }
        self.patterns.push(self.folded(pattern.as_str()).parse()?);
        Ok(())
    }

    fn folded<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.fold_case { fold(text) } else { Cow::Borrowed(text) }
    }
}

/// A reply line is limited to 512 octets (RFC 5321 §4.5.3.1.5); codes and short code need some of them.
const MAX_UNKNOWN: usize = 400;

fn check_unknown(text: &str) -> Result<(), String> {
    let problem = if text.trim().is_empty() {
        "is empty"
    } else if text.len() > MAX_UNKNOWN {
        "is longer than 400 characters"
    } else if !text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        "holds a character that a reply must not hold"
    } else {
        return Ok(());
    };
    Err(format!("`unknown` {problem}; expected one line of ASCII text, for instance: unknown = \"No such user here\""))
}

/// The code stays the same whatever the text, so that people can search for it.
fn with_short_code(text: &str) -> String {
    format!("[WP-RCPT] {}", text.trim().trim_start_matches("[WP-RCPT]").trim_start())
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
