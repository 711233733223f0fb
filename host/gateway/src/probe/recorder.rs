//! Turns what is told of a connection into steps, each with its time.

use super::{
    hints::Place,
    shown::{self, Eyes},
    step::{Kind, Step, Verdict},
};
use crate::delivery::{Told, Watch};
use mail::{Failure, FailureKind};
use smtp::{Client, Transcript, Wait};
use std::{
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Told each step as it is done.
pub type Sink<'a> = dyn Fn(Step) + Send + Sync + 'a;

pub struct Recorder<'a> {
    place: Place<'a>,
    eyes: Eyes<'a>,
    sink: &'a Sink<'a>,
    state: Mutex<State>,
}

struct State {
    /// The step before this one ended.
    since: Instant,
    /// What comes next, and has failed if nothing comes.
    expected: Kind,
    /// Not tried yet.
    addresses: usize,
    failed: bool,
}

impl<'a> Recorder<'a> {
    pub fn new(place: Place<'a>, eyes: Eyes<'a>, sink: &'a Sink<'a>) -> Self {
        let state = State { since: Instant::now(), expected: Kind::Dns, addresses: 0, failed: false };
        Self { place, eyes, sink, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn place(&self) -> &Place<'a> {
        &self.place
    }

    pub fn has_failed(&self) -> bool {
        self.lock().failed
    }

    pub fn passed(&self, step: Kind, told: impl Into<String>) {
        self.record(step, Verdict::Passed, told.into(), None);
    }

    pub fn record(&self, step: Kind, verdict: Verdict, told: String, hint: Option<String>) {
        let took_ms = {
            let mut state = self.lock();
            state.failed |= verdict == Verdict::Failed;
            let took = state.since.elapsed();
            state.since = Instant::now();
            took.as_millis() as u64
        };
        (self.sink)(Step { next_hop: self.place.hop.to_string(), step, verdict, took_ms, told, hint });
    }

    /// The connection did not come about.
    pub fn failed(&self, failure: &Failure) {
        let (expected, told) = {
            let state = self.lock();
            (state.expected, state.failed)
        };
        if told {
            return;
        }
        let step = match failure.kind {
            FailureKind::Identity => Kind::Identity,
            FailureKind::Tls if expected == Kind::Ehlo => Kind::Starttls,
            // A name without an address is found out where the first address would be tried.
            FailureKind::Dns => Kind::Dns,
            _ => expected,
        };
        self.record(step, Verdict::Failed, failure.to_string(), Some(self.place.failed(step, failure)));
    }

    fn expect(&self, step: Kind) {
        self.lock().expected = step;
    }

    fn addresses(&self, found: &[SocketAddr]) {
        {
            let mut state = self.lock();
            state.addresses = found.len();
            state.expected = Kind::Connect;
        }
        let hop = self.place.hop;
        match found {
            [] => {}
            [only] if hop.ip() == Some(only.ip()) => self.passed(Kind::Dns, "an address: there is nothing to look up"),
            all => {
                let all: Vec<String> = all.iter().map(|address| address.ip().to_string()).collect();
                self.passed(Kind::Dns, format!("{} is at {}", hop.host, all.join(", ")));
            }
        }
    }

    fn tried(&self, address: SocketAddr, failure: Option<&Failure>) {
        let left = {
            let mut state = self.lock();
            state.addresses = state.addresses.saturating_sub(1);
            state.addresses
        };
        match failure {
            None => {
                self.expect(Kind::Greeting);
                self.passed(Kind::Connect, format!("connected to {address}"));
            }
            Some(failure) => {
                let verdict = if left == 0 { Verdict::Failed } else { Verdict::Warning };
                let hint = Some(self.place.failed(Kind::Connect, failure));
                self.record(Kind::Connect, verdict, failure.to_string(), hint);
            }
        }
    }

    fn heard(&self, answered: Wait, client: &Client) {
        if client.is_closed() {
            return;
        }
        let said = last_reply(client.transcript());
        match answered {
            Wait::Greeting => {
                self.expect(Kind::Ehlo);
                self.greeting(said);
            }
            Wait::Ehlo if client.waits_for() == Wait::Ehlo => {
                self.record(Kind::Ehlo, Verdict::Warning, said, Some("it knows no EHLO, only HELO: no TLS, no SIZE, 7-bit text only; is a firewall changing what is said (\"smtp fixup\")?".to_owned()));
            }
            Wait::Ehlo => {
                if client.waits_for() == Wait::StartTls {
                    self.expect(Kind::Starttls);
                }
                self.passed(Kind::Ehlo, said);
            }
            Wait::StartTls if client.waits_for() != Wait::Handshake => {
                let hint = "it offers STARTTLS and refuses it: mail goes in clear text; its log says why".to_owned();
                self.record(Kind::Starttls, Verdict::Warning, said, Some(hint));
            }
            _ => {}
        }
    }

    fn greeting(&self, said: String) {
        // A gateway behind another address, as with port forwarding, is seen by its name alone.
        let ours =
            said.split_whitespace().nth(1).is_some_and(|name| name.eq_ignore_ascii_case(self.place.hostname.as_str()));
        let hint = ours.then(|| "it has this gateway's own name: is it the gateway itself, by another way? mail would go round in a circle".to_owned());
        let verdict = if ours { Verdict::Warning } else { Verdict::Passed };
        self.record(Kind::Greeting, verdict, said, hint);
    }
}

impl Watch for Recorder<'_> {
    fn told(&self, told: Told<'_>) {
        match told {
            Told::Addresses(found) => self.addresses(found),
            Told::Tried { address, failure } => self.tried(address, failure),
            Told::Heard { answered, client } => self.heard(answered, client),
            Told::Secured(stream) => {
                self.expect(Kind::Ehlo);
                self.passed(Kind::Starttls, stream.tls_version().unwrap_or_default());
                shown::certificate(stream, self, self.eyes);
            }
            Told::FellBack(failure) => {
                let hint = "mail goes in clear text: with tls = \"required\" it would wait instead".to_owned();
                self.record(Kind::Starttls, Verdict::Warning, failure.to_string(), Some(hint));
                self.expect(Kind::Dns);
            }
        }
    }
}

/// As in the transcript, where control characters do not show.
fn last_reply(transcript: &Transcript) -> String {
    let text = transcript.to_string();
    let last = text.lines().rev().find_map(|line| line.strip_prefix("S: "));
    last.unwrap_or_default().to_owned()
}
