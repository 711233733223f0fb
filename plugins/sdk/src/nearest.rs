//! Decides which known name somebody meant.

/// The nearest of `known`, if it is near enough to be a slip of the pen.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_a_stranger_is_not() {
        let known = ["addresses", "patterns", "plus-addressing"];
        assert_eq!(nearest("adresses", known), Some("addresses"));
        assert_eq!(nearest("plus_addressing", known), Some("plus-addressing"));
        assert_eq!(nearest("quota", known), None);
    }
}
