//! One dialogue as a live session. The format is described beside the files.

use ::dialogue::{Dialogue, Line, is_as_expected, take_line};
use rustls::{ClientConnection, StreamOwned};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

/// Successive lines of the client are one write.
pub fn run(dialogue: &Dialogue, address: SocketAddr, tls: &Arc<rustls::ClientConfig>) {
    let name = &dialogue.name;
    let mut session = Session::open(name, address);
    let mut group = Vec::new();
    for line in &dialogue.lines {
        if let Line::Client(bytes) = line {
            group.extend_from_slice(bytes);
            continue;
        }
        session.write(&std::mem::take(&mut group));
        match line {
            Line::Client(_) => unreachable!("collected"),
            Line::ServerTurns => panic!("{name}: this server never turns"),
            Line::ClientEof => session.wire.tcp().shutdown(Shutdown::Write).unwrap(),
            Line::Server(expected) => drop(session.expect(expected)),
            Line::ServerReply(code) => while session.expect(code).starts_with(&format!("{code}-")) {},
            Line::ServerCloses => session.expect_close(),
            Line::ServerStartsTls => session = session.with_tls(tls.clone()),
        }
    }
    assert!(group.is_empty(), "{name}: ends with a line of the client");
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
        let line = loop {
            match take_line(&mut self.said) {
                Some(line) => break line,
                None => assert!(self.read(), "{}: closed, but expected {expected}", self.name),
            }
        };
        assert!(is_as_told(expected, &line), "{}: expected {expected}\n said {line}", self.name);
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

/// A reply with an enhanced code is known by its codes: the texts are the gateway's own.
fn is_as_told(expected: &str, line: &str) -> bool {
    let codes = |text: &str| {
        let digits = |range| text.get(range).is_some_and(|part: &str| part.bytes().all(|b| b.is_ascii_digit()));
        (digits(0..3) && digits(4..5) && text.get(5..6) == Some("."))
            .then(|| text.split(' ').take(2).collect::<Vec<_>>().join(" "))
    };
    match codes(expected) {
        Some(codes) => line.strip_prefix(&codes).is_some_and(|rest| rest.starts_with(' ')),
        None => is_as_expected(expected, line),
    }
}
