//! Runs `tests/dialogues/*.smtp`; the format is described in the README beside them.

use crate::gateway::{Accepted, Gateway, config};
use smtp::{ServerConfig, TlsOffer};
use std::{fmt::Write as _, path::Path};

#[derive(Debug)]
pub(crate) enum Line {
    Client(Vec<u8>),
    ClientEof,
    Server(String),
    /// A reply of any number of lines.
    ServerReply(String),
    ServerCloses,
    ServerStartsTls,
    /// Only where mail is collected.
    ServerTurns,
}

#[derive(Debug)]
struct Dialogue {
    name: String,
    config: ServerConfig,
    uncut: bool,
    lines: Vec<Line>,
    mails: Vec<String>,
}

fn parse(path: &Path) -> Dialogue {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let text = std::fs::read_to_string(path).unwrap();
    let mut dialogue = Dialogue { name, config: config(), uncut: false, lines: vec![], mails: vec![] };
    for (number, line) in text.lines().enumerate() {
        let rest = line.get(3..).unwrap_or_default();
        if let Some(line) = spoken(line) {
            dialogue.lines.push(line);
            continue;
        }
        match line.get(..2).unwrap_or(line) {
            "" => {}
            "M:" => dialogue.mails.push(rest.to_owned()),
            "@ " => dialogue.set(line.get(2..).unwrap_or_default()),
            comment if comment.starts_with('#') => {}
            _ => panic!("{}:{}: what is this? {line}", dialogue.name, number + 1),
        }
    }
    dialogue
}

/// A line of the session itself.
pub(crate) fn spoken(line: &str) -> Option<Line> {
    let rest = line.get(3..).unwrap_or_default();
    Some(match line.get(..2)? {
        "C:" => Line::Client([unescape(rest), b"\r\n".to_vec()].concat()),
        "C." => Line::Client(unescape(rest)),
        "C!" if rest == "eof" => Line::ClientEof,
        "S:" => Line::Server(rest.to_owned()),
        "S*" => Line::ServerReply(rest.to_owned()),
        "S!" if rest == "close" => Line::ServerCloses,
        "S!" if rest == "tls" => Line::ServerStartsTls,
        "S!" if rest == "turned" => Line::ServerTurns,
        _ => return None,
    })
}

impl Dialogue {
    fn set(&mut self, setting: &str) {
        let (name, value) = setting.split_once(" = ").unwrap_or((setting, ""));
        match (name, value) {
            ("uncut", "") => self.uncut = true,
            ("tls", "none") => self.config.tls = TlsOffer::None,
            ("tls", "required") => self.config.tls = TlsOffer::Required,
            ("max-size", _) => self.config.max_message_size = value.parse().unwrap(),
            ("max-recipients", _) => self.config.max_recipients = value.parse().unwrap(),
            ("max-errors", _) => self.config.max_errors = value.parse().unwrap(),
            ("max-idle-commands", _) => self.config.max_idle_commands = value.parse().unwrap(),
            _ => panic!("{}: unknown setting {setting}", self.name),
        }
    }

    /// Speaks the client's lines, each run of them as one write, or cut in two after `cut` bytes.
    fn run(&self, mut cut: usize) -> Gateway {
        let mut gateway = Gateway::new(self.config.clone());
        let mut said: Vec<u8> = std::mem::take(&mut gateway.output);
        let mut group: Vec<u8> = Vec::new();
        for line in &self.lines {
            if let Line::Client(bytes) = line {
                group.extend_from_slice(bytes);
                continue;
            }
            if !group.is_empty() {
                let (first, second) = group.split_at(cut.min(group.len()));
                cut = cut.saturating_sub(group.len());
                for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
                    said.extend_from_slice(&gateway.feed(part));
                }
                group.clear();
            }
            self.check(line, &mut said, &mut gateway);
        }
        assert!(group.is_empty(), "{}: ends with a line of the client", self.name);
        assert!(said.is_empty(), "{}: also said {}", self.name, String::from_utf8_lossy(&said));
        let mails: Vec<String> = gateway.accepted.iter().map(describe).collect();
        let expected: Vec<String> = self.mails.iter().map(|mail| describe_expected(mail)).collect();
        assert_eq!(mails, expected, "{}", self.name);
        gateway
    }

    fn check(&self, line: &Line, said: &mut Vec<u8>, gateway: &mut Gateway) {
        match line {
            Line::Client(_) => unreachable!("collected"),
            Line::ServerTurns => panic!("{}: this server never turns", self.name),
            Line::ClientEof => said.extend_from_slice(&gateway.eof()),
            Line::ServerCloses => assert!(gateway.closed, "{}: not closed", self.name),
            Line::ServerStartsTls => {
                assert!(std::mem::take(&mut gateway.tls_started), "{}: no TLS", self.name);
            }
            Line::ServerReply(code) => while self.reply_line(code, said).starts_with(&format!("{code}-")) {},
            Line::Server(expected) => {
                self.reply_line(expected, said);
            }
        }
    }

    fn reply_line(&self, expected: &str, said: &mut Vec<u8>) -> String {
        let end = memchr::memmem::find(said, b"\r\n");
        let end = end.unwrap_or_else(|| panic!("{}: nothing said, expected {expected}", self.name));
        let real: Vec<u8> = said.drain(..end + 2).take(end).collect();
        let real = String::from_utf8(real).unwrap();
        assert!(matches(expected, &real), "{}: expected {expected}\n said {real}", self.name);
        real
    }

    fn client_bytes(&self) -> usize {
        self.lines.iter().map(|line| if let Line::Client(bytes) = line { bytes.len() } else { 0 }).sum()
    }
}

/// `...` stands for anything; anything may follow.
pub(crate) fn matches(expected: &str, real: &str) -> bool {
    let mut parts = expected.split("...");
    let Some(mut rest) = real.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        let (escape, tail) = after.split_at(1);
        rest = tail;
        match escape {
            "r" => out.push(b'\r'),
            "n" => out.push(b'\n'),
            "t" => out.push(b'\t'),
            "0" => out.push(0),
            "\\" => out.push(b'\\'),
            "x" => {
                let (digits, tail) = tail.split_at(2);
                out.push(u8::from_str_radix(digits, 16).unwrap());
                rest = tail;
            }
            "{" => {
                let (repeated, tail) = tail.split_once('}').unwrap();
                let (what, count) = repeated.rsplit_once('*').unwrap();
                out.extend_from_slice(&what.repeat(count.parse().unwrap()).into_bytes());
                rest = tail;
            }
            other => panic!("unknown escape \\{other}"),
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn describe(mail: &Accepted) -> String {
    let mut text = format!("<{}>", mail.envelope.sender);
    for recipient in &mail.envelope.recipients {
        write!(text, " <{}>", recipient.address).unwrap();
    }
    text + " | " + &String::from_utf8_lossy(&mail.content)
}

fn describe_expected(line: &str) -> String {
    let (envelope, content) = line.split_once(" | ").unwrap_or((line.trim_end_matches(" |"), ""));
    format!("{envelope} | {}", String::from_utf8_lossy(&unescape(content)))
}

fn dialogues() -> Vec<Dialogue> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "smtp")).collect();
    files.sort();
    assert!(files.len() >= 50, "{} dialogues", files.len());
    files.iter().map(|path| parse(path)).collect()
}

#[test]
fn every_dialogue_goes_as_written() {
    for dialogue in dialogues() {
        dialogue.run(0);
    }
}

#[test]
fn every_dialogue_goes_the_same_wherever_the_input_is_cut() {
    for dialogue in dialogues().into_iter().filter(|dialogue| !dialogue.uncut) {
        let bytes = dialogue.client_bytes();
        let step = bytes / 3000 + 1;
        for cut in (1..bytes).step_by(step) {
            dialogue.run(cut);
        }
    }
}

#[test]
fn every_reply_but_greeting_and_hello_carries_an_enhanced_code() {
    for dialogue in dialogues() {
        let gateway = dialogue.run(0);
        let output = String::from_utf8(gateway.output).unwrap();
        for line in output.lines().filter(|line| !line.starts_with('3')) {
            let class = line.get(..1).unwrap();
            let has_code = line.get(4..).is_some_and(|text| text.starts_with(&format!("{class}.")));
            let is_hello = line.starts_with("250") && !has_code;
            assert!(has_code || is_hello && !line.contains("OK"), "{}: {line}", dialogue.name);
        }
    }
}
