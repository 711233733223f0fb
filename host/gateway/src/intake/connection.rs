//! One client's connection: moves bytes between the socket and the protocol, and keeps the time.
//!
//! Decides nothing about mail: the [`Receiver`] answers, [`smtp::Server`] knows what is legal, and the [`Timer`]
//! until when what must have come.

use super::{
    mistakes::Mistakes,
    receiver::{MailFacts, Receiver},
    replies,
    timer::{Expected, Timer},
};
use crate::{config::Patience, limits::Cut, stream::Stream};
use bytes::{Buf, BytesMut};
use smtp::{Server, ServerEvent};
use std::{future::poll_fn, io, pin::Pin, sync::Arc, time::Duration};
use tokio::{io::AsyncWriteExt, time::Instant};
use tokio_util::{io::poll_read_buf, sync::CancellationToken};

const READ: usize = 16 * 1024;

pub struct Connection<R> {
    pub stream: Stream,
    pub server: Server,
    pub receiver: R,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub patience: Patience,
    pub shutdown: CancellationToken,
}

/// What is known of a session beside the protocol.
struct Course {
    timer: Timer,
    mistakes: Mistakes,
    refused_recipients: u32,
    /// A mail's data is under way and may end, whatever else does.
    receives_mail: bool,
}

enum Next {
    Read,
    /// An error: what else has come waits until its reply is out.
    Answer,
    StartTls,
    Close,
}

/// What errors come to.
#[derive(PartialEq)]
enum Weighed {
    Nothing,
    Slower,
    TooMany,
}

impl<R: Receiver> Connection<R> {
    /// Until the client leaves, a deadline passes or the gateway stops. An error is the client's
    /// going away; what it was told 250 for is durable already.
    pub async fn serve(mut self: Box<Self>) -> io::Result<()> {
        self.server.greet();
        let timer = Timer::new(self.patience, Instant::now());
        let mut course = Course { timer, mistakes: Mistakes::default(), refused_recipients: 0, receives_mail: false };
        loop {
            let next = self.events(&mut course).await;
            match next {
                Next::Read => self.reply(&mut course).await?,
                Next::Answer => {
                    self.reply(&mut course).await?;
                    continue;
                }
                Next::Close => {
                    self.reply(&mut course).await?;
                    return tokio::time::timeout(self.patience.write, self.stream.shutdown()).await?;
                }
                Next::StartTls => {
                    self.reply(&mut course).await?;
                    *self = Box::pin((*self).start_tls()).await?;
                    course.timer.answered(Instant::now());
                    continue;
                }
            }
            if !course.receives_mail && !self.server.is_receiving() {
                course.timer.data_ends();
            }
            if !self.read(&mut course).await? {
                self.server.eof();
                self.receiver.reset();
                return Ok(());
            }
        }
    }

    /// Takes events until more input is needed, or replies are to come later.
    async fn events(&mut self, course: &mut Course) -> Next {
        loop {
            // Of commands that came together too, each error counts before more is done for this client.
            if self.weigh_mistakes(course) == Weighed::Slower {
                return Next::Answer;
            }
            let Some(event) = self.server.next_event() else {
                if self.errors(course) > course.mistakes.told() {
                    continue;
                }
                return Next::Read;
            };
            match event {
                ServerEvent::Hello { name, .. } => self.receiver.hello(name),
                ServerEvent::Mail { sender, params } => {
                    let reply = self.receiver.mail(mail_facts(sender, self.server.is_esmtp(), params));
                    self.server.answer(reply);
                }
                ServerEvent::Recipient(recipient, _) => {
                    // What takes its time has its own place: a connection that waits keeps none for it.
                    let reply = Box::pin(self.receiver.recipient(recipient)).await;
                    course.refused_recipients += u32::from(reply.is_permanent());
                    self.server.answer(reply);
                }
                ServerEvent::DataStart => {
                    let reply = self.receiver.data_start();
                    course.receives_mail = reply.is_intermediate() || reply.is_positive();
                    self.server.answer(reply);
                }
                ServerEvent::Body(bytes) => Box::pin(self.receiver.body(bytes)).await,
                ServerEvent::EndOfMessage => {
                    course.receives_mail = false;
                    let reply = Box::pin(self.receiver.end_of_message()).await;
                    if reply.is_positive() {
                        course.mistakes.forgive();
                    }
                    self.server.answer(reply);
                }
                ServerEvent::Etrn(node) => {
                    let reply = Box::pin(self.receiver.start(node)).await;
                    self.server.answer(reply);
                }
                ServerEvent::Xclient(client) => {
                    let unwelcome = Box::pin(self.receiver.comes_from(client)).await;
                    self.server.answer(unwelcome.unwrap_or(replies::GO_ON));
                }
                ServerEvent::Aborted => {
                    course.receives_mail = false;
                    self.receiver.reset();
                }
                // Commands before it may have been wrong: whoever is to leave is not waited for.
                ServerEvent::StartTls if self.weigh_mistakes(course) == Weighed::TooMany => {}
                ServerEvent::StartTls => return Next::StartTls,
                ServerEvent::Quit => return Next::Close,
            }
        }
    }

    /// What comes next, into the server's input; false when the client's side has ended. Where a deadline passes or
    /// the gateway stops, the server is told instead.
    async fn read(&mut self, course: &mut Course) -> io::Result<bool> {
        loop {
            let (expected, now) = (self.expected(), Instant::now());
            let crowded = expected == Expected::Command && self.receiver.is_crowded();
            let deadline = course.timer.deadline(expected, now, crowded);
            let wake = course.timer.look(expected, now).map_or(deadline.at, |look| look.min(deadline.at));
            let read = tokio::select! {
                biased;
                read = tokio::time::timeout_at(wake, read(&mut self.stream, self.server.input())) => read,
                // A mail whose data is under way may end; it has its own deadline.
                () = self.shutdown.cancelled(), if !course.receives_mail => {
                    self.server.close_with(replies::SHUTDOWN);
                    return Ok(true);
                }
            };
            match read {
                Ok(read) => {
                    let waited = if expected == Expected::Data { now.elapsed() } else { Duration::ZERO };
                    let bytes = read?;
                    course.timer.received(bytes, waited);
                    return Ok(bytes > 0);
                }
                Err(_) if Instant::now() < deadline.at => {}
                Err(_) => {
                    self.receiver.cut(deadline.cut);
                    self.server.close_with(replies::too_late(deadline.cut));
                    return Ok(true);
                }
            }
        }
    }

    fn expected(&self) -> Expected {
        match self.server.is_receiving() {
            true => Expected::Data,
            false if self.server.is_between_commands() => Expected::Command,
            false => Expected::RestOfCommand,
        }
    }

    fn errors(&self, course: &Course) -> u32 {
        self.server.errors().saturating_add(course.refused_recipients)
    }

    /// Those that have not been looked at. Where there are too many, the session is told to end.
    fn weigh_mistakes(&mut self, course: &mut Course) -> Weighed {
        let more = course.mistakes.tell(self.errors(course), &self.patience.tarpit);
        if more == 0 {
            return Weighed::Nothing;
        }
        if let Some(reply) = self.receiver.mistakes(more) {
            self.server.close_with(reply);
            return Weighed::TooMany;
        }
        if course.mistakes.are_owed_for() { Weighed::Slower } else { Weighed::Nothing }
    }

    /// Writes what there is to say; later, to who makes mistakes, and for each of them.
    async fn reply(&mut self, course: &mut Course) -> io::Result<()> {
        if !self.server.output().has_remaining() {
            return Ok(());
        }
        let delay = course.mistakes.delay(&self.patience.tarpit);
        if !delay.is_zero() {
            let _ = tokio::time::timeout(delay, self.shutdown.cancelled()).await;
        }
        self.flush().await?;
        course.timer.answered(Instant::now());
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        let output = self.server.output();
        let written = tokio::time::timeout(self.patience.write, async {
            self.stream.write_all_buf(output).await?;
            self.stream.flush().await
        });
        written.await.unwrap_or_else(|late| {
            self.receiver.cut(Cut::Write);
            Err(late.into())
        })
    }

    async fn start_tls(self) -> io::Result<Self> {
        let Some(config) = self.tls.clone() else { return Err(io::Error::other("TLS is not configured")) };
        let Self { stream, mut server, mut receiver, tls, patience, shutdown } = self;
        let stream = match tokio::time::timeout(patience.handshake, stream.accept_tls(config)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(io::Error::new(error.kind(), format!("TLS handshake failed: {error}"))),
            Err(late) => {
                receiver.cut(Cut::Handshake);
                return Err(late.into());
            }
        };
        let version = stream.tls_version();
        server.tls_started();
        receiver.tls(version);
        Ok(Self { stream, server, receiver, tls, patience, shutdown })
    }
}

/// While nothing comes, no room is kept for it: most connections wait most of the time.
async fn read(stream: &mut Stream, input: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|cx| {
        input.reserve(READ);
        let read = poll_read_buf(Pin::new(&mut *stream), cx, input);
        if read.is_pending() {
            *input = if input.is_empty() { BytesMut::new() } else { BytesMut::from(input.as_ref()) };
        }
        read
    })
    .await
}

fn mail_facts(sender: mail::ReversePath, esmtp: bool, params: smtp::MailParams) -> MailFacts {
    MailFacts {
        sender,
        esmtp,
        body: params.body,
        smtputf8: params.smtputf8,
        require_tls: params.require_tls,
        ret: params.ret,
        envid: params.envid,
        size: params.size,
        params: params.raw,
    }
}

#[cfg(test)]
mod tests;
