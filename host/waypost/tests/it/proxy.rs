//! Behind a load balancer: who the client is comes from a PROXY header, of those who may say so, and of nobody else.

use super::support::{
    gateway::{Gateway, Home},
    next_hop::{NextHop, free_address},
    smtp::Client,
    tools::tool,
    until,
};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Stdio},
};

const FROM_LOOPBACK: &str = "proxy-protocol-from = [\"127.0.0.1\"]\n";

/// One listener, with these keys.
fn home(keys: &str, listener: &str, next_hop: &NextHop) -> Home {
    let home = Home::new("");
    home.write(
        "waypost.toml",
        &format!("hostname = \"gw.test\"\n{keys}\n[admin]\nlisten = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n{listener}"),
    );
    home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n", next_hop.address));
    home
}

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, block].concat()
}

/// 2001:db8::7, with something said beside the addresses.
fn v2_over_ipv6() -> Vec<u8> {
    let (mut client, mut here) = ([0; 16], [0; 16]);
    (client[..4]).copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    (client[15], here[15]) = (7, 1);
    v2(0x21, 0x21, &[&client[..], &here, &[0x10, 0, 0, 25], b"\x02\x00\x07gw.test"].concat())
}

fn behind(smtp: SocketAddr, header: &[u8]) -> Client {
    let mut client = Client::open(smtp);
    client.send(header).unwrap();
    client
}

/// Its Received says where a mail came from.
fn relayed_from(client: &mut Client, next_hop: &NextHop) -> String {
    let before = next_hop.count();
    assert!(client.reply().unwrap().starts_with("220 "));
    client.command("EHLO client.test");
    assert!(client.mail("ann@client.test", "bob@example.org", "Subject: x\r\n\r\nx").starts_with("250 "));
    let text = next_hop.wait(before + 1)[before].text();
    let start = text.find("([").unwrap() + 2;
    text[start..text[start..].find("])").unwrap() + start].to_owned()
}

fn hears_nothing(mut client: Client) {
    assert_eq!(client.reply(), None);
}

#[test]
fn a_listed_peer_says_who_the_client_is_and_that_is_who_counts() {
    let next_hop = NextHop::start();
    let home = home("max-connections-per-address = 1", FROM_LOOPBACK, &next_hop);
    let gateway = home.start();
    let first = b"PROXY TCP4 192.0.2.7 198.51.100.1 4096 25\r\n";
    let mut client = behind(gateway.smtp, first);
    assert_eq!(relayed_from(&mut client, &next_hop), "192.0.2.7");
    let refused = behind(gateway.smtp, first).reply().unwrap();
    assert_eq!(refused, "421 4.7.0 [WP-CROWDED] Too many connections from your address");
    let mut other = behind(gateway.smtp, &v2_over_ipv6());
    assert_eq!(relayed_from(&mut other, &next_hop), "IPv6:2001:db8::7");
    assert!(home.log().contains("peer=192.0.2.7:4096"), "{}", home.log());
    drop(client);
    until("the place to be free", || behind(gateway.smtp, first).reply().filter(|reply| reply.starts_with("220 ")));
    // A balancer that speaks for itself is a client of its own.
    for header in [&b"PROXY UNKNOWN\r\n"[..], &v2(0x20, 0, b"")] {
        until("the balancer's own place", || {
            behind(gateway.smtp, header).reply().filter(|reply| reply.starts_with("220 "))
        });
    }
    assert_eq!(relayed_from(&mut behind_when_free(&gateway, b"PROXY UNKNOWN\r\n"), &next_hop), "127.0.0.1");
    gateway.stop();
}

/// A connection of the one address whose last one may still be ending.
fn behind_when_free(gateway: &Gateway<'_>, header: &[u8]) -> Client {
    until("a free place", || {
        let free = gateway.metric("waypost_connections") == "1";
        free.then(|| behind(gateway.smtp, header))
    })
}

#[test]
fn a_listed_peer_without_a_proper_header_is_not_answered() {
    let next_hop = NextHop::start();
    let home = home("limits = { proxy-header = \"1 s\" }", FROM_LOOPBACK, &next_hop);
    let gateway = home.start();
    let wrong: [&[u8]; 6] = [
        b"EHLO client.test\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4096 25\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4096 25 \r\nEHLO client.test\r\n",
        b"PROXY TCP4 192.0.2.7",
        b"",
        &v2(0x21, 0x11, b"short"),
    ];
    for header in wrong {
        hears_nothing(behind(gateway.smtp, header));
    }
    assert_eq!(gateway.metric("waypost_cut_total{reason=\"proxy\"}"), wrong.len().to_string());
    // Cut anywhere, it is one header all the same.
    let mut client = Client::open(gateway.smtp);
    for byte in v2_over_ipv6() {
        client.send(&[byte]).unwrap();
    }
    assert_eq!(relayed_from(&mut client, &next_hop), "IPv6:2001:db8::7");
    assert_eq!(next_hop.count(), 1);
    gateway.stop();
}

#[test]
fn nobody_else_is_believed() {
    let next_hop = NextHop::start();
    let home = home("", FROM_LOOPBACK, &next_hop);
    let gateway = home.start();
    for header in [b"PROXY TCP4 192.0.2.7 198.51.100.1 4096 25\r\n".to_vec(), v2_over_ipv6()] {
        // Before the greeting they are somebody who talks too early.
        gateway.signal("STOP");
        let mut stranger = Client::open_from([127, 0, 0, 2], gateway.smtp);
        stranger.send(&header).unwrap();
        gateway.signal("CONT");
        assert_eq!(stranger.reply().unwrap(), "554 5.5.1 [WP-EARLY] You sent something before the greeting");
        assert_eq!(stranger.reply(), None);
    }
    // Behind it they are a command that nobody knows.
    let mut stranger = Client::open_from([127, 0, 0, 2], gateway.smtp);
    assert!(stranger.reply().unwrap().starts_with("220 "));
    assert!(stranger.command("PROXY TCP4 192.0.2.7 198.51.100.1 4096 25").starts_with("500 "));
    stranger.command("EHLO client.test");
    assert!(stranger.mail("ann@client.test", "bob@example.org", "Subject: x\r\n\r\nx").starts_with("250 "));
    let text = next_hop.wait(1)[0].text();
    assert!(text.contains("([127.0.0.2])") && !text.contains("192.0.2.7"), "{text}");
    gateway.stop();
}

#[test]
fn the_header_goes_before_the_handshake_where_tls_is_implicit() {
    let next_hop = NextHop::start();
    let home = home("", &format!("tls = \"implicit\"\n{FROM_LOOPBACK}"), &next_hop);
    let gateway = home.start();
    let mut tcp = TcpStream::connect(gateway.smtp).unwrap();
    let mut tls = rustls::ClientConnection::new(home.trusting(), "gw.test".try_into().unwrap()).unwrap();
    // In one segment with the start of the handshake: not a byte of it may be lost.
    let mut first = v2_over_ipv6();
    tls.write_tls(&mut first).unwrap();
    tcp.write_all(&first).unwrap();
    let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 ");
    stream
        .write_all(b"EHLO client.test\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n")
        .unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("354 ") {
        let mut buffer = [0; 1000];
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&buffer[..read]);
    }
    stream.write_all(b"Subject: x\r\n\r\nx\r\n.\r\n").unwrap();
    let text = next_hop.wait(1)[0].text();
    assert!(text.contains("([IPv6:2001:db8::7])") && text.contains("with ESMTPS"), "{text}");
    gateway.stop();
}

/// Killed when dropped.
struct Haproxy(Child);

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// In front of the gateway, with health checks, and with this on its server line.
fn haproxy(home: &Home, address: SocketAddr, gateway: SocketAddr, send: &str) -> Haproxy {
    let file = home.path("haproxy.cfg");
    let text = format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         frontend smtp\n  bind {address}\n  default_backend waypost\n\
         backend waypost\n  server one {gateway} {send} check inter 200ms\n"
    );
    fs::write(&file, text).unwrap();
    let child = tool("haproxy").args(["-db", "-f"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Haproxy(child.unwrap())
}

#[test]
fn haproxy_says_who_the_client_is_in_either_version() {
    let next_hop = NextHop::start();
    let home = home("", FROM_LOOPBACK, &next_hop);
    let gateway = home.start();
    for (send, from) in [("send-proxy", [127, 0, 0, 7]), ("send-proxy-v2", [127, 0, 0, 8])] {
        let address = free_address();
        let _balancer = haproxy(&home, address, gateway.smtp, send);
        until("haproxy to listen", || TcpStream::connect(address).ok());
        let mut client = Client::open_from(from, address);
        assert_eq!(relayed_from(&mut client, &next_hop), SocketAddr::from((from, 0)).ip().to_string(), "{send}");
    }
    gateway.stop();
}
