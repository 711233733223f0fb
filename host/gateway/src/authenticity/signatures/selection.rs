//! Chooses the fields that are looked at as signatures, so that what they cost is known before they are parsed.
//!
//! Reads each field once. Never decides whether a signature is right.

use mail::Content;

/// The topmost ones; others are not looked at.
pub const MAX_SIGNATURES: usize = 10;
/// A longer ARC chain is a permerror.
pub const MAX_LINKS: usize = 10;
/// In bytes: no signature needs more, with a key of 4,096 bits and every field that it signs.
const MAX_FIELD: usize = 16 * 1024;
/// All together.
const MAX_FIELDS: usize = 64 * 1024;
/// In `h=`: for each of them the whole header is looked through.
const MAX_NAMES: usize = 200;

const ARC: [&str; 3] = ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Whole fields, without white space before their colons, which the library would not know.
    pub fields: Vec<u8>,
    pub chain: Chain,
}

/// ARC's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    None,
    Selected,
    /// None of them is looked at.
    TooLong,
}

impl Selection {
    /// None where nothing is signed. A DKIM signature that is too long is as if it were not there.
    pub fn of(content: &Content) -> Option<Self> {
        let (mut signatures, mut is_signed) = (0, false);
        let (mut dkim, mut arc, mut chain) = (Vec::new(), Vec::new(), Chain::None);
        let mut links = [0; ARC.len()];
        for field in content.fields() {
            let fits = field.raw.len() <= MAX_FIELD && dkim.len() + arc.len() + field.raw.len() <= MAX_FIELDS;
            let whole = [field.name, b":", field.value, b"\r\n"];
            if field.is("DKIM-Signature") {
                (signatures, is_signed) = (signatures + 1, true);
                if fits && signatures <= MAX_SIGNATURES {
                    dkim.extend(whole.concat());
                }
            } else if let Some((links, _)) = links.iter_mut().zip(ARC).find(|(_, name)| field.is(name)) {
                (*links, is_signed) = (*links + 1, true);
                if chain == Chain::TooLong || !fits || *links > MAX_LINKS {
                    (chain, arc) = (Chain::TooLong, Vec::new());
                } else {
                    chain = Chain::Selected;
                    arc.extend(whole.concat());
                }
            }
        }
        dkim.append(&mut arc);
        is_signed.then_some(Self { fields: dkim, chain })
    }
}

/// `h=` of a signature that is verified. RFC 6376 §6.1.1: one that does not cover From says nothing of the author.
pub fn is_acceptable(names: &[String]) -> bool {
    names.len() <= MAX_NAMES && names.iter().any(|name| name.trim().eq_ignore_ascii_case("from"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: String) -> Option<Selection> {
        Selection::of(&Content::new(header.into()))
    }

    #[test]
    fn of_any_header_a_bounded_part_is_parsed() {
        let field = |name: &str, len: usize| format!("{name}: {}\r\n", "a:".repeat(len / 2));
        let selected = of("DKIM-Signature : a\r\nSubject: x\r\narc-seal: b\r\n".to_owned()).unwrap();
        assert_eq!(selected.fields, b"DKIM-Signature: a\r\narc-seal: b\r\n");
        assert_eq!(selected.chain, Chain::Selected);
        for name in ["DKIM-Signature", "ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"] {
            for (len, count) in [(1_000_000, 1), (MAX_FIELD, 1), (10_000, 60), (100, 5_000)] {
                let found = of(field(name, len).repeat(count)).unwrap();
                assert!(found.fields.len() <= MAX_FIELDS, "{name} {len} {count}");
                assert!(found.fields.len() <= MAX_SIGNATURES * (len + 50), "{name} {len} {count}");
                let chain = if name.starts_with("ARC") { Chain::TooLong } else { Chain::None };
                assert_eq!(found.chain, chain, "{name} {len} {count}");
            }
        }
        assert_eq!(of(field("Subject", 100)), None);
    }

    #[test]
    fn a_chain_that_is_too_long_takes_nothing_from_the_signatures() {
        let dkim = "DKIM-Signature: a\r\n";
        let found = of(format!("{}{dkim}", "ARC-Seal: b\r\n".repeat(MAX_LINKS + 1))).unwrap();
        assert_eq!(found, Selection { fields: dkim.into(), chain: Chain::TooLong });
    }
}
