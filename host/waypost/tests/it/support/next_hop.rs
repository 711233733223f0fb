//! A next hop that records what it gets, in plain blocking Rust: none of the gateway's own SMTP code.

use super::until;
use std::{
    io::{BufRead, BufReader, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread::JoinHandle,
};

#[derive(Clone, Debug)]
pub struct Recorded {
    /// As in MAIL, parameters included.
    pub mail: String,
    pub recipients: Vec<String>,
    /// As in RCPT, parameters included.
    pub rcpts: Vec<String>,
    /// Dots unstuffed.
    pub content: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// Keywords behind the greeting of EHLO.
    pub offers: Vec<String>,
    /// Replies to a verb in place of 250, by the start of the command line; `""` closes the connection.
    pub replies: Vec<(String, String)>,
    /// Reply to the final dot.
    pub after_dot: Option<String>,
    /// Take the mail, then close without a reply.
    pub vanish_after_dot: bool,
    /// Accept the connection and say nothing.
    pub silent: bool,
    /// LHLO in place of EHLO, and behind the final dot a reply for each recipient (RFC 2033).
    pub lmtp: bool,
    /// With LMTP: replies behind the dot for recipients that are not to be delivered.
    pub after_dot_for: Vec<(String, String)>,
}

impl Behaviour {
    fn special(&self, line: &str) -> Option<&str> {
        let line = line.to_ascii_uppercase();
        self.replies.iter().find(|(start, _)| line.starts_with(start)).map(|(_, reply)| reply.as_str())
    }
}

pub struct NextHop {
    pub address: SocketAddr,
    pub mails: Arc<Mutex<Vec<Recorded>>>,
    pub connections: Arc<Mutex<Vec<TcpStream>>>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// A port that nobody has, for a next hop that comes up later: outside the range from which the
/// kernel gives ports to clients, and no two tests get the same.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = (std::process::id() * 101 % 11_000) as u16;
    until("a free port", || {
        let port = 20_000 + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 11_000;
        TcpListener::bind(("127.0.0.1", port)).and_then(|socket| socket.local_addr()).ok()
    })
}

impl NextHop {
    pub fn start() -> Self {
        Self::start_at(free_address(), Behaviour::default())
    }

    pub fn start_with(behaviour: Behaviour) -> Self {
        Self::start_at(free_address(), behaviour)
    }

    pub fn start_at(address: SocketAddr, mut behaviour: Behaviour) -> Self {
        if behaviour.offers.is_empty() {
            behaviour.offers =
                ["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN"].map(String::from).into();
        }
        let socket = TcpListener::bind(address).expect("the port is free");
        let (mails, connections, stop) =
            (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let accepting = {
            let (mails, connections, stop) = (mails.clone(), connections.clone(), stop.clone());
            std::thread::spawn(move || {
                for stream in socket.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    connections.lock().expect("lock").push(stream.try_clone().expect("cloned"));
                    let (mails, behaviour) = (mails.clone(), behaviour.clone());
                    std::thread::spawn(move || {
                        // The peer's going away ends the thread.
                        let _ = serve(&stream, &behaviour, &mails);
                        let _ = stream.shutdown(Shutdown::Both);
                    });
                }
            })
        };
        Self { address, mails, connections, stop, accepting: Some(accepting) }
    }

    pub fn count(&self) -> usize {
        self.mails.lock().expect("lock").len()
    }

    pub fn mails(&self) -> Vec<Recorded> {
        self.mails.lock().expect("lock").clone()
    }

    /// Waits until so many have come.
    pub fn wait(&self, count: usize) -> Vec<Recorded> {
        until(&format!("{count} mails at the next hop"), || (self.count() >= count).then(|| self.mails()))
    }

    /// Stops listening and cuts every connection; the port is free afterwards.
    pub fn stop(mut self) -> Vec<Recorded> {
        self.halt();
        self.mails()
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in self.connections.lock().expect("lock").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for NextHop {
    fn drop(&mut self) {
        self.halt();
    }
}

fn serve(stream: &TcpStream, behaviour: &Behaviour, mails: &Mutex<Vec<Recorded>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream);
    let mut output = stream;
    if behaviour.silent {
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line)? > 0 {}
        return Ok(());
    }
    match behaviour.special("CONNECT") {
        Some("") => return Ok(()),
        Some(reply) => write!(output, "{reply}\r\n")?,
        None => output.write_all(b"220 next-hop.test ESMTP\r\n")?,
    }
    dialogue(&mut input, output, behaviour, mails)
}

fn dialogue(
    input: &mut impl BufRead,
    mut output: &TcpStream,
    behaviour: &Behaviour,
    mails: &Mutex<Vec<Recorded>>,
) -> std::io::Result<()> {
    let mut transaction: Option<(String, Vec<String>)> = None;
    let mut rcpts = Vec::new();
    loop {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        assert!(line.ends_with(b"\r\n"), "a bare LF at the next hop: {}", String::from_utf8_lossy(&line));
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        match behaviour.special(&line) {
            Some("") => return Ok(()),
            Some(reply) => {
                write!(output, "{reply}\r\n")?;
                continue;
            }
            None => {}
        }
        match (verb.as_str(), &mut transaction) {
            ("EHLO" | "HELO", _) if behaviour.lmtp => output.write_all(b"500 5.5.1 this is LMTP\r\n")?,
            ("LHLO", _) if !behaviour.lmtp => output.write_all(b"500 5.5.1 this is SMTP\r\n")?,
            ("EHLO" | "LHLO", _) => output.write_all(offers(behaviour).as_bytes())?,
            ("MAIL", _) => {
                transaction = Some((line.clone(), Vec::new()));
                rcpts.clear();
                output.write_all(b"250 2.1.0 ok\r\n")?;
            }
            ("RCPT", Some((_, recipients))) => {
                recipients.push(address(&line));
                rcpts.push(line.clone());
                output.write_all(b"250 2.1.5 ok\r\n")?;
            }
            ("DATA", Some((mail, recipients))) if !recipients.is_empty() => {
                output.write_all(b"354 go on\r\n")?;
                let content = data(input)?;
                let recorded =
                    Recorded { mail: mail.clone(), recipients: recipients.clone(), rcpts: rcpts.clone(), content };
                transaction = None;
                let replies = verdict(behaviour, &recorded, mails);
                if behaviour.vanish_after_dot {
                    return Ok(());
                }
                output.write_all(replies.as_bytes())?;
            }
            ("RCPT" | "DATA", _) => output.write_all(b"503 5.5.1 out of order\r\n")?,
            ("RSET", _) => {
                transaction = None;
                output.write_all(b"250 2.0.0 ok\r\n")?;
            }
            ("QUIT", _) => {
                output.write_all(b"221 2.0.0 bye\r\n")?;
                return Ok(());
            }
            _ => output.write_all(b"250 2.0.0 ok\r\n")?,
        }
    }
}

fn offers(behaviour: &Behaviour) -> String {
    let mut text = "250-next-hop.test\r\n".to_owned();
    for (i, offer) in behaviour.offers.iter().enumerate() {
        text += &format!("250{}{offer}\r\n", if i + 1 == behaviour.offers.len() { ' ' } else { '-' });
    }
    text
}

/// Records the mail for those that take it; the reply, or the replies.
fn verdict(behaviour: &Behaviour, mail: &Recorded, mails: &Mutex<Vec<Recorded>>) -> String {
    let refusal =
        |recipient: &str| behaviour.after_dot_for.iter().find(|(who, _)| who == recipient).map(|(_, reply)| reply);
    let takers: Vec<String> = mail.recipients.iter().filter(|who| refusal(who).is_none()).cloned().collect();
    if !takers.is_empty() {
        mails.lock().expect("lock").push(Recorded { recipients: takers, ..mail.clone() });
    }
    let general = behaviour.after_dot.as_deref().unwrap_or("250 2.0.0 taken");
    if !behaviour.lmtp {
        return format!("{general}\r\n");
    }
    mail.recipients.iter().map(|who| format!("{}\r\n", refusal(who).map_or(general, String::as_str))).collect()
}

fn address(line: &str) -> String {
    let start = line.find('<').map_or(0, |at| at + 1);
    let end = line.rfind('>').unwrap_or(line.len());
    line[start..end].to_owned()
}

fn data(input: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let start = content.len();
        if input.read_until(b'\n', &mut content)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = &content[start..];
        assert!(line.ends_with(b"\r\n"), "a bare LF in the data");
        assert_eq!(line.iter().filter(|b| **b == b'\r').count(), 1, "a bare CR in the data");
        if line == b".\r\n" {
            content.truncate(start);
            return Ok(content);
        }
        if line.starts_with(b".") {
            content.remove(start);
        }
    }
}

impl Recorded {
    /// Without the fields that the gateway put on top: everything above `marker`, which must begin a line.
    pub fn below_marker(&self, marker: &str) -> Option<&[u8]> {
        let at = self.content.windows(marker.len()).position(|window| window == marker.as_bytes())?;
        (at == 0 || self.content[at - 1] == b'\n').then(|| &self.content[at..])
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}
