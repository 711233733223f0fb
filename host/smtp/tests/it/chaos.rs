//! Random sessions: whatever order the pieces come in, nothing panics, nothing is kept too long,
//! and where the bytes are cut changes nothing.

use crate::{
    gateway::{Gateway, config},
    relay::client_config,
};
use mail::{Content, Envelope, Recipient};
use smtp::{Client, ClientEvent};

const FRAGMENTS: [&[u8]; 34] = [
    b"EHLO client.example\r\n",
    b"HELO client.example\r\n",
    b"MAIL FROM:<ann@client.example> SIZE=10\r\n",
    b"MAIL FROM:<>\r\n",
    b"MAIL FROM:<nodata@client.example>\r\n",
    b"MAIL FROM:<spammer@client.example>\r\n",
    b"MAIL FROM:<g\xc3\xbcn@client.example> SMTPUTF8\r\n",
    b"RCPT TO:<bob@example.org>\r\n",
    b"RCPT TO:<bob@example.org>\r\n",
    b"RCPT TO:<unknown@example.org> NOTIFY=NEVER\r\n",
    b"RCPT TO:<g\xc3\xbcn@example.org>\r\n",
    b"DATA\r\n",
    b"DATA\r\n",
    b"BDAT 5\r\na\r\n\r\n",
    b"BDAT 5 LAST\r\na\r\n\r\n",
    b"BDAT 4\r\n.\r\n\r",
    b"BDAT 2\r\n\nb",
    b"BDAT 3 LAST\r\na\nb",
    b"BDAT 0\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 130 LAST\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"VRFY bob\r\n",
    b"Subject: hi\r\n",
    b"\r\n",
    b"..dot\r\n",
    b".\r\n",
    b".\r\n",
    b".\n",
    b"\n.\r\n",
    b"caf\xe9 \0\r\n",
    b"x\r",
    b"STARTTLS\r\n",
];

/// What the server says to the fragments; with `cut`, each comes in random pieces.
fn run(fragments: &[&[u8]], cut: Option<&mut fastrand::Rng>) -> (Vec<u8>, usize, usize) {
    let mut config = config();
    config.max_message_size = 100;
    config.max_errors = 1000;
    let mut gateway = Gateway::new(config);
    let mut said = Vec::new();
    let mut cut = cut;
    for fragment in fragments {
        let mut rest = *fragment;
        while !rest.is_empty() && !gateway.closed {
            let len = cut.as_mut().map_or(rest.len(), |random| random.usize(1..=rest.len()));
            said.extend_from_slice(&gateway.feed(&rest[..len]));
            rest = &rest[len..];
        }
    }
    if !gateway.closed {
        said.extend_from_slice(&gateway.eof());
    }
    (said, gateway.accepted.len(), gateway.aborted)
}

#[test]
fn any_order_of_commands_and_data_is_survived_and_read_one_way_only() {
    let mut random = fastrand::Rng::with_seed(5);
    let (mut mails, mut aborted) = (0, 0);
    for _ in 0..6_000 {
        let mut fragments: Vec<&[u8]> = vec![FRAGMENTS[0], FRAGMENTS[2], FRAGMENTS[7]];
        fragments.extend((0..random.usize(..30)).map(|_| *random.choice(FRAGMENTS.iter()).unwrap()));
        let whole = run(&fragments, None);
        assert_eq!(whole, run(&fragments, Some(&mut random)), "{:?}", fragments.concat().escape_ascii().to_string());
        mails += whole.1;
        aborted += whole.2;
    }
    assert!(mails > 300 && aborted > 300, "{mails} mails, {aborted} aborted: the fragments test little");
}

const REPLIES: [&[u8]; 16] = [
    b"220 x\r\n",
    b"250 ok\r\n",
    b"250 2.1.0 ok\r\n",
    b"250 ok\r\n",
    b"250-x\r\n250-PIPELINING\r\n250-SIZE 0\r\n250 DSN\r\n",
    b"250-x\r\n250-PIPELINING\r\n250 STARTTLS\r\n",
    b"250-x\r\n",
    b"354 go\r\n",
    b"354 go\r\n",
    b"550 5.1.1 no\r\n",
    b"450 later\r\n",
    b"221 bye\r\n",
    b"421 bye\r\n",
    b"garbage\r\n",
    b"\xff\xfe\r\n",
    b"250",
];

#[test]
fn any_order_of_replies_gives_each_recipient_exactly_one_outcome() {
    let mut random = fastrand::Rng::with_seed(9);
    let envelope = Envelope {
        recipients: ["a@x.example", "b@x.example"].map(|r| Recipient::new(r.parse().unwrap())).to_vec(),
        ..Envelope::default()
    };
    let content = Content::new(b"a: b\r\n\r\n.\r\n"[..].into());
    let mut delivered = 0;
    for _ in 0..25_000 {
        let mut client = Client::new(client_config());
        client.receive(b"220 x\r\n250-x\r\n250 PIPELINING\r\n");
        let (mut sent, mut done, mut closed) = (0, 0, false);
        for _ in 0..20 {
            while let Some(event) = client.next_event() {
                assert!(!closed, "{event:?} after the end");
                match event {
                    ClientEvent::Done(outcomes) => {
                        assert_eq!(outcomes.len(), 2);
                        delivered += outcomes.iter().filter(|o| matches!(o, mail::Outcome::Delivered(_))).count();
                        done += 1;
                    }
                    ClientEvent::Closed(_) | ClientEvent::Ended => closed = true,
                    ClientEvent::StartTls => client.tls_started(),
                    ClientEvent::Ready | ClientEvent::Answered(_) => {}
                }
            }
            if client.is_ready() {
                client.send(&envelope, &envelope.recipients, &content).unwrap();
                sent += 1;
            }
            client.output().clear();
            client.receive(random.choice(REPLIES.iter()).unwrap());
        }
        client.eof();
        while let Some(event) = client.next_event() {
            done += usize::from(matches!(event, ClientEvent::Done(_)));
        }
        assert_eq!(sent, done);
    }
    assert!(delivered > 100, "{delivered}");
}
