//! What is between the accepted connection and the greeting: who the client is behind a balancer, the handshake,
//! on-connect plugins, and whether the client can wait.
//!
//! The session that follows is somebody else's.

use super::replies;
use crate::{
    config::Patience,
    limits::{Cut, Place},
    proxy::{self, Parsed},
    stream::Stream,
};
use mail::Reply;
use std::{future::poll_fn, io, mem::MaybeUninit, net::SocketAddr, pin::Pin, sync::Arc, task::Poll, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tracing::{debug, info, warn};

/// A connection that has been accepted.
pub struct Visitor {
    pub stream: Stream,
    pub peer: SocketAddr,
    pub place: Place,
    pub patience: Patience,
}

/// For the last words, and for the client to take them.
const FAREWELL: Duration = Duration::from_secs(10);
/// For what was on its way when we hung up.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 << 10;

impl Visitor {
    /// The peer must say who the client is before anything else. None: it is not let in.
    pub async fn behind_a_balancer(mut self) -> io::Result<Option<Self>> {
        let Stream::Plain(tcp) = &mut self.stream else { return Ok(None) };
        let client = match timeout(self.patience.proxy_header, client_of(tcp)).await {
            Ok(Ok(client)) => client.unwrap_or(self.peer),
            // A balancer that looks whether we listen says nothing.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            refused => {
                let reason = refused.map_or("it took too long".to_owned(), |wrong| match wrong {
                    Ok(_) => String::new(),
                    Err(error) => error.to_string(),
                });
                warn!(peer = %self.peer, reason, outcome = "refused", "no PROXY header from a peer that must send one");
                self.place.cut(Cut::Proxy);
                return Ok(None);
            }
        };
        debug!(balancer = %self.peer, peer = %client, "PROXY");
        self.peer = client;
        match self.place.belongs_to(client.ip()) {
            Ok(()) => Ok(Some(self)),
            Err(refusal) => {
                self.refuse(&refusal.reply()).await?;
                Ok(None)
            }
        }
    }

    pub async fn shake_hands(mut self, tls: Arc<rustls::ServerConfig>) -> io::Result<Self> {
        match timeout(self.patience.handshake, self.stream.accept_tls(tls)).await {
            Ok(stream) => {
                self.stream = stream?;
                Ok(self)
            }
            Err(late) => {
                self.place.cut(Cut::Handshake);
                Err(late.into())
            }
        }
    }

    /// S14: an honest client is silent until it is greeted. False: it was not, and has been told.
    pub async fn is_silent(&mut self) -> io::Result<bool> {
        if !talks(&mut self.stream, self.patience.greeting_delay).await? {
            return Ok(true);
        }
        let reply = replies::EARLY;
        info!(peer = %self.peer, outcome = "refused", %reply);
        self.place.cut(Cut::Early);
        // That the address may be refused from now on is for its next connection.
        let _ = self.place.errors(1);
        self.refuse(&reply).await?;
        Ok(false)
    }

    /// A reply in place of the greeting. What has come unread would make the kernel take back the reply with a
    /// reset, so some of it is read.
    pub async fn refuse(&mut self, reply: &Reply) -> io::Result<()> {
        let mut text = Vec::new();
        reply.write_to(&mut text);
        let told = async {
            self.stream.write_all(&text).await?;
            self.stream.shutdown().await
        };
        timeout(FAREWELL, told).await??;
        let (mut rest, mut nowhere) = ((&mut self.stream).take(LINGER_BYTES), tokio::io::sink());
        let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut nowhere)).await;
        Ok(())
    }
}

/// Takes the header and not a byte more: what follows may be a TLS handshake.
async fn client_of(tcp: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut header = Vec::new();
    loop {
        match proxy::parse(&header) {
            Parsed::NeedsMore(more) => {
                let read = (&mut *tcp).take(more as u64).read_buf(&mut header).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Parsed::Header(header) => return Ok(header.client),
            Parsed::Invalid => return Err(io::Error::new(io::ErrorKind::InvalidData, "it sent something else")),
        }
    }
}

/// Whether anything is there, or comes within `delay`. An end of the client's side is nothing.
async fn talks(stream: &mut Stream, delay: Duration) -> io::Result<bool> {
    if !delay.is_zero() {
        let mut first = [0];
        let come = match stream {
            Stream::Plain(tcp) => timeout(delay, tcp.peek(&mut first)).await,
            Stream::Tls(tls) => timeout(delay, tls.read(&mut first)).await,
        };
        if let Ok(read) = come {
            return Ok(read? > 0);
        }
    }
    let tcp = match stream {
        Stream::Plain(tcp) => &*tcp,
        Stream::Tls(tls) => {
            // What came with the end of the handshake has been decrypted with it.
            let mut first = [MaybeUninit::uninit()];
            let mut first = ReadBuf::uninit(&mut first);
            let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut *tls).poll_read(cx, &mut first))).await;
            if read.is_ready() && !first.filled().is_empty() {
                return Ok(true);
            }
            tls.get_ref().0
        }
    };
    // Straight from the kernel: the runtime may not have heard of it yet.
    match socket2::SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]) {
        Ok(read) => Ok(read > 0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
