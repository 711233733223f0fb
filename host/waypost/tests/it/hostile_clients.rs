//! Sessions that no client would hold, from the fuzzer's corpus and changed at random, thrown at a running gateway:
//! it goes on, an honest client is served meanwhile, and the next hop gets whole mails and no others.

use super::support::{
    gateway::{Gateway, Home},
    next_hop::NextHop,
    smtp::send,
};
use fuzz::corpus;
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const SESSIONS: usize = 3000;
const AT_ONCE: u64 = 8;
/// Mails of the honest client meanwhile.
const HONEST: usize = 40;

/// What the hostile clients have been told.
#[derive(Default)]
struct Heard {
    /// Of mails that were answered 250.
    queued: Mutex<BTreeSet<String>>,
    /// Sessions that were cut off before their last replies could be read.
    resets: AtomicUsize,
    over: AtomicUsize,
}

impl Heard {
    /// One session from the greeting to its end, in up to four writes.
    fn session(&self, gateway: SocketAddr, bytes: &[u8], random: &mut fastrand::Rng) {
        let mut stream = TcpStream::connect(gateway).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut said = Vec::new();
        // Who talks before the greeting is sent away and gets no further.
        BufReader::new(&stream).read_until(b'\n', &mut said).unwrap();
        let mut rest = bytes;
        for last in [false, false, false, true] {
            let (piece, after) = rest.split_at(if last { rest.len() } else { random.usize(..=rest.len()) });
            rest = after;
            if stream.write_all(piece).is_err() {
                break;
            }
        }
        // The other side may have gone already.
        let _ = stream.shutdown(Shutdown::Write);
        match stream.read_to_end(&mut said) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                self.resets.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => panic!("a session has no end: {error}, after \"{}\"", bytes.escape_ascii()),
        }
        let said = String::from_utf8_lossy(&said);
        let ids = said.lines().filter_map(|line| line.strip_prefix("250 2.0.0 Ok: queued as "));
        self.queued.lock().unwrap().extend(ids.map(str::to_owned));
        self.over.fetch_add(1, Ordering::Relaxed);
    }
}

fn throw(gateway: &Gateway<'_>, heard: &Heard) {
    let inputs = corpus::inputs("session");
    std::thread::scope(|scope| {
        for thread in 0..AT_ONCE {
            let (inputs, smtp) = (&inputs, gateway.smtp);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(thread);
                while heard.over.load(Ordering::Relaxed) < SESSIONS {
                    let bytes = corpus::changed(inputs, &mut random);
                    // The first byte is the target's, not the session's.
                    heard.session(smtp, bytes.get(1..).unwrap_or_default(), &mut random);
                }
            });
        }
        for nth in 0..HONEST {
            let reply = send(gateway.smtp, "ann@client.test", "bob@example.org", &format!("honest {nth}"));
            assert!(reply.starts_with("250 "), "{reply}");
        }
    });
}

#[test]
fn thousands_of_hostile_sessions_bring_no_mail_that_is_not_whole_and_keep_nobody_out() {
    let next_hop = NextHop::start();
    let home = Home::new("max-connections-per-network = 1000");
    for domain in ["example.org", "mx.example.net"] {
        home.domain(domain, &format!("next-hop = \"{}\"\naccept = \"always\"\n", next_hop.address));
    }
    let gateway = home.start();
    let heard = Heard::default();
    throw(&gateway, &heard);
    gateway.wait_until_empty();

    let mails = next_hop.mails();
    let (mut honest, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for mail in &mails {
        let text = mail.text();
        // The next hop panics at a bare LF by itself.
        assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']), "not lines: {text:?}");
        let id = text.split(" id ").nth(1).and_then(|rest| rest.get(..26)).expect("our Received field on top");
        assert!(ids.insert(id.to_owned()), "{id} came twice");
        honest.extend(text.lines().find(|line| line.starts_with("Subject: honest ")).map(str::to_owned));
    }
    assert_eq!(honest.len(), HONEST);
    let queued = heard.queued.into_inner().unwrap();
    assert!(queued.is_subset(&ids), "taken and not delivered: {:?}", queued.difference(&ids));
    assert!(queued.len() >= 10, "{} mails: the sessions test little", queued.len());
    let unheard = ids.len() - queued.len() - HONEST;
    let resets = heard.resets.into_inner();
    assert!(unheard <= resets, "{unheard} mails that nobody was told of, {resets} sessions cut off");
    assert!(!home.log().contains("panicked"), "{}", home.log());
    gateway.stop();
}
