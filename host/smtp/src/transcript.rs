//! What was said in a session, for whoever has to find out why a mail did not go through.
//!
//! Keeps the beginning and the end within 8 KiB and drops the middle. Never keeps mail data or
//! what follows AUTH.

use std::fmt::{self, Write as _};

/// `C:` and `S:` lines, control characters escaped.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    head: String,
    head_full: bool,
    tail: String,
    lines_cut: usize,
}

const MAX_HEAD: usize = 2 * 1024;
/// The tail grows to this, then loses lines until half is left: a cut is rare and cheap.
const MAX_TAIL: usize = 5 * 1024;
const MAX_LINE: usize = 512;

impl Transcript {
    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// A line that the client sent, without its line end.
    pub(crate) fn client(&mut self, line: &[u8]) {
        let is_auth = line.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
        if is_auth {
            let mechanism = line.get(5..).unwrap_or_default().split(|b| *b == b' ').next().unwrap_or_default();
            self.begin("C: AUTH ");
            self.text(mechanism);
            self.current().push_str(" ***");
        } else {
            self.begin("C: ");
            self.text(line);
        }
        self.end();
    }

    pub(crate) fn server(&mut self, reply: &mail::Reply) {
        self.begin("S: ");
        write!(self.current(), "{}", reply.code).ok();
        if let Some(enhanced) = reply.enhanced {
            write!(self.current(), " {enhanced}").ok();
        }
        self.current().push(' ');
        self.text(reply.text.as_bytes());
        self.end();
    }

    /// Stands for mail data.
    pub(crate) fn data(&mut self, bytes: u64) {
        self.note("C: ", format_args!("({bytes} bytes)"));
    }

    pub(crate) fn tls(&mut self) {
        self.note("", format_args!("(TLS)"));
    }

    fn note(&mut self, side: &str, what: fmt::Arguments<'_>) {
        self.begin(side);
        self.current().write_fmt(what).ok();
        self.end();
    }

    fn current(&mut self) -> &mut String {
        if self.head_full { &mut self.tail } else { &mut self.head }
    }

    fn begin(&mut self, side: &str) {
        self.current().push_str(side);
    }

    fn text(&mut self, bytes: &[u8]) {
        let cut = bytes.len() > MAX_LINE;
        let bytes = bytes.get(..MAX_LINE).unwrap_or(bytes);
        let out = self.current();
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' => out.push_str(" / "),
                    c if c.is_control() => out.extend(c.escape_default()),
                    c => out.push(c),
                }
            }
            if !chunk.invalid().is_empty() {
                out.push(char::REPLACEMENT_CHARACTER);
            }
        }
        if cut {
            out.push('…');
        }
    }

    fn end(&mut self) {
        self.current().push('\n');
        if !self.head_full {
            self.head_full = self.head.len() > MAX_HEAD - MAX_LINE;
        } else if self.tail.len() > MAX_TAIL - MAX_LINE {
            let surplus = self.tail.len() - MAX_TAIL / 2;
            let cut = self.tail.as_bytes().iter().skip(surplus).position(|b| *b == b'\n');
            let dropped: String = self.tail.drain(..cut.map_or(0, |at| surplus + at + 1)).collect();
            self.lines_cut += dropped.lines().count();
        }
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head)?;
        if self.lines_cut > 0 {
            writeln!(f, "({} lines left out)", self.lines_cut)?;
        }
        f.write_str(&self.tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_and_the_end_are_kept_within_8_kib() {
        let mut transcript = Transcript::default();
        for n in 0..10_000 {
            transcript.client(format!("NOOP {n} {}", "\u{1}".repeat(n % 700)).as_bytes());
            assert!(transcript.to_string().len() <= 16 * 1024, "one escaped line may overrun");
        }
        transcript.client(b"QUIT");
        let text = transcript.to_string();
        assert!(text.starts_with("C: NOOP 0 \n") && text.ends_with("C: QUIT\n"), "{text}");
        assert!(text.contains("lines left out"));

        let mut transcript = Transcript::default();
        for n in 0..10_000 {
            transcript.client(format!("NOOP {n}").as_bytes());
            assert!(transcript.to_string().len() <= 8 * 1024);
        }
    }

    #[test]
    fn secrets_and_control_characters_do_not_show() {
        let mut transcript = Transcript::default();
        transcript.client(b"auth PLAIN AGEAc2VjcmV0");
        transcript.client(b"NOOP \x1b[31m\xff");
        assert_eq!(transcript.to_string(), "C: AUTH PLAIN ***\nC: NOOP \\u{1b}[31m\u{fffd}\n");
    }
}
