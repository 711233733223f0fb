//! A next hop for trying things: accepts everything, shows what it gets.

use bytes::{Bytes, BytesMut};
use gateway::{ClientPatience, MailFacts, Receiver, ReceivingConnection, Stream};
use mail::{Mailbox, Recipient, Reply};
use smtp::{Server, ServerConfig};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

/// One mail as it arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub sender: String,
    pub recipients: Vec<Mailbox>,
    pub content: Bytes,
}

pub struct Sink {
    socket: TcpListener,
    hostname: mail::Domain,
}

impl Sink {
    pub async fn bind(address: SocketAddr, hostname: mail::Domain) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await?, hostname })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends on each mail before it is answered; ends when nobody takes them any more, or when told.
    pub async fn run(self, arrived: mpsc::Sender<Arrived>, stop: CancellationToken) -> io::Result<()> {
        let protocol = Arc::new(ServerConfig { max_message_size: 1 << 30, ..ServerConfig::new(self.hostname.clone()) });
        loop {
            let (tcp, _) = tokio::select! {
                accepted = self.socket.accept() => accepted?,
                () = stop.cancelled() => return Ok(()),
            };
            tcp.set_nodelay(true)?;
            let receiver = Taker { arrived: arrived.clone(), mail: None };
            let connection = ReceivingConnection {
                stream: Stream::Plain(tcp),
                server: Server::new(protocol.clone(), false),
                receiver,
                tls: None,
                patience: ClientPatience::default(),
                shutdown: stop.clone(),
            };
            // A client that goes away is its own affair.
            tokio::spawn(Box::new(connection).serve());
        }
    }
}

struct Taker {
    arrived: mpsc::Sender<Arrived>,
    mail: Option<(String, Vec<Mailbox>, BytesMut)>,
}

const GONE: Reply = Reply::fixed(451, (4, 3, 0), "The sink has ended");
const NOT_OFFERED: Reply = Reply::fixed(502, (5, 5, 1), "Command not implemented");

impl Receiver for Taker {
    fn hello(&mut self, _: String) {
        self.mail = None;
    }
    fn tls(&mut self, _: Option<String>) {
        self.mail = None;
    }
    fn mail(&mut self, facts: MailFacts) -> Reply {
        self.mail = Some((facts.sender.to_string(), Vec::new(), BytesMut::new()));
        Reply::fixed(250, (2, 1, 0), "Sender ok")
    }
    async fn recipient(&mut self, recipient: Recipient) -> Reply {
        if let Some((_, recipients, _)) = &mut self.mail {
            recipients.push(recipient.address);
        }
        Reply::fixed(250, (2, 1, 5), "Recipient ok")
    }
    fn data_start(&mut self) -> Reply {
        Reply::fixed(354, (2, 0, 0), "Go on")
    }
    async fn body(&mut self, bytes: Bytes) {
        if let Some((_, _, content)) = &mut self.mail {
            content.extend_from_slice(&bytes);
        }
    }
    async fn end_of_message(&mut self) -> Reply {
        let Some((sender, recipients, content)) = self.mail.take() else { return GONE };
        match self.arrived.send(Arrived { sender, recipients, content: content.freeze() }).await {
            Ok(()) => Reply::fixed(250, (2, 0, 0), "Ok: taken by the sink"),
            Err(_) => GONE,
        }
    }
    async fn start(&mut self, _: smtp::Node) -> Reply {
        NOT_OFFERED
    }
    fn reset(&mut self) {
        self.mail = None;
    }
}
