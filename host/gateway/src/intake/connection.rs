//! One client's connection: moves bytes between the socket and the protocol, and keeps the time.
//!
//! Decides nothing about mail: the [`Receiver`] answers, [`smtp::Server`] knows what is legal.

use super::{
    receiver::{MailFacts, Receiver},
    replies,
};
use crate::stream::Stream;
use bytes::{Buf, BytesMut};
use smtp::{Server, ServerEvent};
use std::{io, sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

/// RFC 5321 §4.5.3.2.7: a server waits at least 5 minutes for a command; the same holds for a piece of data.
const COMMAND: Duration = Duration::from_secs(300);
/// One handshake, one write.
const STEP: Duration = Duration::from_secs(60);
/// The whole of a mail's data.
const MESSAGE: Duration = Duration::from_secs(3600);
const READ: usize = 16 * 1024;

pub struct Connection<R> {
    pub stream: Stream,
    pub server: Server,
    pub receiver: R,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub shutdown: CancellationToken,
}

enum Next {
    Read,
    StartTls,
    Close,
}

impl<R: Receiver> Connection<R> {
    /// Until the client leaves, a deadline passes or the gateway stops. An error is the client's
    /// going away; what it was told 250 for is durable already.
    pub async fn serve(mut self) -> io::Result<()> {
        self.server.greet();
        let mut message_deadline = None;
        loop {
            match self.events(&mut message_deadline).await {
                Next::Read => self.flush().await?,
                Next::Close => {
                    self.flush().await?;
                    return tokio::time::timeout(STEP, self.stream.shutdown()).await?;
                }
                Next::StartTls => {
                    self.flush().await?;
                    self = self.start_tls().await?;
                    continue;
                }
            }
            let idle = tokio::time::Instant::now() + COMMAND;
            let deadline = message_deadline.map_or(idle, |message| message.min(idle));
            tokio::select! {
                biased;
                read = tokio::time::timeout_at(deadline, read(&mut self.stream, self.server.input())) => match read {
                    Ok(Ok(0)) => {
                        self.server.eof();
                        self.receiver.reset();
                        return Ok(());
                    }
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return Err(error),
                    Err(_) => self.server.close_with(replies::IDLE),
                },
                // A mail whose data is under way may end; it has its own deadline.
                () = self.shutdown.cancelled(), if message_deadline.is_none() => self.server.close_with(replies::SHUTDOWN),
            }
        }
    }

    /// Takes events until more input is needed.
    async fn events(&mut self, message_deadline: &mut Option<tokio::time::Instant>) -> Next {
        while let Some(event) = self.server.next_event() {
            match event {
                ServerEvent::Hello { name, .. } => self.receiver.hello(name),
                ServerEvent::Mail { sender, params } => {
                    let reply = self.receiver.mail(mail_facts(sender, params));
                    self.server.answer(reply);
                }
                ServerEvent::Recipient(recipient, _) => {
                    let reply = self.receiver.recipient(recipient).await;
                    self.server.answer(reply);
                }
                ServerEvent::DataStart => {
                    let reply = self.receiver.data_start();
                    self.server.answer(reply);
                    *message_deadline = Some(tokio::time::Instant::now() + MESSAGE);
                }
                ServerEvent::Body(bytes) => self.receiver.body(bytes).await,
                ServerEvent::EndOfMessage => {
                    *message_deadline = None;
                    let reply = self.receiver.end_of_message().await;
                    self.server.answer(reply);
                }
                ServerEvent::Etrn(node) => {
                    let reply = self.receiver.start(node).await;
                    self.server.answer(reply);
                }
                ServerEvent::Aborted => {
                    *message_deadline = None;
                    self.receiver.reset();
                }
                ServerEvent::StartTls => return Next::StartTls,
                ServerEvent::Quit => return Next::Close,
            }
        }
        Next::Read
    }

    async fn flush(&mut self) -> io::Result<()> {
        let output = self.server.output();
        if output.has_remaining() {
            tokio::time::timeout(STEP, async {
                self.stream.write_all_buf(output).await?;
                self.stream.flush().await
            })
            .await??;
        }
        Ok(())
    }

    async fn start_tls(self) -> io::Result<Self> {
        let Some(config) = self.tls.clone() else { return Err(io::Error::other("TLS is not configured")) };
        let Self { stream, mut server, mut receiver, tls, shutdown } = self;
        let stream = match tokio::time::timeout(STEP, stream.accept_tls(config)).await? {
            Ok(stream) => stream,
            Err(error) => return Err(io::Error::new(error.kind(), format!("TLS handshake failed: {error}"))),
        };
        let version = stream.tls_version();
        server.tls_started();
        receiver.tls(version);
        Ok(Self { stream, server, receiver, tls, shutdown })
    }
}

/// An idle connection keeps no buffer.
async fn read(stream: &mut Stream, input: &mut BytesMut) -> io::Result<usize> {
    if input.is_empty() {
        *input = BytesMut::new();
    }
    if let Stream::Plain(tcp) = stream {
        loop {
            tcp.readable().await?;
            input.reserve(READ);
            match tcp.try_read_buf(input) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }
    input.reserve(READ);
    stream.read_buf(input).await
}

fn mail_facts(sender: mail::ReversePath, params: smtp::MailParams) -> MailFacts {
    MailFacts {
        sender,
        body: params.body,
        smtputf8: params.smtputf8,
        require_tls: params.require_tls,
        ret: params.ret,
        envid: params.envid,
        size: params.size,
        params: params.raw,
    }
}
