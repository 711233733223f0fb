//! Who makes errors, against a receiver that knows one recipient.

use super::*;
use mail::{Recipient, Reply};
use smtp::{Node, ServerConfig, TlsOffer};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

const UNKNOWN: Reply = Reply::fixed(550, (5, 1, 1), "Nobody");
const TOO_MANY: Reply = Reply::fixed(421, (4, 7, 0), "Enough");

/// Knows `bob`; ends the session after `most` errors.
struct Counting {
    most: u32,
    errors: u32,
}

impl Receiver for Counting {
    fn hello(&mut self, _name: String) {}
    fn tls(&mut self, _version: Option<String>) {}
    fn mail(&mut self, _facts: MailFacts) -> Reply {
        replies::SENDER_OK
    }
    async fn recipient(&mut self, recipient: Recipient) -> Reply {
        if recipient.address.local_part() == "bob" { replies::GO_ON } else { UNKNOWN }
    }
    fn data_start(&mut self) -> Reply {
        replies::START_MAIL
    }
    async fn body(&mut self, _bytes: bytes::Bytes) {}
    async fn end_of_message(&mut self) -> Reply {
        replies::GO_ON
    }
    async fn start(&mut self, _node: Node) -> Reply {
        replies::GO_ON
    }
    fn reset(&mut self) {}
    fn mistakes(&mut self, more: u32) -> Option<Reply> {
        self.errors += more;
        (self.errors > self.most).then_some(TOO_MANY)
    }
}

/// A client, and the end of its session.
struct Rig {
    client: TcpStream,
    session: tokio::task::JoinHandle<io::Result<()>>,
}

/// Each error costs 10 ms more than the one before, up to 50.
async fn rig(most: u32) -> Rig {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let tarpit = crate::config::Tarpit { after: 0, delay: Duration::from_millis(10), most: Duration::from_millis(50) };
    let config = ServerConfig { tls: TlsOffer::Optional, ..ServerConfig::new("mx.test".parse().unwrap()) };
    let connection = Connection {
        stream: Stream::Plain(tcp),
        server: Server::new(Arc::new(config), false),
        receiver: Counting { most, errors: 0 },
        tls: None,
        patience: Patience { tarpit, ..Patience::default() },
        shutdown: CancellationToken::new(),
    };
    let mut rig = Rig { client, session: tokio::spawn(Box::new(connection).serve()) };
    assert_eq!(rig.codes(1).await, ["220"]);
    rig.told("EHLO client.test\r\nMAIL FROM:<ann@client.test>\r\n", 2).await;
    rig
}

impl Rig {
    /// The codes of so many replies.
    async fn codes(&mut self, count: usize) -> Vec<String> {
        let (mut text, mut byte) = (String::new(), [0]);
        let mut codes = Vec::new();
        while codes.len() < count && self.client.read(&mut byte).await.unwrap() > 0 {
            text.push(char::from(byte[0]));
            if text.ends_with("\r\n") {
                let line = std::mem::take(&mut text);
                codes.extend((line.as_bytes()[3] == b' ').then(|| line[..3].to_owned()));
            }
        }
        codes
    }

    /// For how many milliseconds so many replies to all of this were waited for, and their codes.
    async fn told(&mut self, all: &str, replies: usize) -> (u128, Vec<String>) {
        let begun = Instant::now();
        self.client.write_all(all.as_bytes()).await.unwrap();
        let codes = self.codes(replies).await;
        (begun.elapsed().as_millis(), codes)
    }
}

fn guesses(count: usize) -> String {
    (0..count).map(|n| format!("RCPT TO:<x{n}@example.org>\r\n")).collect()
}

#[tokio::test]
async fn guesses_that_come_together_are_paid_for_one_by_one() {
    let mut rig = rig(1000).await;
    let (took, codes) = rig.told(&guesses(20), 20).await;
    assert_eq!(codes, vec!["550".to_owned(); 20]);
    assert!(took >= 10 + 20 + 30 + 40 + 16 * 50, "{took} ms");
    let (took, codes) = rig.told("RSET\r\nBOGUS\r\nBOGUS\r\nBOGUS\r\n", 4).await;
    assert_eq!(codes.join(" "), "250 500 500 500");
    assert!(took >= 3 * 50, "commands that nobody knows, too: {took} ms");
}

#[tokio::test]
async fn errors_are_forgiven_by_mail_that_is_accepted() {
    let mut rig = rig(1000).await;
    rig.told(&guesses(8), 8).await;
    let mail = "MAIL FROM:<ann@client.test>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n";
    rig.told("RSET\r\n", 1).await;
    for _ in 0..4 {
        rig.told(mail, 3).await;
        assert_eq!(rig.told("A: 1\r\n\r\nx\r\n.\r\n", 1).await.1, ["220"]);
    }
    let mut took = 0;
    for _ in 0..60 {
        took += rig.told("NOOP\r\n", 1).await.0;
    }
    assert!(took < 60 * 50, "each would have come 50 ms later: {took} ms");
}

#[tokio::test]
async fn too_many_errors_end_the_session_in_the_midst_of_what_came_together() {
    let mut rig = rig(3).await;
    let (_, codes) = rig.told(&guesses(100), 101).await;
    assert_eq!(codes.join(" "), "550 550 550 550 421");
    rig.session.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_has_made_too_many_errors_is_not_waited_for_to_start_tls() {
    let mut rig = rig(3).await;
    rig.told("RSET\r\n", 1).await;
    let (_, codes) = rig.told("BOGUS\r\nBOGUS\r\nBOGUS\r\nBOGUS\r\nSTARTTLS\r\n", 6).await;
    assert_eq!(codes.join(" "), "500 500 500 500 220 421");
    rig.session.await.unwrap().expect("it ended without a handshake");
}
