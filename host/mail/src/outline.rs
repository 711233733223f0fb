//! What must be known of a mail's data before it can be sent. Found out piece by piece, so that a large mail need
//! not be in memory for it. Pure.

/// Of canonical mail data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// In bytes.
    pub len: u64,
    /// A byte over 127 in the header section.
    pub header_is_8bit: bool,
    /// A byte over 127 anywhere.
    pub is_8bit: bool,
    /// No bare CR or LF and no NUL. The last line may lack its end.
    pub is_lines: bool,
}

/// An [`Outline`] in the making.
#[derive(Debug)]
pub struct Survey {
    outline: Outline,
    after_cr: bool,
}

impl Default for Survey {
    fn default() -> Self {
        let outline = Outline { len: 0, header_is_8bit: false, is_8bit: false, is_lines: true };
        Self { outline, after_cr: false }
    }
}

impl Survey {
    /// The next of the header section; all of it comes before the body.
    pub fn header(&mut self, piece: &[u8]) {
        self.outline.header_is_8bit |= !piece.is_ascii();
        self.body(piece);
    }

    pub fn body(&mut self, piece: &[u8]) {
        self.outline.len += piece.len() as u64;
        self.outline.is_8bit = self.outline.is_8bit || !piece.is_ascii();
        self.outline.is_lines = self.outline.is_lines && self.goes_on_in_lines(piece);
    }

    pub fn finish(self) -> Outline {
        Outline { is_lines: self.outline.is_lines && !self.after_cr, ..self.outline }
    }

    fn goes_on_in_lines(&mut self, piece: &[u8]) -> bool {
        let Some(first) = piece.first() else { return true };
        if std::mem::take(&mut self.after_cr) != (*first == b'\n') {
            return false;
        }
        memchr::memchr3_iter(b'\r', b'\n', 0, piece).all(|at| {
            let before = at.checked_sub(1).and_then(|before| piece.get(before));
            match (piece.get(at), piece.get(at + 1)) {
                (Some(b'\r'), Some(next)) => *next == b'\n',
                (Some(b'\r'), None) => {
                    self.after_cr = true;
                    true
                }
                // At the beginning it has been looked at above.
                (Some(b'\n'), _) => before.is_none_or(|before| *before == b'\r'),
                _ => false,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &[u8], body: &[u8], step: usize) -> Outline {
        let mut survey = Survey::default();
        header.chunks(step).for_each(|piece| survey.header(piece));
        body.chunks(step).for_each(|piece| survey.body(piece));
        survey.finish()
    }

    #[test]
    fn a_mail_has_the_same_outline_however_it_is_cut() {
        let bodies: [(&[u8], bool); 12] = [
            (b"", true),
            (b"\r\n", true),
            (b"\r\na\r\n\r\nb", true),
            (b"\r\nb\r", false),
            (b"\n", false),
            (b"\r\n\n", false),
            (b"a\rb\r\n", false),
            (b"\r\r\n", false),
            (b"a\nb\r\n", false),
            (b"a\0b\r\n", false),
            (b"caf\xe9\r\n", true),
            (b"\r", false),
        ];
        for header in [&b"A: 1\r\n"[..], b"A: \xe9\r\n", b""] {
            for (body, is_lines) in bodies {
                for step in 1..8 {
                    let header_is_8bit = !header.is_ascii();
                    let expected = Outline {
                        len: (header.len() + body.len()) as u64,
                        header_is_8bit,
                        is_8bit: header_is_8bit || !body.is_ascii(),
                        is_lines,
                    };
                    assert_eq!(of(header, body, step), expected, "{header:?} {body:?} in {step}s");
                }
            }
        }
    }
}
