//! One dialogue file as a live session. The format is described beside the files.

use rustls::{ClientConnection, StreamOwned};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

enum Line {
    Client(Vec<u8>),
    ClientEof,
    Server(String),
    /// A reply of any number of lines.
    ServerReply(String),
    ServerCloses,
    ServerStartsTls,
}

pub struct Dialogue {
    pub name: String,
    /// As in the file: name and value.
    pub settings: Vec<(String, String)>,
    lines: Vec<Line>,
    /// `<sender> <recipient> ... | content`, escapes resolved.
    pub mails: Vec<Vec<u8>>,
}

impl Dialogue {
    pub fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut dialogue = Self { name, settings: vec![], lines: vec![], mails: vec![] };
        for line in std::fs::read_to_string(path).unwrap().lines().filter(|line| !line.is_empty()) {
            let rest = line.get(3..).unwrap_or_default();
            match line.get(..2).unwrap_or(line) {
                "C:" => dialogue.lines.push(Line::Client([unescape(rest), b"\r\n".to_vec()].concat())),
                "C." => dialogue.lines.push(Line::Client(unescape(rest))),
                "C!" if rest == "eof" => dialogue.lines.push(Line::ClientEof),
                "S:" => dialogue.lines.push(Line::Server(rest.to_owned())),
                "S*" => dialogue.lines.push(Line::ServerReply(rest.to_owned())),
                "S!" if rest == "close" => dialogue.lines.push(Line::ServerCloses),
                "S!" if rest == "tls" => dialogue.lines.push(Line::ServerStartsTls),
                "M:" => dialogue.mails.push(expected_mail(rest)),
                "@ " => {
                    let (name, value) = line[2..].split_once(" = ").unwrap_or((&line[2..], ""));
                    dialogue.settings.push((name.to_owned(), value.to_owned()));
                }
                comment if comment.starts_with('#') => {}
                _ => panic!("{}: what is this? {line}", dialogue.name),
            }
        }
        dialogue
    }

    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Successive lines of the client are one write.
    pub fn run(&self, address: SocketAddr, tls: &Arc<rustls::ClientConfig>) {
        let mut session = Session::open(&self.name, address);
        let mut group = Vec::new();
        for line in &self.lines {
            if let Line::Client(bytes) = line {
                group.extend_from_slice(bytes);
                continue;
            }
            session.write(&std::mem::take(&mut group));
            match line {
                Line::Client(_) => unreachable!("collected"),
                Line::ClientEof => session.wire.tcp().shutdown(Shutdown::Write).unwrap(),
                Line::Server(expected) => drop(session.expect(expected)),
                Line::ServerReply(code) => while session.expect(code).starts_with(&format!("{code}-")) {},
                Line::ServerCloses => session.expect_close(),
                Line::ServerStartsTls => session = session.with_tls(tls.clone()),
            }
        }
        assert!(group.is_empty(), "{}: ends with a line of the client", self.name);
    }
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(stream) => &stream.sock,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }
}

struct Session<'a> {
    name: &'a str,
    wire: Wire,
    said: Vec<u8>,
}

impl<'a> Session<'a> {
    fn open(name: &'a str, address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        tcp.set_nodelay(true).unwrap();
        Self { name, wire: Wire::Plain(tcp), said: Vec::new() }
    }

    fn with_tls(self, config: Arc<rustls::ClientConfig>) -> Self {
        assert!(self.said.is_empty(), "{}: said before the handshake: {}", self.name, self.shown());
        let Wire::Plain(tcp) = self.wire else { panic!("{}: TLS within TLS", self.name) };
        let client = ClientConnection::new(config, "mx.example.net".try_into().unwrap()).unwrap();
        Self { wire: Wire::Tls(Box::new(StreamOwned::new(client, tcp))), ..self }
    }

    /// The server may have closed already, as it should: the replies tell.
    fn write(&mut self, bytes: &[u8]) {
        let _ = self.wire.write_all(bytes);
    }

    /// False at the end.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.wire.read(&mut buffer) {
            Ok(count) => {
                self.said.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) => {
                let gone = [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe];
                assert!(gone.contains(&error.kind()), "{}: {error}", self.name);
                false
            }
        }
    }

    fn expect(&mut self, expected: &str) -> String {
        let end = loop {
            if let Some(end) = self.said.windows(2).position(|pair| pair == b"\r\n") {
                break end;
            }
            assert!(self.read(), "{}: closed, but expected {expected}", self.name);
        };
        let line: Vec<u8> = self.said.drain(..end + 2).take(end).collect();
        let line = String::from_utf8(line).unwrap();
        assert!(is_as_expected(expected, &line), "{}: expected {expected}\n said {line}", self.name);
        line
    }

    fn expect_close(&mut self) {
        while self.read() {}
        assert!(self.said.is_empty(), "{}: also said {}", self.name, self.shown());
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }
}

/// A reply with an enhanced code is known by its codes: the texts are the gateway's own. Otherwise `...`
/// stands for anything, and anything may follow.
fn is_as_expected(expected: &str, line: &str) -> bool {
    let codes = |text: &str| {
        let digits = |range| text.get(range).is_some_and(|part: &str| part.bytes().all(|b| b.is_ascii_digit()));
        (digits(0..3) && digits(4..5) && text.get(5..6) == Some("."))
            .then(|| text.split(' ').take(2).collect::<Vec<_>>().join(" "))
    };
    if let Some(codes) = codes(expected) {
        return line.strip_prefix(&codes).is_some_and(|rest| rest.starts_with(' '));
    }
    let mut parts = expected.split("...");
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

fn expected_mail(line: &str) -> Vec<u8> {
    let (envelope, content) = line.split_once(" | ").unwrap_or((line.trim_end_matches(" |"), ""));
    [format!("{envelope} | ").as_bytes(), &unescape(content)].concat()
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
                out.extend_from_slice(what.repeat(count.parse().unwrap()).as_bytes());
                rest = tail;
            }
            other => panic!("unknown escape \\{other}"),
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}
