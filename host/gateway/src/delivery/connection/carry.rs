//! One mail over a connection that is ready, and what came of it.
//!
//! Never ends with a dot what could not be read to its end.

use super::{super::outgoing::Outgoing, Connection, Pace};
use mail::{Envelope, Failure, FailureKind, Outcome, Recipient};
use smtp::{ClientEvent, Transcript};
use std::io;
use tokio::time::Instant;

/// What came of one mail.
pub struct Attempt {
    /// One for each recipient, in order.
    pub outcomes: Vec<Outcome>,
    /// From the greeting, or from the end of the mail before it.
    pub transcript: Transcript,
    /// The next hop offers DSN: with the mail it takes over the duty to notify (RFC 3461 §5.2.1).
    pub notifies: bool,
    lost_early: bool,
    judged: bool,
    /// Why our own copy of the mail could not be read to its end.
    unread: Option<io::Error>,
}

impl Attempt {
    /// The connection ended before the next hop can have taken the mail, and nothing was decided.
    pub fn is_lost_early(&self) -> bool {
        self.lost_early
    }
    /// The connection was ended by us, for the mail could not be read on: that says nothing about the next hop.
    pub(in crate::delivery) fn take_unread(&mut self) -> Option<io::Error> {
        self.unread.take()
    }
    /// The next hop has had all of the mail: what it said then, it said of that.
    pub fn is_judged(&self) -> bool {
        self.judged
    }
}

impl Connection {
    /// One mail to `recipients`. Gives itself back when it can carry another.
    pub fn deliver(
        self,
        envelope: &Envelope,
        recipients: &[Recipient],
        content: impl Into<Outgoing>,
    ) -> impl Future<Output = (Attempt, Option<Self>)> + Send {
        self.carry(envelope, recipients, content.into())
    }

    async fn carry(
        mut self,
        envelope: &Envelope,
        recipients: &[Recipient],
        content: Outgoing,
    ) -> (Attempt, Option<Self>) {
        let Ok(mut reading) = content.send(&mut self.client, envelope, recipients) else {
            let failure = Failure::new(FailureKind::Protocol, Some(&self.hop), "the connection was not ready");
            return (deferred(recipients, &failure, true), None);
        };
        self.mails += 1;
        let mut outcomes = None;
        let mut doubtful = false;
        let mut unread = None;
        let mut pace = Pace::mail(self.timeouts, Instant::now());
        loop {
            while let Some(event) = self.client.next_event() {
                match event {
                    ClientEvent::Done(told) => outcomes = Some(told),
                    ClientEvent::Closed(failure) => {
                        let outcomes = outcomes.unwrap_or_else(|| deferred(recipients, &failure, false).outcomes);
                        let lost_early = unread.is_none()
                            && !doubtful
                            && outcomes.iter().all(|outcome| matches!(outcome, Outcome::Deferred(_)));
                        let (transcript, notifies) = (self.client.take_transcript(), self.client.capabilities().dsn);
                        return (
                            Attempt { outcomes, transcript, notifies, lost_early, judged: doubtful, unread },
                            None,
                        );
                    }
                    ClientEvent::Ready | ClientEvent::StartTls | ClientEvent::Answered(_) | ClientEvent::Ended => {}
                }
            }
            if let Some(outcomes) = outcomes {
                let (transcript, notifies) = (self.client.take_transcript(), self.client.capabilities().dsn);
                let kept = self.client.is_ready().then_some(self);
                return (
                    Attempt { outcomes, transcript, notifies, lost_early: false, judged: doubtful, unread: None },
                    kept,
                );
            }
            if self.client.wants_content() {
                match reading.next().await {
                    Ok(piece) => self.client.feed(piece),
                    Err(error) => {
                        let detail = format!("cannot be read from the spool: {error}");
                        self.client.close_with(Failure::new(FailureKind::Other, Some(&self.hop), detail));
                        unread = Some(error);
                        continue;
                    }
                }
            }
            doubtful |= self.client.is_in_doubt();
            let limit = pace.limit(&self.client, Instant::now());
            self.step(limit).await;
            doubtful |= self.client.is_in_doubt();
        }
    }
}

fn deferred(recipients: &[Recipient], failure: &Failure, lost_early: bool) -> Attempt {
    let outcomes = recipients.iter().map(|_| Outcome::Deferred(failure.clone())).collect();
    Attempt { outcomes, transcript: Transcript::default(), notifies: false, lost_early, judged: false, unread: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Timeouts, stream::Stream};
    use bytes::Bytes;
    use mail::{Content, NextHop, OpenContent, Outline};
    use std::sync::Arc;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        task::JoinHandle,
    };

    /// A disk that fails behind the first piece.
    struct Torn(Content);

    impl OpenContent for Torn {
        fn outline(&self) -> Outline {
            self.0.outline()
        }
        fn read_at(&self, offset: u64, _len: usize) -> io::Result<Bytes> {
            if offset == 0 { Ok(self.0.to_bytes().slice(..20)) } else { Err(io::Error::from_raw_os_error(5)) }
        }
    }

    /// A next hop that takes everything, and all that it has heard.
    async fn next_hop() -> (Connection, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hop: NextHop = listener.local_addr().unwrap().to_string().parse().unwrap();
        let heard = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tcp.write_all(b"220 hop.test\r\n").await.unwrap();
            let (mut heard, mut buffer, mut answered) = (String::new(), [0; 4096], 0);
            loop {
                let Ok(len @ 1..) = tcp.read(&mut buffer).await else { return heard };
                heard.push_str(&String::from_utf8_lossy(&buffer[..len]));
                for command in ["EHLO ", "MAIL ", "RCPT ", "DATA\r\n"].into_iter().skip(answered) {
                    if !heard.contains(command) {
                        break;
                    }
                    let reply = if command.starts_with("DATA") { "354 go\r\n" } else { "250 ok\r\n" };
                    tcp.write_all(reply.as_bytes()).await.unwrap();
                    answered += 1;
                }
            }
        });
        let tcp = TcpStream::connect((hop.host.as_str(), hop.port)).await.unwrap();
        let helo = "mx.test".parse().unwrap();
        let turned = Connection::turned(Stream::Plain(tcp), hop, &helo, Timeouts::default()).await;
        (turned.map_err(|failure| failure.detail).unwrap(), heard)
    }

    #[tokio::test]
    async fn a_mail_that_cannot_be_read_on_ends_without_a_dot_and_is_not_the_next_hops_fault() {
        let (connection, heard) = next_hop().await;
        let recipients = [Recipient::new("bob@example.org".parse().unwrap())];
        let envelope = Envelope { recipients: recipients.to_vec(), ..Envelope::default() };
        let torn = Torn(Content::new(Bytes::from("A: 1\r\n\r\n".to_owned() + &"line\r\n".repeat(10))));
        let (mut attempt, kept) = connection.deliver(&envelope, &recipients, Outgoing::Spooled(Arc::new(torn))).await;
        assert!(kept.is_none() && !attempt.is_lost_early() && !attempt.is_judged());
        assert_eq!(attempt.take_unread().unwrap().raw_os_error(), Some(5));
        drop(kept);
        let heard = heard.await.unwrap();
        assert!(heard.contains("DATA\r\nA: 1\r\n") && !heard.contains("\r\n.\r\n"), "{heard}");
    }
}
