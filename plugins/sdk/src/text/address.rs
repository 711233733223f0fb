//! Takes an address apart and brings it into a form that can be compared.

use std::borrow::Cow;

/// A mailbox as the gateway hands it over: already checked, its domain in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// Without quotes: `"a b"@example.org` and `a b` mean the same (RFC 5321 §4.1.2).
    pub local: Cow<'a, str>,
    /// Empty where there is no `@`.
    pub domain: &'a str,
}

impl<'a> Address<'a> {
    pub fn new(text: &'a str) -> Self {
        let (local, domain) = text.rsplit_once('@').unwrap_or((text, ""));
        Self { local: unquoted(local), domain }
    }

    /// RFC 5321 §4.5.1: the address that must always be reachable, in any case.
    pub fn is_postmaster(&self) -> bool {
        self.local.eq_ignore_ascii_case("postmaster")
    }

    /// The local part up to the separator, if there is one behind its first character.
    pub fn without_tag(&self, separator: &str) -> Option<&str> {
        let (base, _) = self.local.split_once(separator)?;
        (!base.is_empty()).then_some(base)
    }
}

/// A local part without the quotes around it, if it has them.
pub fn unquoted(local: &str) -> Cow<'_, str> {
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(local);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(text)
}

/// In lower case; without a copy where nothing changes.
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() && !text.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_that_are_not_needed_make_no_difference() {
        for (text, local, domain) in [
            ("ann@example.org", "ann", "example.org"),
            ("\"ann\"@example.org", "ann", "example.org"),
            ("\"a@b\"@example.org", "a@b", "example.org"),
            (r#""a \"b\"\\"@example.org"#, r#"a "b"\"#, "example.org"),
            ("ann", "ann", ""),
        ] {
            assert_eq!(Address::new(text), Address { local: Cow::Borrowed(local), domain }, "{text}");
        }
    }

    #[test]
    fn a_tag_is_what_follows_the_first_separator() {
        assert_eq!(Address::new("ann+a+b@x").without_tag("+"), Some("ann"));
        assert_eq!(Address::new("ann@x").without_tag("+"), None);
        assert_eq!(Address::new("+ann@x").without_tag("+"), None);
        assert_eq!(Address::new("ann--x@x").without_tag("--"), Some("ann"));
    }

    #[test]
    fn postmaster_is_known_in_any_spelling() {
        assert!(Address::new("PostMaster@example.org").is_postmaster());
        assert!(Address::new("\"postmaster\"@example.org").is_postmaster());
        assert!(!Address::new("postmaster+x@example.org").is_postmaster());
    }
}
