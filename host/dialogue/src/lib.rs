//! Reads SMTP sessions that are written down as dialogues: `*.smtp` files with what each side says.
//!
//! Decides the format, which `host/smtp/tests/dialogues/README.md` describes. It speaks to nobody: whoever runs a
//! dialogue, in memory or over a socket, takes its lines.

pub mod smuggling;

use std::{
    io,
    path::{Path, PathBuf},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Octets, escapes resolved. Successive ones are one write.
    Client(Vec<u8>),
    ClientEof,
    /// One line of a reply, as [`is_as_expected`] reads it.
    Server(String),
    /// A reply of any number of lines.
    ServerReply(String),
    ServerCloses,
    ServerStartsTls,
    /// Only where mail is collected.
    ServerTurns,
}

#[derive(Debug)]
pub struct Dialogue {
    /// The file's name without its ending.
    pub name: String,
    pub lines: Vec<Line>,
    /// `<sender> <recipient> ... | content`, the content's escapes resolved.
    pub mails: Vec<Vec<u8>>,
    /// Name and value; the value may be empty.
    pub settings: Vec<(String, String)>,
}

#[derive(Debug, thiserror::Error)]
pub enum DialogueError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}:{line}: what is this? {text}", path.display())]
    Line { path: PathBuf, line: usize, text: String },
}

impl Dialogue {
    pub fn read(path: &Path) -> Result<Self, DialogueError> {
        let unreadable = |source| DialogueError::Unreadable { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut dialogue = Self { name, lines: Vec::new(), mails: Vec::new(), settings: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            dialogue.take(line).ok_or_else(|| DialogueError::Line {
                path: path.to_owned(),
                line: number + 1,
                text: line.to_owned(),
            })?;
        }
        Ok(dialogue)
    }

    /// Each `*.smtp` of a directory, in order of name.
    pub fn read_all(directory: &Path) -> Result<Vec<Self>, DialogueError> {
        let unreadable = |source| DialogueError::Unreadable { path: directory.to_owned(), source };
        let entries = std::fs::read_dir(directory).map_err(unreadable)?;
        let mut files =
            entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        files.retain(|path| path.extension().is_some_and(|ending| ending == "smtp"));
        files.sort();
        files.iter().map(|path| Self::read(path)).collect()
    }

    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What arrives together matters: the client's bytes must not be cut.
    pub fn is_uncut(&self) -> bool {
        self.setting("uncut").is_some()
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let rest = line.get(3..).unwrap_or_default();
        let spoken = match line.get(..2).unwrap_or(line) {
            "C:" => Line::Client([unescape(rest)?, b"\r\n".to_vec()].concat()),
            "C." => Line::Client(unescape(rest)?),
            "C!" if rest == "eof" => Line::ClientEof,
            "S:" => Line::Server(rest.to_owned()),
            "S*" => Line::ServerReply(rest.to_owned()),
            "S!" if rest == "close" => Line::ServerCloses,
            "S!" if rest == "tls" => Line::ServerStartsTls,
            "S!" if rest == "turned" => Line::ServerTurns,
            "M:" => return mail(rest).map(|mail| self.mails.push(mail)),
            "@ " => {
                let setting = line.get(2..)?;
                let (name, value) = setting.split_once(" = ").unwrap_or((setting, ""));
                self.settings.push((name.to_owned(), value.to_owned()));
                return Some(());
            }
            comment => return (comment.is_empty() || comment.starts_with('#')).then_some(()),
        };
        self.lines.push(spoken);
        Some(())
    }
}

fn mail(line: &str) -> Option<Vec<u8>> {
    let (envelope, content) = line.split_once(" | ").unwrap_or((line.trim_end_matches(" |"), ""));
    Some([envelope.as_bytes(), b" | ", &unescape(content)?].concat())
}

/// Takes the first line out of what the server said, without its CRLF. None where there is no whole one.
pub fn take_line(said: &mut Vec<u8>) -> Option<String> {
    let end = said.windows(2).position(|pair| pair == b"\r\n")?;
    let line = said.drain(..end + 2).take(end).collect();
    Some(String::from_utf8(line).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// `...` stands for anything; anything may follow.
pub fn is_as_expected(expected: &str, real: &str) -> bool {
    let mut parts = expected.split("...");
    let Some(mut rest) = real.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    true
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        let (escape, tail) = after.split_at_checked(1)?;
        rest = tail;
        match escape {
            "r" => out.push(b'\r'),
            "n" => out.push(b'\n'),
            "t" => out.push(b'\t'),
            "0" => out.push(0),
            "\\" => out.push(b'\\'),
            "x" => {
                let (digits, tail) = tail.split_at_checked(2)?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
                rest = tail;
            }
            "{" => {
                let (repeated, tail) = tail.split_once('}')?;
                let (what, count) = repeated.rsplit_once('*')?;
                out.extend_from_slice(&unescape(what)?.repeat(count.parse().ok()?));
                rest = tail;
            }
            _ => return None,
        }
    }
    out.extend_from_slice(rest.as_bytes());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_octets() {
        assert_eq!(unescape(r"a\r\n\t\0\\\xC3\{xy*3}\{\r\n*2}.").unwrap(), b"a\r\n\t\0\\\xC3xyxyxy\r\n\r\n.");
        for wrong in [r"\q", r"\x4", r"\xzz", r"\{a}", r"\{a*b}", r"\{a*1", "\\"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_expected_line_may_leave_things_open() {
        for (expected, real) in
            [("250 2.1.0", "250 2.1.0 Ok"), ("250 ...ok", "250 all is ok now"), ("250-", "250-x"), ("", "x")]
        {
            assert!(is_as_expected(expected, real), "{expected} {real}");
        }
        for (expected, real) in [("250 2.1.0", "250 2.1.5 Ok"), ("250 ...ok", "250 no"), ("250", "25")] {
            assert!(!is_as_expected(expected, real), "{expected} {real}");
        }
    }

    #[test]
    fn whole_lines_are_taken_one_by_one() {
        let mut said = b"250-a\r\n250 b\r\n25".to_vec();
        assert_eq!((take_line(&mut said).as_deref(), take_line(&mut said).as_deref()), (Some("250-a"), Some("250 b")));
        assert_eq!((take_line(&mut said), said.as_slice()), (None, &b"25"[..]));
    }

    #[test]
    fn a_line_of_no_known_kind_is_told_with_its_place() {
        let file = std::env::temp_dir().join(format!("dialogue-{}.smtp", std::process::id()));
        std::fs::write(&file, "# a comment\n\nC: QUIT\nS 221\n").unwrap();
        let error = Dialogue::read(&file).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(error.ends_with(".smtp:4: what is this? S 221"), "{error}");
    }
}
