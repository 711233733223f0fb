//! Decides whether a text fits a pattern with `*` (any characters, or none) and `?` (one character).

use super::from_text;
use std::str::{Chars, FromStr};

/// Not empty; nothing but `*` and `?` is special.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob(Box<str>);

impl Glob {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In the worst case the product of both lengths.
    pub fn matches(&self, text: &str) -> bool {
        let (mut pattern, mut rest) = (self.0.chars(), text.chars());
        // What follows the last star, and where that was tried last.
        let mut retry: Option<(Chars<'_>, Chars<'_>)> = None;
        loop {
            let mut ahead = pattern.clone();
            match ahead.next() {
                Some('*') => {
                    retry = Some((ahead.clone(), rest.clone()));
                    pattern = ahead;
                    continue;
                }
                Some(wanted) => {
                    let mut after = rest.clone();
                    if after.next().is_some_and(|found| wanted == '?' || wanted == found) {
                        (pattern, rest) = (ahead, after);
                        continue;
                    }
                }
                None if rest.as_str().is_empty() => return true,
                None => {}
            }
            let Some((after_star, tried)) = &mut retry else { return false };
            if tried.next().is_none() {
                return false;
            }
            (pattern, rest) = (after_star.clone(), tried.clone());
        }
    }
}

impl FromStr for Glob {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(format!("{text:?} is not a pattern; expected for instance \"sales-*\""));
        }
        Ok(Self(text.into()))
    }
}

from_text!(Glob, "a pattern in quotes, for instance \"sales-*\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_as_in_a_shell() {
        for (pattern, text, fits) in [
            ("sales-*", "sales-eu", true),
            ("sales-*", "sales-", true),
            ("sales-*", "sales", false),
            ("*", "", true),
            ("?", "", false),
            ("?", "ü", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*.example", "a.b.example", true),
            ("*.example", "example", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "ba", false),
            ("*aab", "aaab", true),
            ("a[b]", "ab", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
        ] {
            assert_eq!(pattern.parse::<Glob>().unwrap().matches(text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_answered_all_the_same() {
        let pattern: Glob = "*a".repeat(40).parse().unwrap();
        assert!(!pattern.matches(&("a".repeat(300) + "b")));
    }
}
