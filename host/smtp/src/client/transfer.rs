//! One mail on its way to the next hop: its commands, the replies they get, an outcome for each recipient.
//!
//! Decides what each reply means for whom. It never takes silence or an unfinished exchange for success.

use crate::{stuff::Stuffer, transcript::Transcript, xtext::is_xtext};
use bytes::{BufMut, Bytes, BytesMut};
use mail::{BodyKind, Envelope, Failure, FailureKind, NextHop, Outcome, Outline, Protocol, Recipient, Reply, Ret};

use super::{Capabilities, Wait};

/// Where commands go, and what is said of the other side.
pub(super) struct Wire<'a> {
    pub(super) output: &'a mut BytesMut,
    pub(super) transcript: &'a mut Transcript,
    pub(super) hop: Option<&'a NextHop>,
}

impl Wire<'_> {
    fn write(&mut self, commands: BytesMut) {
        for line in commands.as_ref().split(|b: &u8| *b == b'\n').filter(|line| !line.is_empty()) {
            self.transcript.client(line.trim_ascii_end());
        }
        self.output.unsplit(commands);
    }
}

#[derive(Debug)]
pub(super) struct Transfer {
    /// One for each recipient that the driver gave; none while undecided.
    outcomes: Vec<Option<Outcome>>,
    /// Which of them RCPT names, in order.
    named: Vec<usize>,
    /// Those that are accepted so far.
    accepted: Vec<usize>,
    mail_refused: bool,
    step: Step,
    /// Commands not written yet: lines in lock-step, nothing when pipelined.
    commands: BytesMut,
    pipelined: bool,
    protocol: Protocol,
    body: Stuffer,
    size: u64,
}

/// Whose reply comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Rset,
    Mail,
    Rcpt(usize),
    Data,
    /// The n-th of the replies to the final dot: one with SMTP, one for each accepted recipient with LMTP.
    Final(usize),
    /// To a dot without data, for nobody was accepted and yet DATA was.
    LoneDot,
}

pub(super) enum Progress {
    Waiting,
    /// `open`: the next hop still holds the transaction; RSET is due before the next mail.
    Done {
        open: bool,
    },
    /// Done, and nothing more can be said in this session.
    Broken(Failure),
}

impl Transfer {
    /// `named` are the recipients without an outcome yet.
    pub(super) fn new(body: Stuffer, size: u64, outcomes: Vec<Option<Outcome>>, protocol: Protocol) -> Self {
        let named = outcomes.iter().enumerate().filter(|(_, o)| o.is_none()).map(|(at, _)| at).collect();
        Self {
            outcomes,
            named,
            accepted: Vec::new(),
            mail_refused: false,
            step: Step::Mail,
            commands: BytesMut::new(),
            pipelined: false,
            protocol,
            body,
            size,
        }
    }

    /// Writes MAIL, RCPT and DATA, the first or all of them to `output`.
    pub(super) fn start<'a>(
        &mut self,
        mail: &[u8],
        recipients: impl Iterator<Item = &'a Recipient>,
        offered: &Capabilities,
        reset_first: bool,
        wire: &mut Wire<'_>,
    ) {
        if reset_first {
            self.step = Step::Rset;
            self.commands.put_slice(b"RSET\r\n");
        }
        self.commands.put_slice(mail);
        for recipient in recipients {
            write_rcpt(&mut self.commands, recipient, offered);
        }
        self.commands.put_slice(b"DATA\r\n");
        self.pipelined = offered.pipelining;
        if self.pipelined {
            wire.write(self.commands.split());
        } else {
            self.release(wire);
        }
    }

    /// The next command in lock-step.
    fn release(&mut self, wire: &mut Wire<'_>) {
        let end = memchr::memchr(b'\n', &self.commands).map_or(0, |lf| lf + 1);
        wire.write(self.commands.split_to(end));
    }

    /// Tops up an empty output once DATA has been accepted. True where there was more.
    pub(super) fn fill(&mut self, output: &mut BytesMut, limit: usize) -> bool {
        let is_due = matches!(self.step, Step::Final(_)) && output.is_empty();
        if is_due {
            self.body.fill(output, limit);
        }
        is_due && !output.is_empty()
    }

    /// DATA has been accepted, and no more of the content is here to be written.
    pub(super) fn wants_content(&self, output: &BytesMut) -> bool {
        matches!(self.step, Step::Final(_)) && output.is_empty() && self.body.is_hungry()
    }

    pub(super) fn feed(&mut self, piece: Bytes) {
        self.body.feed(piece);
    }

    /// The final dot has been written: the mail may have been taken whatever we hear.
    pub(super) fn is_in_doubt(&self, output: &BytesMut) -> bool {
        matches!(self.step, Step::Final(_)) && self.body.has_ended() && output.is_empty()
    }

    pub(super) fn wait(&self, output: &BytesMut) -> Wait {
        match self.step {
            Step::Rset => Wait::Rset,
            Step::Mail => Wait::Mail,
            Step::Rcpt(_) => Wait::Rcpt,
            Step::Data => Wait::Data,
            Step::Final(_) if !self.is_in_doubt(output) => Wait::DataTaken,
            Step::Final(_) | Step::LoneDot => Wait::EndOfData,
        }
    }

    /// What is undecided is deferred for this reason.
    pub(super) fn finish(self, why: Option<&Failure>) -> Vec<Outcome> {
        let undecided = || Outcome::Deferred(why.cloned().unwrap_or_else(silence));
        self.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(undecided)).collect()
    }

    pub(super) fn on_reply(&mut self, reply: Reply, wire: &mut Wire<'_>) -> Progress {
        if reply.is_intermediate() && self.step != Step::Data {
            return Progress::Broken(unexpected(&reply, self.wait(wire.output), wire.hop));
        }
        match self.step {
            Step::Rset if !reply.is_positive() => {
                Progress::Broken(unexpected(&reply, self.wait(wire.output), wire.hop))
            }
            Step::Rset => self.advance(Step::Mail, wire),
            Step::Mail if !reply.is_positive() => {
                self.mail_refused = true;
                self.settle(&self.named.clone(), &reply, wire.hop);
                if self.pipelined { self.advance(self.rcpt(0), wire) } else { Progress::Done { open: false } }
            }
            Step::Mail => self.advance(self.rcpt(0), wire),
            Step::Rcpt(nth) => self.on_rcpt(nth, reply, wire),
            Step::Data => self.on_data(reply, wire),
            Step::Final(nth) => self.on_final(nth, reply, wire),
            Step::LoneDot => Progress::Done { open: false },
        }
    }

    fn rcpt(&self, nth: usize) -> Step {
        if nth < self.named.len() { Step::Rcpt(nth) } else { Step::Data }
    }

    fn advance(&mut self, step: Step, wire: &mut Wire<'_>) -> Progress {
        self.step = step;
        if !self.pipelined {
            self.release(wire);
        }
        Progress::Waiting
    }

    fn on_rcpt(&mut self, nth: usize, reply: Reply, wire: &mut Wire<'_>) -> Progress {
        if let Some(recipient) = self.named.get(nth).copied().filter(|_| !self.mail_refused) {
            if reply.is_positive() {
                self.accepted.push(recipient);
            } else {
                let outcome =
                    if is_too_many(&reply) { put_off(&reply, wire.hop) } else { outcome_of(&reply, wire.hop) };
                self.decide(recipient, outcome);
            }
        }
        let next = self.rcpt(nth + 1);
        if next == Step::Data && self.accepted.is_empty() && !self.pipelined {
            return Progress::Done { open: true };
        }
        self.advance(next, wire)
    }

    fn on_data(&mut self, reply: Reply, wire: &mut Wire<'_>) -> Progress {
        if reply.is_positive() {
            return Progress::Broken(unexpected(&reply, self.wait(wire.output), wire.hop));
        }
        if !reply.is_intermediate() {
            self.settle(&self.accepted.clone(), &reply, wire.hop);
            return Progress::Done { open: !self.mail_refused };
        }
        if !self.accepted.is_empty() {
            wire.transcript.data(self.size);
            self.step = Step::Final(0);
            return Progress::Waiting;
        }
        match self.protocol {
            // RFC 2920 §3.1: nothing but a dot, and whatever is answered is a failure.
            Protocol::Smtp => {
                wire.output.put_slice(b".\r\n");
                self.step = Step::LoneDot;
                Progress::Waiting
            }
            // No recipient, no reply to wait for (RFC 2033 §4.2).
            Protocol::Lmtp => Progress::Broken(unexpected(&reply, self.wait(wire.output), wire.hop)),
        }
    }

    fn on_final(&mut self, nth: usize, reply: Reply, wire: &mut Wire<'_>) -> Progress {
        if !self.is_in_doubt(wire.output) {
            // Nobody can have taken what is not there yet. The rest of the data would now be commands.
            let early = unexpected(&reply, Wait::DataTaken, wire.hop);
            if !reply.is_positive() {
                self.settle(&self.accepted.clone(), &reply, wire.hop);
            }
            return Progress::Broken(early);
        }
        let (answered, last) = match self.protocol {
            Protocol::Smtp => (self.accepted.clone(), true),
            Protocol::Lmtp => (self.accepted.get(nth).copied().into_iter().collect(), nth + 1 == self.accepted.len()),
        };
        self.settle(&answered, &reply, wire.hop);
        self.step = Step::Final(nth + 1);
        if last { Progress::Done { open: false } } else { Progress::Waiting }
    }

    fn settle(&mut self, recipients: &[usize], reply: &Reply, hop: Option<&NextHop>) {
        for recipient in recipients {
            self.decide(*recipient, outcome_of(reply, hop));
        }
    }

    fn decide(&mut self, recipient: usize, outcome: Outcome) {
        if let Some(place) = self.outcomes.get_mut(recipient) {
            *place = Some(outcome);
        }
    }
}

/// MAIL with the parameters that the next hop understands.
pub(super) fn mail_command(envelope: &Envelope, content: &Outline, smtputf8: bool, offered: &Capabilities) -> Vec<u8> {
    let mut line = Vec::with_capacity(128);
    line.put_slice(b"MAIL FROM:<");
    line.put_slice(envelope.sender.as_str().as_bytes());
    line.put_u8(b'>');
    if offered.size.is_some() {
        line.put_slice(format!(" SIZE={}", content.len).as_bytes());
    }
    if offered.eight_bit_mime && (envelope.body == BodyKind::EightBitMime || content.is_8bit) {
        line.put_slice(b" BODY=8BITMIME");
    }
    if smtputf8 {
        line.put_slice(b" SMTPUTF8");
    }
    if envelope.require_tls {
        line.put_slice(b" REQUIRETLS");
    }
    if offered.dsn {
        match envelope.ret {
            Some(Ret::Full) => line.put_slice(b" RET=FULL"),
            Some(Ret::Headers) => line.put_slice(b" RET=HDRS"),
            None => {}
        }
        if let Some(envid) = envelope.envid.as_deref().filter(|id| is_xtext(id)) {
            line.put_slice(b" ENVID=");
            line.put_slice(envid.as_bytes());
        }
    }
    line.put_slice(b"\r\n");
    line
}

fn write_rcpt(line: &mut BytesMut, recipient: &Recipient, offered: &Capabilities) {
    line.put_slice(b"RCPT TO:<");
    line.put_slice(recipient.address.as_str().as_bytes());
    line.put_u8(b'>');
    if offered.dsn {
        if let Some(notify) = recipient.notify {
            line.put_slice(b" NOTIFY=");
            line.put_slice(notify.to_param().as_bytes());
        }
        if let Some(orcpt) = recipient.orcpt.as_deref().filter(|text| is_xtext(text)) {
            line.put_slice(b" ORCPT=");
            line.put_slice(orcpt.as_bytes());
        }
    }
    line.put_slice(b"\r\n");
}

/// RFC 5321 §4.5.3.1.10: 552 to RCPT once meant "too many", which a later attempt cures. Where an
/// enhanced code says otherwise, that is believed.
fn is_too_many(reply: &Reply) -> bool {
    reply.code == 552 && reply.enhanced.is_none_or(|code| (code.subject, code.detail) == (5, 3))
}

fn outcome_of(reply: &Reply, hop: Option<&NextHop>) -> Outcome {
    match reply.code / 100 {
        2 => Outcome::Delivered(bounded(reply.clone())),
        5 => Outcome::Failed(failure(FailureKind::PermFail, "the next hop refused", reply, hop)),
        _ => put_off(reply, hop),
    }
}

fn put_off(reply: &Reply, hop: Option<&NextHop>) -> Outcome {
    Outcome::Deferred(failure(FailureKind::TempFail, "the next hop put off", reply, hop))
}

fn failure(kind: FailureKind, detail: impl Into<String>, reply: &Reply, hop: Option<&NextHop>) -> Failure {
    Failure { reply: Some(bounded(reply.clone())), ..Failure::new(kind, hop, detail) }
}

fn unexpected(reply: &Reply, wait: Wait, hop: Option<&NextHop>) -> Failure {
    failure(FailureKind::Protocol, format!("unexpected reply while waiting for {wait}"), reply, hop)
}

fn silence() -> Failure {
    Failure::new(FailureKind::Protocol, None, "the next hop said nothing about this recipient")
}

/// A reply is kept in the journal, perhaps for a thousand recipients: 2,000 octets are plenty.
pub(super) fn bounded(mut reply: Reply) -> Reply {
    const MAX_TEXT: usize = 2000;
    if reply.text.len() > MAX_TEXT {
        let end = reply.text.floor_char_boundary(MAX_TEXT);
        reply.text = reply.text.get(..end).unwrap_or_default().to_owned().into();
    }
    reply
}
