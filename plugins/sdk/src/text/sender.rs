//! Decides whether a sender is on a list of addresses and domains.

use super::{Glob, fold, from_text};
use serde::{Deserialize, Deserializer};
use std::{collections::HashSet, hash::BuildHasherDefault, str::FromStr};

/// `"boss@x.org"` one address, `"@partner.example"` everyone of that domain, `"*.example"` everyone of
/// the domains that fit. Case makes no difference.
#[derive(Clone, Debug, Default)]
pub struct Senders {
    /// Addresses, and domains with an `@` before them.
    exact: HashSet<Box<str>, BuildHasherDefault<std::hash::DefaultHasher>>,
    patterns: Vec<Sender>,
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sender {
    Exact(Box<str>),
    Address(Glob),
    Domain(Glob),
}

impl Senders {
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }

    /// The null reverse-path (`None`) is on no list.
    pub fn contains(&self, sender: Option<&str>) -> bool {
        let Some(sender) = sender.filter(|_| !self.is_empty()) else { return false };
        let sender = fold(sender);
        let domain = sender.rfind('@').and_then(|at| sender.get(at..)).unwrap_or_default();
        self.exact.contains(sender.as_ref())
            || self.exact.contains(domain)
            || self.patterns.iter().any(|pattern| match pattern {
                Sender::Address(glob) => glob.matches(&sender),
                Sender::Domain(glob) => glob.matches(domain.trim_start_matches('@')),
                Sender::Exact(_) => false,
            })
    }

    /// Adds one entry, written as above.
    pub fn add(&mut self, entry: &str) -> Result<(), String> {
        match entry.parse()? {
            Sender::Exact(text) => drop(self.exact.insert(text)),
            pattern => self.patterns.push(pattern),
        }
        Ok(())
    }
}

impl FromStr for Sender {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "{text:?} is not a sender: {why}; expected for instance \"boss@example.org\", \"@example.org\" or \"*.example.org\""
            )
        };
        let folded = fold(text.trim());
        let (local, domain) = folded.rsplit_once('@').map_or((None, folded.as_ref()), |(l, d)| (Some(l), d));
        if domain.is_empty() || domain.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(wrong("there is no domain"));
        }
        if !domain.is_ascii() {
            return Err(wrong("write the domain in its ASCII form (xn--…), as mail carries it"));
        }
        match (local, folded.contains(['*', '?'])) {
            (Some(_), false) => Ok(Self::Exact(folded.into())),
            (None, false) if domain.contains('.') => Ok(Self::Exact(format!("@{domain}").into())),
            (None, false) => Err(wrong("there is neither an @ nor a dot")),
            (Some(local), true) if !local.is_empty() => Ok(Self::Address(folded.parse()?)),
            (_, true) => Ok(Self::Domain(domain.parse()?)),
        }
    }
}

from_text!(Sender, "a sender in quotes, for instance \"boss@example.org\", \"@example.org\" or \"*.example.org\"");

impl<'de> Deserialize<'de> for Senders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut senders = Self::default();
        for entry in Vec::<Sender>::deserialize(deserializer)? {
            match entry {
                Sender::Exact(text) => drop(senders.exact.insert(text)),
                pattern => senders.patterns.push(pattern),
            }
        }
        Ok(senders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(entries: &[&str], sender: &str) -> bool {
        let mut senders = Senders::default();
        entries.iter().for_each(|entry| senders.add(entry).unwrap());
        senders.contains(Some(sender))
    }

    #[test]
    fn addresses_domains_and_patterns_are_told_apart() {
        for (entry, sender, fits) in [
            ("boss@x.org", "boss@x.org", true),
            ("Boss@X.org", "BOSS@x.org", true),
            ("boss@x.org", "big-boss@x.org", false),
            ("@partner.example", "anyone@partner.example", true),
            ("@partner.example", "a@sub.partner.example", false),
            ("partner.example", "anyone@partner.example", true),
            ("*.example", "a@partner.example", true),
            ("*.example", "a@b.c.example", true),
            ("*.example", "a@example", false),
            ("*.example", "a@partner.example.org", false),
            ("@*.example", "a@partner.example", true),
            ("news-*@x.org", "news-1@x.org", true),
            ("news-*@x.org", "x@x.org", false),
            ("@x.org", "\"a@y.org\"@x.org", true),
            ("@y.org", "\"a@y.org\"@x.org", false),
        ] {
            assert_eq!(listed(&[entry], sender), fits, "{entry} {sender}");
        }
        assert!(listed(&["@a.example", "b@b.example"], "b@b.example"));
    }

    #[test]
    fn the_null_reverse_path_is_on_no_list() {
        let mut senders = Senders::default();
        senders.add("*").unwrap();
        assert!(senders.contains(Some("a@b")));
        assert!(!senders.contains(None));
    }

    #[test]
    fn an_entry_that_could_never_match_is_refused() {
        for wrong in ["", "boss", "boss@", "@", "a@bücher.example", "bücher.example", "a b.example"] {
            assert!(wrong.parse::<Sender>().is_err(), "{wrong}");
        }
    }
}
