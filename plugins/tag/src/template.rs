//! Text with placeholders: decides what a value may hold, and fills it in.

use super::Facts;
use std::fmt::Write;
use waypost_sdk::nearest;

/// Checked: every placeholder in it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Placeholder(Placeholder),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    Domain,
    Id,
    Sender,
    RecipientCount,
    Score,
}

const NAMES: [(&str, Placeholder); 5] = [
    ("domain", Placeholder::Domain),
    ("id", Placeholder::Id),
    ("sender", Placeholder::Sender),
    ("recipient-count", Placeholder::RecipientCount),
    ("score", Placeholder::Score),
];

/// Far below the limit of a line (RFC 5322 §2.1.1), with room for what is filled in.
const MAX_LEN: usize = 400;

impl Template {
    /// `{{` and `}}` stand for braces.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("is empty".to_owned());
        }
        if text.len() > MAX_LEN {
            return Err(format!("is longer than {MAX_LEN} bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err("holds a control character; a header field is one line here".to_owned());
        }
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from_brace) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = from_brace.strip_prefix("{{").or_else(|| from_brace.strip_prefix("}}")) {
                plain.extend(from_brace.chars().take(1));
                rest = after;
            } else {
                let (name, after) = from_brace
                    .strip_prefix('{')
                    .and_then(|inner| inner.split_once('}'))
                    .ok_or("has a brace without its partner; write {{ or }} for the character")?;
                pieces.extend((!plain.is_empty()).then(|| Piece::Text(std::mem::take(&mut plain))));
                pieces.push(Piece::Placeholder(placeholder(name)?));
                rest = after;
            }
        }
        plain.push_str(rest);
        pieces.extend((!plain.is_empty()).then_some(Piece::Text(plain)));
        Ok(Self(pieces))
    }

    pub fn fill(&self, facts: &Facts) -> String {
        self.0.iter().fold(String::new(), |mut out, piece| {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Placeholder(Placeholder::Domain) => push_line(&mut out, &facts.domain),
                Piece::Placeholder(Placeholder::Id) => push_line(&mut out, &facts.id),
                // As SMTP writes the null reverse-path.
                Piece::Placeholder(Placeholder::Sender) => push_line(&mut out, facts.sender.as_deref().unwrap_or("<>")),
                Piece::Placeholder(Placeholder::RecipientCount) => _ = write!(out, "{}", facts.recipients),
                Piece::Placeholder(Placeholder::Score) => push_points(&mut out, facts.score),
            }
            out
        })
    }
}

fn placeholder(name: &str) -> Result<Placeholder, String> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, placeholder)| *placeholder).ok_or_else(|| {
        let known = NAMES.map(|(name, _)| name);
        match nearest(name, known) {
            Some(near) => format!("holds {{{name}}}, which is no placeholder; did you mean {{{near}}}?"),
            None => format!("holds {{{name}}}, which is no placeholder; there are {{{}}}", known.join("}, {")),
        }
    })
}

/// What came with the mail stays within its line, whatever it holds.
fn push_line(out: &mut String, untrusted: &str) {
    out.extend(untrusted.chars().map(|c| if c.is_control() { '?' } else { c }));
}

/// Hundredths as points: `-150` is `-1.50`.
fn push_points(out: &mut String, hundredths: i32) {
    let sign = if hundredths < 0 { "-" } else { "" };
    let size = hundredths.unsigned_abs();
    _ = write!(out, "{sign}{}.{:02}", size / 100, size % 100);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            domain: "example.org".to_owned(),
            id: "01J".to_owned(),
            sender: Some("ann@x.org".to_owned()),
            recipients: 3,
            score: 250,
        }
    }

    fn filled(text: &str, facts: &Facts) -> String {
        Template::parse(text).unwrap().fill(facts)
    }

    #[test]
    fn every_placeholder_is_filled_in() {
        assert_eq!(
            filled("{domain} {id} {sender} {recipient-count} {score}", &facts()),
            "example.org 01J ann@x.org 3 2.50"
        );
        assert_eq!(filled("{id}{id}", &facts()), "01J01J");
        assert_eq!(filled("plain", &facts()), "plain");
        assert_eq!(filled("a {{id}} }} {{{id}}}", &facts()), "a {id} } {01J}");
        assert_eq!(filled("<{sender}>", &Facts { sender: None, ..facts() }), "<<>>");
        for (score, text) in [(0, "0.00"), (5, "0.05"), (-5, "-0.05"), (-150, "-1.50"), (i32::MIN, "-21474836.48")] {
            assert_eq!(filled("{score}", &Facts { score, ..facts() }), text);
        }
    }

    #[test]
    fn what_a_sender_wrote_cannot_leave_the_line() {
        let hostile = Facts { sender: Some("a\r\nBcc: b\u{0}\u{85}".to_owned()), ..facts() };
        assert_eq!(filled("{sender}", &hostile), "a??Bcc: b??");
        // Nor is a placeholder in it filled in.
        assert_eq!(filled("{sender}", &Facts { sender: Some("{id}".to_owned()), ..facts() }), "{id}");
    }

    #[test]
    fn a_wrong_template_is_refused() {
        for (text, part) in [
            ("{sneder}", "did you mean {sender}?"),
            ("{colour}", "there are {domain}, {id}"),
            ("{id", "without its partner"),
            ("id}", "without its partner"),
            ("", "empty"),
            ("a\nb", "control character"),
            (&"a".repeat(401), "longer than"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
