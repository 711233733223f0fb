//! Runs `tests/dialogues/*.smtp`; the format is described in the README beside them.

use crate::gateway::{Accepted, Gateway, config};
use dialogue::{Dialogue, Line, is_as_expected, take_line};
use smtp::{BareLineEnds, ServerConfig, TlsOffer};
use std::path::Path;

struct Session {
    dialogue: Dialogue,
    config: ServerConfig,
    is_proxy: bool,
}

impl Session {
    fn new(dialogue: Dialogue) -> Self {
        let mut session = Self { config: config(), is_proxy: false, dialogue };
        for (name, value) in session.dialogue.settings.clone() {
            session.set(&name, &value);
        }
        session
    }

    fn set(&mut self, name: &str, value: &str) {
        match (name, value) {
            ("uncut", "") => {}
            ("xclient", "") => self.is_proxy = true,
            ("bare-line-ends", "normalise") => self.config.bare_line_ends = BareLineEnds::Normalise,
            ("tls", "none") => self.config.tls = TlsOffer::None,
            ("tls", "required") => self.config.tls = TlsOffer::Required,
            ("max-size", _) => self.config.max_message_size = value.parse().unwrap(),
            ("max-recipients", _) => self.config.max_recipients = value.parse().unwrap(),
            ("max-errors", _) => self.config.max_errors = value.parse().unwrap(),
            ("max-idle-commands", _) => self.config.max_idle_commands = value.parse().unwrap(),
            _ => panic!("{}: unknown setting {name} = {value}", self.name()),
        }
    }

    fn name(&self) -> &str {
        &self.dialogue.name
    }

    /// Speaks the client's lines, each run of them as one write, or cut in two after `cut` bytes.
    fn run(&self, mut cut: usize) -> Gateway {
        let mut gateway = Gateway::new(self.config.clone());
        if self.is_proxy {
            gateway.server.trust_as_proxy();
        }
        let mut said: Vec<u8> = std::mem::take(&mut gateway.output);
        let mut group: Vec<u8> = Vec::new();
        for line in &self.dialogue.lines {
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
        assert!(group.is_empty(), "{}: ends with a line of the client", self.name());
        assert!(said.is_empty(), "{}: also said {}", self.name(), String::from_utf8_lossy(&said));
        let mails: Vec<Vec<u8>> = gateway.accepted.iter().map(describe).collect();
        let shown = |mails: &[Vec<u8>]| mails.iter().map(|mail| mail.escape_ascii().to_string()).collect::<Vec<_>>();
        assert_eq!(shown(&mails), shown(&self.dialogue.mails), "{}", self.name());
        gateway
    }

    fn check(&self, line: &Line, said: &mut Vec<u8>, gateway: &mut Gateway) {
        match line {
            Line::Client(_) => unreachable!("collected"),
            Line::ServerTurns => panic!("{}: this server never turns", self.name()),
            Line::ClientEof => said.extend_from_slice(&gateway.eof()),
            Line::ServerCloses => assert!(gateway.closed, "{}: not closed", self.name()),
            Line::ServerStartsTls => {
                assert!(std::mem::take(&mut gateway.tls_started), "{}: no TLS", self.name());
            }
            Line::ServerReply(code) => while self.reply_line(code, said).starts_with(&format!("{code}-")) {},
            Line::Server(expected) => {
                self.reply_line(expected, said);
            }
        }
    }

    fn reply_line(&self, expected: &str, said: &mut Vec<u8>) -> String {
        let real = take_line(said).unwrap_or_else(|| panic!("{}: nothing said, expected {expected}", self.name()));
        assert!(is_as_expected(expected, &real), "{}: expected {expected}\n said {real}", self.name());
        real
    }

    fn client_bytes(&self) -> usize {
        self.dialogue.lines.iter().map(|line| if let Line::Client(bytes) = line { bytes.len() } else { 0 }).sum()
    }
}

fn describe(mail: &Accepted) -> Vec<u8> {
    let mut text = format!("<{}>", mail.envelope.sender);
    for recipient in &mail.envelope.recipients {
        text += &format!(" <{}>", recipient.address);
    }
    [text.as_bytes(), b" | ", &mail.content].concat()
}

fn sessions() -> Vec<Session> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    Dialogue::read_all(&directory).unwrap().into_iter().map(Session::new).collect()
}

#[test]
fn every_dialogue_goes_as_written() {
    for session in sessions() {
        session.run(0);
    }
}

#[test]
fn every_dialogue_goes_the_same_wherever_the_input_is_cut() {
    for session in sessions().into_iter().filter(|session| !session.dialogue.is_uncut()) {
        let bytes = session.client_bytes();
        let step = bytes / 3000 + 1;
        for cut in (1..bytes).step_by(step) {
            session.run(cut);
        }
    }
}

#[test]
fn every_reply_but_greeting_and_hello_carries_an_enhanced_code() {
    for session in sessions() {
        let gateway = session.run(0);
        let output = String::from_utf8(gateway.output).unwrap();
        for line in output.lines().filter(|line| !line.starts_with('3')) {
            let class = line.get(..1).unwrap();
            let has_code = line.get(4..).is_some_and(|text| text.starts_with(&format!("{class}.")));
            // XCLIENT brings a second greeting.
            let is_hello = (line.starts_with("250") || line.starts_with("220 mx.")) && !has_code;
            assert!(has_code || is_hello && !line.contains("OK"), "{}: {line}", session.name());
        }
    }
}

/// Every file stands in the README's table, and once.
#[test]
fn the_table_of_what_is_covered_names_every_dialogue_once() {
    let readme = include_str!("../dialogues/README.md");
    let (_, table) = readme.split_once("## What they cover").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(2);
    let mut named: Vec<&str> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    named.sort_unstable();
    let sessions = sessions();
    let mut there: Vec<&str> = sessions.iter().map(Session::name).collect();
    there.sort_unstable();
    assert_eq!(named, there);
    assert!(sessions.len() >= 150, "{} dialogues", sessions.len());
}
