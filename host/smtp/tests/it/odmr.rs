//! Runs `tests/dialogues/odmr/*.smtp` against the provider's side of on-demand mail relay.

use dialogue::{Dialogue, Line, is_as_expected, take_line};
use mail::Reply;
use smtp::{Mechanism, Mechanisms, Odmr, OdmrConfig, OdmrEvent, TlsOffer};
use std::path::Path;

/// The challenge and the response of RFC 2195 §2.
const CHALLENGE: &[u8] = b"<1896.697170952@postoffice.reston.mci.net>";
const RESPONSE: &[u8] = b"tim b913a602c7eda7a495b4e6e7334d3890";
const WRONG: Reply = Reply::fixed(535, (5, 7, 8), "Wrong user or password");

struct Session {
    dialogue: Dialogue,
    config: OdmrConfig,
    mechanisms: Mechanisms,
}

struct Provider {
    odmr: Odmr,
    mechanism: Option<Mechanism>,
    responses: usize,
    tls: bool,
    closed: bool,
    turned: bool,
}

impl Provider {
    /// Gives `bytes` to the session, does what it says, and returns what it wrote.
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.odmr.receive(bytes);
        while let Some(event) = self.odmr.next_event() {
            self.on_event(event);
        }
        assert!(!self.odmr.is_asking());
        self.odmr.output().split().to_vec()
    }

    fn on_event(&mut self, event: OdmrEvent) {
        match event {
            OdmrEvent::Auth { mechanism, initial } => {
                (self.mechanism, self.responses) = (Some(mechanism), 0);
                match (mechanism, initial) {
                    (Mechanism::CramMd5, _) => self.odmr.challenge(CHALLENGE),
                    (_, None) => self.odmr.challenge(b""),
                    (_, Some(initial)) => self.respond(&initial),
                }
            }
            OdmrEvent::Response(response) => self.respond(&response),
            OdmrEvent::AuthAborted => self.mechanism = None,
            OdmrEvent::Turn(domains) => {
                let names: Vec<&str> = domains.iter().map(|domain| domain.as_str()).collect();
                self.odmr.answer_turn(match names.as_slice() {
                    names if names.contains(&"other.example") => Reply::fixed(450, (4, 7, 1), "Refused"),
                    names if names.contains(&"empty.example") => Reply::fixed(453, (4, 0, 0), "You have no mail"),
                    names if names.contains(&"locked.example") => Reply::fixed(451, (4, 3, 0), "Not now"),
                    _ => Reply::new(250, (2, 0, 0), format!("Turning for [{}]", names.join(" "))),
                });
            }
            OdmrEvent::StartTls => {
                self.tls = true;
                self.odmr.tls_started();
            }
            OdmrEvent::Quit => self.closed = true,
            OdmrEvent::Turned => self.turned = true,
        }
    }

    fn respond(&mut self, response: &[u8]) {
        self.responses += 1;
        match (self.mechanism.unwrap(), self.responses, response) {
            (Mechanism::Plain, 1, b"\0ann\0secret") | (Mechanism::CramMd5, 1, RESPONSE) => self.odmr.authenticated(),
            (Mechanism::ScramSha256, 1, b"one") => self.odmr.challenge(b"ONE"),
            (Mechanism::ScramSha256, 2, b"two") => self.odmr.challenge(b"TWO"),
            (Mechanism::ScramSha256, 3, b"") => self.odmr.authenticated(),
            _ => self.odmr.refuse(WRONG),
        }
    }
}

impl Session {
    fn new(dialogue: Dialogue) -> Self {
        let config = OdmrConfig { tls: TlsOffer::Optional, ..OdmrConfig::new("mx.example.net".parse().unwrap()) };
        let mechanisms = Mechanisms { plain: true, scram_sha_256: true, cram_md5: true };
        let mut session = Self { dialogue, config, mechanisms };
        for (name, value) in session.dialogue.settings.clone() {
            session.set(&name, &value);
        }
        session
    }

    fn set(&mut self, name: &str, value: &str) {
        match (name, value) {
            ("uncut", "") => {}
            ("tls", "none") => self.config.tls = TlsOffer::None,
            ("tls", "required") => self.config.tls = TlsOffer::Required,
            ("mechanisms", names) => {
                let has = |mechanism: Mechanism| names.split(' ').any(|name| name == mechanism.as_str());
                self.mechanisms = Mechanisms {
                    plain: has(Mechanism::Plain),
                    scram_sha_256: has(Mechanism::ScramSha256),
                    cram_md5: has(Mechanism::CramMd5),
                };
            }
            ("max-errors", value) => self.config.max_errors = value.parse().unwrap(),
            ("max-idle-commands", value) => self.config.max_idle_commands = value.parse().unwrap(),
            _ => panic!("{}: unknown setting {name} = {value}", self.name()),
        }
    }

    fn name(&self) -> &str {
        &self.dialogue.name
    }

    /// Speaks the client's lines, each cut in two after `cut` bytes.
    fn run(&self, cut: usize) -> Vec<u8> {
        let mut odmr = Odmr::new(self.config.clone(), self.mechanisms, false);
        odmr.greet();
        let mut provider = Provider { odmr, mechanism: None, responses: 0, tls: false, closed: false, turned: false };
        let mut said = provider.feed(b"");
        let mut all = said.clone();
        for line in &self.dialogue.lines {
            match line {
                Line::Client(bytes) => {
                    let (first, second) = bytes.split_at(cut.min(bytes.len()));
                    for part in [first, second] {
                        let more = provider.feed(part);
                        said.extend_from_slice(&more);
                        all.extend_from_slice(&more);
                    }
                }
                Line::ClientEof => provider.odmr.eof(),
                Line::ServerCloses => assert!(provider.closed, "{}: not closed", self.name()),
                Line::ServerStartsTls => assert!(std::mem::take(&mut provider.tls), "{}: no TLS", self.name()),
                Line::ServerTurns => assert!(provider.turned, "{}: not turned", self.name()),
                Line::Server(expected) => drop(self.reply_line(expected, &mut said)),
                Line::ServerReply(code) => while self.reply_line(code, &mut said).starts_with(&format!("{code}-")) {},
            }
        }
        assert!(said.is_empty(), "{}: also said {}", self.name(), String::from_utf8_lossy(&said));
        all
    }

    fn reply_line(&self, expected: &str, said: &mut Vec<u8>) -> String {
        let real = take_line(said).unwrap_or_else(|| panic!("{}: nothing said, expected {expected}", self.name()));
        assert!(is_as_expected(expected, &real), "{}: expected {expected}\n said {real}", self.name());
        real
    }
}

fn sessions() -> Vec<Session> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues/odmr");
    let sessions: Vec<_> = Dialogue::read_all(&directory).unwrap().into_iter().map(Session::new).collect();
    assert!(sessions.len() >= 8, "{} dialogues", sessions.len());
    sessions
}

#[test]
fn every_on_demand_dialogue_goes_as_written_wherever_its_lines_are_cut() {
    for session in sessions() {
        for cut in 0..if session.dialogue.is_uncut() { 1 } else { 40 } {
            session.run(cut);
        }
    }
}

#[test]
fn nobody_turns_a_connection_without_having_authenticated_on_it() {
    for session in sessions() {
        let (name, said) = (session.name(), session.run(0));
        let said = String::from_utf8(said).unwrap();
        if let Some(turned) = said.find("250 2.0.0 Turning") {
            assert!(said[..turned].contains("235 "), "{name}: {said}");
        }
    }
}

#[test]
fn a_line_without_an_end_is_given_up_and_what_is_kept_of_it_is_bounded() {
    let mut odmr = Odmr::new(OdmrConfig::new("mx.example.net".parse().unwrap()), Mechanisms::default(), false);
    for _ in 0..1000 {
        odmr.receive(&[b'A'; 1000]);
        assert_eq!(odmr.next_event(), None);
        assert!(odmr.input().len() <= 13_288);
    }
    odmr.receive(b"\r\n");
    assert_eq!(odmr.next_event(), None);
    assert!(odmr.output().starts_with(b"500 5.5.2 "));
}
