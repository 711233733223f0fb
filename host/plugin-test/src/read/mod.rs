//! Reads TOML against a schema: every mistake of a file at once, with its place and what was expected.
//!
//! Nothing here knows what the keys of a scenario mean.

mod mistake;
mod table;
mod value;

pub use mistake::{Mistake, Mistakes};
pub(crate) use table::{Source, Table};
pub(crate) use value::Value;

/// `did you mean x? One of x, y, z`, each name in `quote`s.
fn nearest(wrong: &str, valid: &[&str], quote: char) -> String {
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
