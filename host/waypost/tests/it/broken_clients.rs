//! Clients that break off, send garbage or only sit there: no mail appears that was not complete, and others are served.

use super::support::{
    gateway::{Gateway, Home},
    next_hop::NextHop,
    smtp::{Client, send},
    until,
};
use std::net::Shutdown;

fn home(gateway: &str, next_hop: &NextHop) -> Home {
    let home = Home::new(gateway);
    home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n", next_hop.address));
    home
}

/// Greeted, with these lines sent and answered.
fn after(gateway: &Gateway<'_>, lines: &[&str]) -> Client {
    let mut client = Client::connect(gateway.smtp);
    for line in lines {
        let reply = client.command(line);
        assert!(reply.starts_with(['2', '3']), "{line}: {reply}");
    }
    client
}

/// An honest mail gets through; it is the only one that has come since `before`.
fn still_serves(gateway: &Gateway<'_>, next_hop: &NextHop, before: usize) {
    assert!(send(gateway.smtp, "ann@client.test", "bob@example.org", "honest").starts_with("250 "));
    let arrived = next_hop.wait(before + 1);
    assert_eq!(arrived.len(), before + 1);
    assert!(arrived[before].text().contains("Subject: honest\r\n"), "{}", arrived[before].text());
    gateway.wait_until_empty();
}

const MAIL: &str = "MAIL FROM:<ann@client.test>";
const RCPT: &str = "RCPT TO:<bob@example.org>";

#[test]
fn a_client_that_breaks_off_before_the_end_leaves_no_mail() {
    let next_hop = NextHop::start();
    let home = home("", &next_hop);
    let gateway = home.start();
    let half = b"Subject: half\r\n\r\nNot the end".as_slice();
    let cases: [(&[&str], &[u8]); 10] = [
        (&[], b""),
        (&[], b"MAIL FR"),
        (&[MAIL], b""),
        (&[MAIL, RCPT], b""),
        (&[MAIL, RCPT, "DATA"], b""),
        (&[MAIL, RCPT, "DATA"], half),
        (&[MAIL, RCPT, "DATA"], b"Subject: half\r\n\r\nNot the end\r\n."),
        (&[MAIL, RCPT, "DATA"], b"Subject: half\r\n\r\nNot the end\r\n.\r"),
        (&[MAIL, RCPT], b"BDAT 1000 LAST\r\nSubject: half\r\n\r\nNot the end"),
        (&[MAIL, RCPT], b"BDAT 17\r\nSubject: half\r\n\r\n"),
    ];
    for (lines, last) in cases {
        // One ends its side only and reads on, the other is gone at once.
        let mut client = after(&gateway, lines);
        client.send(last).unwrap();
        client.stream().shutdown(Shutdown::Write).unwrap();
        while client.reply().is_some_and(|reply| !reply.is_empty()) {}
        let mut client = after(&gateway, lines);
        client.send(last).unwrap();
        drop(client);
    }
    still_serves(&gateway, &next_hop, 0);
    gateway.stop();
}

#[test]
fn a_complete_mail_counts_though_nobody_reads_the_reply() {
    let next_hop = NextHop::start();
    let home = home("", &next_hop);
    let gateway = home.start();
    for (lines, last) in [
        (&[MAIL, RCPT, "DATA"][..], &b"Subject: whole\r\n\r\nThe end.\r\n.\r\n"[..]),
        (&[MAIL, RCPT], b"BDAT 28 LAST\r\nSubject: whole\r\n\r\nThe end.\r\n"),
    ] {
        let mut client = after(&gateway, lines);
        client.send(last).unwrap();
        // What was written arrives before the end of the connection does.
        drop(client);
    }
    let arrived = next_hop.wait(2);
    assert!(
        arrived.iter().all(|mail| mail.below_marker("Subject: whole") == Some(b"Subject: whole\r\n\r\nThe end.\r\n"))
    );
    still_serves(&gateway, &next_hop, 2);
    gateway.stop();
}

#[test]
fn thirty_megabytes_that_end_in_the_middle_are_forgotten() {
    let next_hop = NextHop::start();
    let home = home("", &next_hop);
    let gateway = home.start();
    let line = [b"x".repeat(998), b"\r\n".to_vec()].concat();
    for _ in 0..3 {
        let mut client = after(&gateway, &[MAIL, RCPT, "DATA"]);
        client.send(b"Subject: large\r\n\r\n").unwrap();
        let part = line.repeat(1000);
        for _ in 0..30 {
            client.send(&part).unwrap();
        }
    }
    still_serves(&gateway, &next_hop, 0);
    let spooled: u64 = walk(&home.path("data/queue"));
    assert!(spooled < 10 << 20, "{spooled} bytes on disk for one small mail");
    gateway.stop();
}

/// Bytes of all files.
fn walk(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { entry.metadata().unwrap().len() }).sum()
}

#[test]
fn an_honest_client_is_served_among_many_idle_ones() {
    let next_hop = NextHop::start();
    let home = home("", &next_hop);
    let gateway = home.start();
    let states: [&[&str]; 4] = [&[], &[MAIL], &[MAIL, RCPT], &[MAIL, RCPT, "DATA"]];
    let idle: Vec<Client> = (0..400).map(|i| after(&gateway, states[i % states.len()])).collect();
    still_serves(&gateway, &next_hop, 0);
    drop(idle);
    still_serves(&gateway, &next_hop, 1);
    gateway.stop();
}

#[test]
fn garbage_is_answered_with_errors_and_then_the_door() {
    let next_hop = NextHop::start();
    let home = home("", &next_hop);
    let gateway = home.start();
    let random: Vec<u8> = (0..200_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let tls: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let long = [b"NOOP ".to_vec(), b"x".repeat(100_000), b"\r\n".to_vec()].concat();
    let endless = b"y".repeat(1 << 20);
    for garbage in [&random[..], tls, b"GET / HTTP/1.1\r\nHost: mx.test\r\n\r\n", &long, &endless, b"\0\0\0\r\n"] {
        let mut client = Client::connect(gateway.smtp);
        // The gateway may hang up while it is still being written.
        let _ = client.send(garbage);
        let _ = client.stream().shutdown(Shutdown::Write);
        while let Some(reply) = client.reply().filter(|reply| !reply.is_empty()) {
            assert!(reply.starts_with(['4', '5']), "{reply}");
        }
    }
    let mut client = Client::connect(gateway.smtp);
    assert!(client.command(std::str::from_utf8(&long).unwrap().trim_end()).starts_with("500 "), "too long a line");
    assert!(client.command("NOOP").starts_with("250 "), "and the session goes on behind it");
    let mut last = String::new();
    for _ in 0..50 {
        let reply = client.command("BOGUS");
        if reply.is_empty() {
            break;
        }
        last = reply;
    }
    assert!(last.starts_with("421 "), "{last}");
    still_serves(&gateway, &next_hop, 0);
    gateway.stop();
}

#[test]
fn connections_beyond_the_limit_are_answered_421() {
    let next_hop = NextHop::start();
    let home = home("max-connections = 5\n", &next_hop);
    let gateway = home.start();
    let mut open: Vec<Client> = (0..5).map(|_| Client::connect(gateway.smtp)).collect();
    let mut refused = Client::open(gateway.smtp);
    assert!(refused.reply().unwrap().starts_with("421 4.3.2 [WP-CROWDED]"));
    assert_eq!(refused.reply(), None);
    assert!(open[0].mail("ann@client.test", "bob@example.org", "Subject: x\r\n\r\nHello.").starts_with("250 "));
    next_hop.wait(1);
    drop(open);
    until("a place to be free", || Client::open(gateway.smtp).reply().filter(|reply| reply.starts_with("220 ")));
    still_serves_soon(&gateway, &next_hop);
    gateway.stop();
}

/// The places of the connections that have just ended become free one after the other.
fn still_serves_soon(gateway: &Gateway<'_>, next_hop: &NextHop) {
    until("an accepted mail", || {
        let mut client = Client::open(gateway.smtp);
        client.reply().filter(|reply| reply.starts_with("220 "))?;
        client.command("EHLO client.test");
        Some(client.mail("ann@client.test", "bob@example.org", "Subject: y\r\n\r\nHello."))
            .filter(|reply| reply.starts_with("250 "))
    });
    next_hop.wait(2);
}

#[test]
fn one_address_cannot_take_all_places() {
    let next_hop = NextHop::start();
    let home = home("", &next_hop);
    let text = std::fs::read_to_string(home.path("waypost.toml")).unwrap();
    home.write("waypost.toml", &text.replace("per-address = 1000", "per-address = 3"));
    let gateway = home.start();
    let open: Vec<Client> = (0..3).map(|_| Client::connect(gateway.smtp)).collect();
    assert!(Client::open(gateway.smtp).reply().unwrap().starts_with("421 4.7.0 [WP-CROWDED]"));
    drop(open);
    gateway.stop();
}
