//! A next hop that fails by script, always at the same step, until it is healed. Plain blocking Rust.

use super::next_hop::free_address;
use std::{
    io::{BufRead, BufReader, Error, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// What it is about to answer when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Greeting,
    Ehlo,
    /// STARTTLS is offered.
    StartTls,
    /// STARTTLS is offered and answered 220.
    Handshake,
    Mail,
    Rcpt,
    Data,
    /// While it reads the data.
    Content,
    /// The data is here, final dot included.
    Dot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// In place of its reply; then it goes on as if nothing had been.
    Say(&'static str),
    /// The same, and the end of the connection.
    SayAndClose(&'static str),
    Silence,
    Reset,
    Close,
    /// The right reply, or the reading of the data, a byte at a time.
    Trickle,
    /// Again and again.
    Flood(&'static str),
    /// `no@` is refused and `later@` put off: with LMTP after the dot, else at RCPT.
    ByRecipient,
    /// Nothing listens.
    Refuse,
}

#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub step: Step,
    pub act: Act,
    pub lmtp: bool,
}

pub struct FaultyHop {
    pub address: SocketAddr,
    state: Arc<State>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    fault: Fault,
    healed: AtomicBool,
    stop: AtomicBool,
    /// Mails that it has in full and has not refused, by recipient.
    taken: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
}

/// Between two bytes.
const TRICKLE: Duration = Duration::from_millis(500);

impl FaultyHop {
    pub fn start(fault: Fault) -> Self {
        let hop = Self {
            address: free_address(),
            state: Arc::new(State {
                fault,
                healed: AtomicBool::new(false),
                stop: AtomicBool::new(false),
                taken: AtomicUsize::new(0),
                connections: Mutex::default(),
            }),
            accepting: Mutex::default(),
        };
        if fault.act != Act::Refuse {
            hop.listen();
        }
        hop
    }

    /// Answers as it should from now on.
    pub fn heal(&self) {
        self.state.healed.store(true, Ordering::SeqCst);
        self.state.cut();
        if self.state.fault.act == Act::Refuse {
            self.listen();
        }
    }

    /// Recipients whose mail it has.
    pub fn taken(&self) -> usize {
        self.state.taken.load(Ordering::SeqCst)
    }

    pub fn fails_after_the_dot(&self) -> bool {
        self.state.fault.step == Step::Dot
    }

    fn listen(&self) {
        let socket = TcpListener::bind(self.address).expect("the port is free");
        let state = self.state.clone();
        let accepting = thread::spawn(move || {
            for stream in socket.incoming() {
                if state.stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                state.connections.lock().expect("lock").push(stream.try_clone().expect("cloned"));
                let state = state.clone();
                thread::spawn(move || {
                    let served = Session { state: &state, input: BufReader::new(&stream), output: &stream }.serve();
                    // A shutdown would be a FIN.
                    if served.is_ok() || state.fault.act != Act::Reset {
                        let _ = stream.shutdown(Shutdown::Both);
                    }
                });
            }
        });
        *self.accepting.lock().expect("lock") = Some(accepting);
    }
}

impl Drop for FaultyHop {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.lock().expect("lock").take() {
            let _ = accepting.join();
        }
        self.state.cut();
    }
}

impl State {
    fn cut(&self) {
        for stream in self.connections.lock().expect("lock").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The last one to hold a connection closes it.
    fn forget(&self, stream: &TcpStream) -> std::io::Result<()> {
        let peer = stream.peer_addr()?;
        self.connections.lock().expect("lock").retain(|known| known.peer_addr().ok() != Some(peer));
        Ok(())
    }

    fn fails(&self, step: Step) -> Option<Act> {
        (self.fault.step == step && !self.healed.load(Ordering::SeqCst)).then_some(self.fault.act)
    }
}

struct Session<'a> {
    state: &'a State,
    input: BufReader<&'a TcpStream>,
    output: &'a TcpStream,
}

impl Session<'_> {
    fn serve(&mut self) -> std::io::Result<()> {
        self.answer(Step::Greeting, "220 faulty.test ESMTP\r\n")?;
        let mut recipients: Vec<String> = Vec::new();
        loop {
            let mut line = String::new();
            if self.input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.to_ascii_uppercase();
            match line.split([' ', '\r']).next().unwrap_or_default() {
                "EHLO" | "LHLO" => self.answer(Step::Ehlo, self.offers())?,
                "STARTTLS" => self.start_tls()?,
                "MAIL" => self.answer(Step::Mail, "250 2.1.0 ok\r\n")?,
                "RCPT" if !self.state.fault.lmtp && self.verdict(&line).is_some() => {
                    self.output.write_all(self.verdict(&line).unwrap_or_default().as_bytes())?;
                }
                "RCPT" => {
                    recipients.push(line.clone());
                    self.answer(Step::Rcpt, "250 2.1.5 ok\r\n")?;
                }
                "DATA" => {
                    self.answer(Step::Data, "354 go on\r\n")?;
                    self.content()?;
                    self.taken(&std::mem::take(&mut recipients))?;
                }
                "QUIT" => return self.output.write_all(b"221 2.0.0 bye\r\n"),
                _ => {
                    recipients.clear();
                    self.output.write_all(b"250 2.0.0 ok\r\n")?;
                }
            }
        }
    }

    fn offers(&self) -> &'static str {
        let starts_tls = [Step::StartTls, Step::Handshake].iter().any(|step| self.state.fails(*step).is_some());
        if starts_tls { "250-faulty.test\r\n250 STARTTLS\r\n" } else { "250-faulty.test\r\n250 8BITMIME\r\n" }
    }

    /// Not for long: its handshake always fails.
    fn start_tls(&mut self) -> std::io::Result<()> {
        self.answer(Step::StartTls, "220 go on\r\n")?;
        if self.state.fails(Step::Handshake).is_some() {
            let mut hello = [0; 5];
            self.input.read_exact(&mut hello)?;
            self.answer(Step::Handshake, "")?;
            return Err(ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Unlike the others' for this recipient.
    fn verdict(&self, rcpt: &str) -> Option<&'static str> {
        let by_recipient = [Step::Rcpt, Step::Dot].iter().any(|step| self.state.fails(*step) == Some(Act::ByRecipient));
        match rcpt {
            _ if !by_recipient => None,
            rcpt if rcpt.contains("<NO@") => Some("550 5.1.1 nobody here\r\n"),
            rcpt if rcpt.contains("<LATER@") => Some("452 4.2.2 mailbox full\r\n"),
            _ => None,
        }
    }

    fn content(&mut self) -> std::io::Result<()> {
        let slow = self.state.fails(Step::Content) == Some(Act::Trickle);
        if slow {
            let mut byte = [0];
            while self.output.read(&mut byte)? > 0 {
                thread::park_timeout(TRICKLE);
            }
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut line = Vec::new();
        while line != b".\r\n" {
            line.clear();
            if self.input.read_until(b'\n', &mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// As a mail server does: first it has the mail, then it says so.
    fn taken(&mut self, recipients: &[String]) -> std::io::Result<()> {
        let refuses = matches!(self.state.fails(Step::Dot), Some(Act::Say(said) | Act::SayAndClose(said)) if said.starts_with(['4', '5']));
        let lmtp = self.state.fault.lmtp;
        let takers = recipients.iter().filter(|rcpt| !refuses && self.verdict(rcpt).is_none()).count();
        self.state.taken.fetch_add(takers, Ordering::SeqCst);
        for nth in recipients.iter().take(if lmtp { recipients.len() } else { 1 }) {
            match self.verdict(nth) {
                Some(said) => self.output.write_all(said.as_bytes())?,
                None => self.answer(Step::Dot, "250 2.0.0 taken\r\n")?,
            }
        }
        Ok(())
    }

    fn answer(&mut self, step: Step, right: &str) -> std::io::Result<()> {
        let end = || Err(Error::from(ErrorKind::ConnectionAborted));
        match self.state.fails(step) {
            None | Some(Act::ByRecipient | Act::Refuse) => self.output.write_all(right.as_bytes()),
            Some(Act::Say(said)) => self.output.write_all(said.as_bytes()),
            Some(Act::SayAndClose(said)) => self.output.write_all(said.as_bytes()).and_then(|()| end()),
            Some(Act::Close) => end(),
            Some(Act::Reset) => {
                // With data unread or a linger of zero the kernel says RST and not FIN.
                socket2::SockRef::from(self.output).set_linger(Some(Duration::ZERO))?;
                self.state.forget(self.output)?;
                Err(ErrorKind::ConnectionReset.into())
            }
            Some(Act::Silence) => std::io::copy(&mut self.input, &mut std::io::sink()).and_then(|_| end()),
            Some(Act::Trickle) => right.bytes().try_for_each(|byte| {
                self.output.write_all(&[byte])?;
                thread::park_timeout(TRICKLE);
                Ok(())
            }),
            Some(Act::Flood(said)) => loop {
                self.output.write_all(said.as_bytes())?;
            },
        }
    }
}
