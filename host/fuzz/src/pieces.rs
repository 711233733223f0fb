//! How a target's input is cut: a knob in front, and the rest in pieces.
//!
//! Decides nothing about what the pieces mean.

/// The first byte, which chooses among variants, and the rest.
pub(crate) fn knob(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(knob, rest)| (*knob, rest))
}

/// `bytes` in pieces, the same ones for the same knob: of one byte each for an even knob, else of random lengths.
pub(crate) fn pieces(knob: u8, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut random = (knob % 2 == 1).then(|| fastrand::Rng::with_seed(knob.into()));
    let longest = 1 << (knob >> 5);
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = random.as_mut().map_or(1, |random| random.usize(1..=longest + 1)).min(rest.len());
        let (piece, after) = rest.split_at_checked(len).filter(|(piece, _)| !piece.is_empty())?;
        rest = after;
        Some(piece)
    })
}
