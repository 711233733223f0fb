//! What stands before or beside SMTP at the wire: the PROXY protocol, check-ins, logins.

use crate::pieces::knob;
use gateway::{
    check_in::{Answer, At, Host, Update},
    odmr::{ClientFirst, ScramVerifier, cram_md5},
    proxy::{Parsed, parse},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A PROXY header and what follows, as it arrives byte by byte: whoever reads as told ends exactly behind the header,
/// what was invalid stays so, and what it says is what a naive reader finds.
pub fn proxy(bytes: &[u8]) {
    let whole = parse(bytes);
    let (mut read, mut verdict) = (0, parse(b""));
    while let Parsed::NeedsMore(more) = verdict {
        assert!(more > 0, "stuck");
        read += more;
        let Some(so_far) = bytes.get(..read) else { break };
        verdict = parse(so_far);
    }
    for cut in 0..=bytes.len().min(300) {
        match (parse(&bytes[..cut]), whole) {
            (Parsed::Invalid, Parsed::Invalid) | (Parsed::NeedsMore(_), Parsed::Invalid) => {}
            (Parsed::Header(header), whole) => {
                assert!(header.length <= cut && header.length <= 16 + 4096);
                assert_eq!(whole, Parsed::Header(header), "it says something else at {cut}");
            }
            (Parsed::NeedsMore(more), Parsed::Header(header)) => assert!(cut + more <= header.length, "reads too far"),
            (Parsed::NeedsMore(more), Parsed::NeedsMore(in_all)) => {
                assert!(more > 0 && cut + more <= bytes.len() + in_all);
            }
            (Parsed::Invalid, other) => panic!("invalid at {cut}, then {other:?}"),
        }
    }
    match whole {
        Parsed::Header(header) => {
            assert_eq!((verdict, read), (whole, header.length), "what follows was taken too");
            assert_eq!(header.client, naive_client(&bytes[..header.length]));
        }
        Parsed::NeedsMore(_) => assert!(bytes.len() < 16 + 4096, "it waits for ever"),
        Parsed::Invalid => {}
    }
}

/// Of a header that is valid.
fn naive_client(header: &[u8]) -> Option<SocketAddr> {
    if let Ok(text) = std::str::from_utf8(header)
        && text.starts_with("PROXY ")
    {
        let line = text.strip_suffix("\r\n").expect("a line");
        let words: Vec<&str> = line.split(' ').collect();
        return match words[..] {
            [_, "TCP4" | "TCP6", client, _, port, _] => {
                let client: IpAddr = client.parse().expect("an address");
                Some(SocketAddr::new(client.to_canonical(), port.parse().expect("a port")))
            }
            [_, "UNKNOWN", ..] => None,
            _ => panic!("{line:?} was taken for a header"),
        };
    }
    assert!(header.starts_with(b"\r\n\r\n\0\r\nQUIT\n") && header[12] >> 4 == 2);
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    match (header[12] & 15, header[13]) {
        (1, 0x11) => {
            let client: [u8; 4] = header[16..20].try_into().expect("four");
            Some((Ipv4Addr::from(client), port(24)).into())
        }
        (1, 0x21) => {
            let client: [u8; 16] = header[16..32].try_into().expect("sixteen");
            Some(SocketAddr::new(IpAddr::from(Ipv6Addr::from(client)).to_canonical(), port(48)))
        }
        _ => None,
    }
}

/// The query of an update request: few hosts, each a name in its one form, and an answer of one line.
pub fn check_in(data: &[u8]) {
    let query = String::from_utf8_lossy(data);
    let update = Update::parse(&query);
    assert!(update.hosts.len() <= 21, "{} hosts", update.hosts.len());
    for host in &update.hosts {
        let Host::Name(name) = host else { continue };
        assert_eq!(name.as_str().parse().as_ref(), Ok(name));
        assert!(name.as_str().contains('.') && !name.is_address_literal());
    }
    assert_eq!(update.refusal().is_none(), (1..=20).contains(&update.hosts.len()));
    let peer = IpAddr::from(Ipv4Addr::LOCALHOST);
    let is_unclear = update.at == At::Unclear;
    match update.at.resolve(peer) {
        Some(addresses) => {
            assert!((1..=2).contains(&addresses.len()) && !is_unclear);
            let line = Answer::Good(addresses).to_string();
            assert!(line.starts_with("good ") && !line.contains(char::is_control));
        }
        None => assert!(is_unclear),
    }
}

/// Logins by SCRAM and CRAM-MD5, one message a line: no proof is accepted but that of the password, and what is said
/// back is one printable line.
pub fn login(data: &[u8]) {
    let (choice, rest) = knob(data);
    let mut lines = rest.splitn(2, |byte| *byte == b'\n');
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if let Some((user, digest)) = cram_md5::response(first) {
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let written = String::from_utf8_lossy(first).to_ascii_lowercase();
        assert_eq!(written, format!("{} {hex}", user.to_ascii_lowercase()), "another digest than was written");
        assert!(!cram_md5::accepts("a secret", "<1@mx.example.net>", &digest) || first.starts_with(b"ok "));
    }
    if let Ok(verifier) = String::from_utf8_lossy(first).parse::<ScramVerifier>() {
        assert_eq!(verifier.to_string().parse().as_ref(), Ok(&verifier));
        assert!((4096..=10_000_000).contains(&verifier.iterations));
    }
    let Some(first) = ClientFirst::parse(first) else { return };
    assert!(!first.user.is_empty());
    let user = first.user.clone();
    // Nobody has a password that fits this one.
    let verifier = ScramVerifier::of_nobody(vec![choice; 16]);
    let (challenged, said) = first.challenge(&verifier, "3rfcNHYJY1ZVvWVs7j");
    assert!(said.bytes().all(|byte| byte.is_ascii_graphic()), "{said:?}");
    assert_eq!(challenged.user(), user);
    // As a client has it whose message this is: with the nonce that it was given.
    let nonce = said.split(',').next().unwrap_or_default();
    let last = String::from_utf8_lossy(second).replace("NONCE", nonce);
    if let Some(proof) = challenged.proof(last.as_bytes()) {
        assert!(!verifier.accepts(&proof), "proven without a password");
        assert!(verifier.server_final(&proof).bytes().all(|byte| byte.is_ascii_graphic()));
    }
}
