//! Names resolved over the wire, by a name server of the tests.

use crate::rig::{Rig, Setup, judge};
use mail::Verdict;
use plugin_host::{Grant, Resolver, SystemResolver};
use serde_json::json;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::net::UdpSocket;

struct Server {
    address: SocketAddr,
    questions: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, questions) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&questions);
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                counted.fetch_add(1, Ordering::SeqCst);
                if let Some(answer) = answer(&buffer[..length]) {
                    socket.send_to(&answer, peer).await.unwrap();
                }
            }
        });
        Self { address, questions }
    }

    fn resolver(&self) -> SystemResolver {
        SystemResolver::with_servers(&[self.address]).unwrap()
    }
}

/// RFC 1035 §4.1: the question again, and records that point to its name.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let (name, kind, end) = asked(question);
    let (code, records): (u8, Vec<Vec<u8>>) = match (name.as_str(), kind) {
        ("silent.example", _) => return None,
        ("fail.example", _) => (2, vec![]),
        ("both.example", 1) => (0, vec![vec![192, 0, 2, 1], vec![192, 0, 2, 2]]),
        ("both.example", 28) => (0, vec!["2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec()]),
        ("half.example", 1) => (0, vec![vec![192, 0, 2, 3]]),
        ("half.example", 28) => (2, vec![]),
        ("both.example", 16) => (0, vec![b"\x04v=sp\x02f1".to_vec()]),
        ("both.example", 15) => (0, vec![b"\0\x14\x02mx\xc0\x0c".to_vec(), b"\0\x0a\x01A\x07example\0".to_vec()]),
        ("1.2.0.192.in-addr.arpa", 12) => (0, vec![b"\x04Mail\x07example\0".to_vec()]),
        ("2.0.0.127.bl.example", 1) => (0, vec![vec![127, 0, 0, 4]]),
        ("both.example" | "half.example", _) => (0, vec![]),
        _ => (3, vec![]),
    };
    let mut out = question[..2].to_vec();
    out.extend([0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    out.extend(&question[12..end]);
    for record in records {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 1, 0]);
        out.extend((record.len() as u16).to_be_bytes());
        out.extend(record);
    }
    Some(out)
}

fn asked(question: &[u8]) -> (String, u16, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while question[at] != 0 {
        let end = at + 1 + question[at] as usize;
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    (labels.join("."), u16::from_be_bytes([question[at + 1], question[at + 2]]), at + 5)
}

#[tokio::test]
async fn records_of_each_kind_are_found() {
    let server = Server::start().await;
    let resolver = server.resolver();
    let mut addresses = resolver.addresses("both.example").await.unwrap();
    addresses.sort();
    let expected: Vec<IpAddr> =
        ["192.0.2.1", "192.0.2.2", "2001:db8::1"].into_iter().map(|ip| ip.parse().unwrap()).collect();
    assert_eq!(addresses, expected);
    assert_eq!(resolver.txt("both.example").await.unwrap(), ["v=spf1"], "strings are joined");
    let mx = resolver.mx("both.example").await.unwrap();
    assert_eq!(mx, [(10, "a.example".to_owned()), (20, "mx.both.example".to_owned())], "the lowest first");
    assert_eq!(resolver.ptr("192.0.2.1".parse().unwrap()).await.unwrap(), ["mail.example"]);
}

#[tokio::test]
async fn what_is_not_there_is_empty_and_what_failed_is_an_error() {
    let server = Server::start().await;
    let resolver = server.resolver();
    assert!(resolver.addresses("nowhere.example").await.unwrap().is_empty());
    assert!(resolver.txt("half.example").await.unwrap().is_empty());
    assert!(resolver.addresses("fail.example").await.is_err());
    assert!(resolver.txt("fail.example").await.is_err());
    assert_eq!(resolver.addresses("half.example").await.unwrap().len(), 1, "half of an answer is one");
}

#[tokio::test]
async fn an_answer_is_asked_for_once() {
    let server = Server::start().await;
    let resolver = server.resolver();
    resolver.txt("both.example").await.unwrap();
    let asked = server.questions.load(Ordering::SeqCst);
    for _ in 0..10 {
        resolver.txt("both.example").await.unwrap();
    }
    assert_eq!(server.questions.load(Ordering::SeqCst), asked);
}

#[tokio::test]
async fn a_silent_server_is_an_error_in_the_end() {
    let server = Server::start().await;
    let resolver = server.resolver();
    let started = std::time::Instant::now();
    assert!(resolver.txt("silent.example").await.is_err());
    assert!(started.elapsed() < std::time::Duration::from_secs(15));
}

#[tokio::test]
async fn a_plugin_with_the_grant_asks_it() {
    let server = Server::start().await;
    let resolver: Arc<dyn Resolver> = Arc::new(server.resolver());
    let rig = Rig::new(Setup { grants: Grant::WORDS.to_vec(), resolver: Some(resolver), ..Setup::default() });
    let chain = rig.chain(json!({ "message": "dns" })).await;
    let expected = "Ok([\"127.0.0.4\"])|Ok([])|Err(Error::Unavailable)|Err(Error::Invalid)";
    assert_eq!(judge(&*chain).await, Verdict::Quarantine(expected.to_owned()));
}
