//! A plain blocking SMTP client that shows every reply.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

pub struct Client {
    input: BufReader<TcpStream>,
}

impl Client {
    /// Connected and greeted.
    pub fn connect(address: SocketAddr) -> Self {
        let mut client = Self::open(address);
        assert!(client.reply().expect("a greeting").starts_with("220 "));
        client.command("EHLO client.test");
        client
    }

    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("connected")
    }

    pub fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    fn over(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_nodelay(true)?;
        Ok(Self { input: BufReader::new(stream) })
    }

    /// From this address of this machine: all of 127.0.0.0/8 is.
    pub fn open_from(local: [u8; 4], address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((local, 0)).into()).expect("bound");
        socket.connect(&address.into()).expect("connected");
        Self::over(socket.into()).expect("set up")
    }

    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.input.get_mut().write_all(bytes)
    }

    /// The last line of the reply; none when the connection ends.
    pub fn reply(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.input.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Some(line.trim_end().to_owned());
            }
        }
    }

    pub fn stream(&self) -> &TcpStream {
        self.input.get_ref()
    }

    /// Whether something has come, or the connection has ended; doesn't wait.
    pub fn has_reply(&mut self) -> bool {
        self.input.get_mut().set_nonblocking(true).expect("set");
        let come = self.input.fill_buf().is_ok();
        self.input.get_mut().set_nonblocking(false).expect("set");
        come
    }

    /// The reply; empty when the connection ends.
    pub fn command(&mut self, line: &str) -> String {
        match self.send(format!("{line}\r\n").as_bytes()) {
            Ok(()) => self.reply().unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// A whole mail; the reply to the first command that is refused, else the last one.
    pub fn mail(&mut self, sender: &str, recipient: &str, content: &str) -> String {
        for line in [format!("MAIL FROM:<{sender}>"), format!("RCPT TO:<{recipient}>"), "DATA".to_owned()] {
            let reply = self.command(&line);
            if !reply.starts_with(['2', '3']) {
                self.command("RSET");
                return reply;
            }
        }
        self.command(&format!("{content}\r\n."))
    }
}

/// One mail over a connection of its own.
pub fn send(gateway: SocketAddr, sender: &str, recipient: &str, subject: &str) -> String {
    Client::connect(gateway).mail(sender, recipient, &format!("Subject: {subject}\r\n\r\nHello."))
}

/// As `send`, again while the answer is 4yz: a domain's next hop has to be probed first.
pub fn send_until_accepted(gateway: SocketAddr, sender: &str, recipient: &str, subject: &str) -> String {
    super::until("the gateway to accept the mail", || {
        let reply = send(gateway, sender, recipient, subject);
        (!reply.starts_with('4')).then_some(reply)
    })
}
