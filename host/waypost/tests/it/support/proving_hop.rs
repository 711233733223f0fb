//! A next hop with STARTTLS and a key of the test's own making, which writes down every line that it hears.

use super::next_hop::free_address;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use sha2::{Digest, Sha256};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// A key, and the chain that goes with it.
pub struct Server {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

/// Signs certificates of servers.
pub struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub fn server(&self, name: &str) -> Server {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let own = params.signed_by(&key, &self.issuer).unwrap();
        Server { chain: vec![own.der().clone(), self.certificate.der().clone()], key }
    }
}

impl Server {
    pub fn self_signed() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["self-signed.test".to_owned()]).unwrap();
        Self { chain: vec![params.self_signed(&key).unwrap().der().clone()], key }
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.key.subject_public_key_info()).into()
    }

    pub fn pin(&self) -> String {
        format!("sha256:{}", STANDARD.encode(self.hash()))
    }

    /// The data of a TLSA record 3 1 1.
    pub fn tlsa(&self) -> String {
        self.hash().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), key)
            .unwrap();
        Arc::new(config)
    }
}

/// How it secures a connection.
#[derive(Clone)]
enum Security {
    None,
    /// STARTTLS is offered, and the handshake breaks.
    Broken,
    Tls(Arc<ServerConfig>),
}

pub struct ProvingHop {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl ProvingHop {
    pub fn start(server: &Server) -> Self {
        Self::start_at(free_address(), server)
    }

    pub fn start_at(address: SocketAddr, server: &Server) -> Self {
        Self::run(address, Security::Tls(server.config()), "")
    }

    /// Offers this keyword too.
    pub fn start_offering(server: &Server, keyword: &'static str) -> Self {
        Self::run(free_address(), Security::Tls(server.config()), keyword)
    }

    pub fn without_tls(address: SocketAddr) -> Self {
        Self::run(address, Security::None, "")
    }

    pub fn with_broken_tls(address: SocketAddr) -> Self {
        Self::run(address, Security::Broken, "")
    }

    fn run(address: SocketAddr, security: Security, keyword: &'static str) -> Self {
        let socket = TcpListener::bind(address).expect("the port is free");
        let (heard, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let accepting = std::thread::spawn({
            let (heard, connections, stop) = (heard.clone(), connections.clone(), stop.clone());
            move || {
                for tcp in socket.incoming().flatten() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let clone = || tcp.try_clone().expect("cloned");
                    connections.lock().unwrap().push(clone());
                    let (heard, security, closing) = (heard.clone(), security.clone(), clone());
                    // The peer's going away ends the thread. What is kept above would keep the connection open.
                    std::thread::spawn(move || {
                        let _ = serve(tcp, &security, keyword, &heard);
                        let _ = closing.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { address, heard, connections, stop, accepting: Some(accepting) }
    }

    /// Every line so far, whichever connection it came by.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    pub fn has_heard(&self, start: &str) -> bool {
        self.heard().iter().any(|line| line.starts_with(start))
    }

    /// Mails that it has taken.
    pub fn mails(&self) -> usize {
        self.heard().iter().filter(|line| *line == ".").count()
    }

    /// Not one word about a mail.
    #[track_caller]
    pub fn assert_told_nothing(&self) {
        let heard = self.heard();
        let harmless = |line: &String| ["EHLO ", "STARTTLS", "QUIT"].iter().any(|verb| line.starts_with(verb));
        assert!(heard.iter().all(harmless), "a stranger was told: {heard:?}");
    }
}

impl Drop for ProvingHop {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Wire {
    /// Without its end; none when the connection ends.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            let read = match self {
                Self::Plain(tcp) => tcp.read(&mut byte)?,
                Self::Tls(tls) => tls.read(&mut byte)?,
            };
            match byte {
                _ if read == 0 => return Ok(None),
                [b'\n'] => return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned())),
                [other] => line.push(other),
            }
        }
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.write_all(text.as_bytes()),
            Self::Tls(tls) => tls.write_all(text.as_bytes()).and_then(|()| tls.flush()),
        }
    }
}

fn serve(tcp: TcpStream, security: &Security, keyword: &str, heard: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut wire = Wire::Plain(tcp);
    wire.say("220 proving.test ESMTP\r\n")?;
    let mut in_data = false;
    while let Some(line) = wire.line()? {
        heard.lock().unwrap().push(line.clone());
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_owned();
        match verb.as_str() {
            "." if in_data => {
                in_data = false;
                wire.say("250 2.0.0 taken\r\n")?;
            }
            _ if in_data => {}
            "EHLO" => {
                let offer = match (&wire, security) {
                    (Wire::Plain(_), Security::None) | (Wire::Tls(_), _) => "8BITMIME",
                    (Wire::Plain(_), _) => "STARTTLS",
                };
                let more = if keyword.is_empty() { String::new() } else { format!("250-{keyword}\r\n") };
                wire.say(&format!("250-proving.test\r\n{more}250 {offer}\r\n"))?;
            }
            "STARTTLS" => {
                wire.say("220 2.0.0 go\r\n")?;
                let (Wire::Plain(tcp), Security::Tls(config)) = (wire, security) else { return Ok(()) };
                let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
                wire = Wire::Tls(Box::new(StreamOwned::new(connection, tcp)));
            }
            "DATA" => {
                in_data = true;
                wire.say("354 go on\r\n")?;
            }
            "QUIT" => return wire.say("221 2.0.0 bye\r\n"),
            _ => wire.say("250 2.0.0 ok\r\n")?,
        }
    }
    Ok(())
}
