//! What a row's checksum covers. Pure.
//!
//! Three for each mail, for three parts that change apart: what was accepted, where the body is, the attributes. A row
//! of format 1 has none and is taken as it is.

/// A value as the database keeps it.
pub(super) enum Field<'a> {
    Number(i64),
    Bytes(&'a [u8]),
    Text(Option<&'a str>),
}

/// Of the fields in order; each has its length before it, so that nothing can pass from one to the next.
pub(super) fn of(fields: &[Field<'_>]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for field in fields {
        match field {
            Field::Number(number) => crc.update(&number.to_le_bytes()),
            Field::Bytes(bytes) => prefixed(&mut crc, bytes),
            Field::Text(Some(text)) => prefixed(&mut crc, text.as_bytes()),
            Field::Text(None) => crc.update(&u64::MAX.to_le_bytes()),
        }
    }
    crc.finalize()
}

fn prefixed(crc: &mut crc32fast::Hasher, bytes: &[u8]) {
    crc.update(&(bytes.len() as u64).to_le_bytes());
    crc.update(bytes);
}

/// Whether `kept` is the checksum of `fields`, or was never written.
pub(super) fn fits(kept: Option<i64>, fields: &[Field<'_>]) -> bool {
    kept.is_none_or(|kept| kept == i64::from(of(fields)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other_and_nothing_is_not_empty() {
        let text = |a, b| of(&[Field::Text(a), Field::Text(b)]);
        let all = [
            text(Some("ab"), Some("c")),
            text(Some("a"), Some("bc")),
            text(Some("abc"), Some("")),
            text(Some("abc"), None),
            of(&[Field::Number(1), Field::Bytes(b"abc")]),
            of(&[Field::Number(2), Field::Bytes(b"abc")]),
        ];
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
    }

    #[test]
    fn a_row_of_before_there_were_checksums_is_taken() {
        assert!(fits(None, &[Field::Number(1)]));
        assert!(!fits(Some(0), &[Field::Number(1)]));
    }
}
