//! Mail that is made to do harm: oversize, nested without end, with control characters and paths in it, going in circles.

use super::support::{
    faulty_hop::{Act, Fault, FaultyHop, Step},
    gateway::{Gateway, Home},
    next_hop::{NextHop, free_address},
    smtp::{Client, send},
    until,
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

fn serve(home: &Home, domain: &str, next_hop: SocketAddr, more: &str) {
    home.domain(domain, &format!("next-hop = \"{next_hop}\"\naccept = \"always\"\n{more}"));
}

/// Greeted, with a transaction open up to the data.
fn in_data(gateway: &Gateway<'_>, recipient: &str) -> Client {
    let mut client = Client::connect(gateway.smtp);
    for line in ["MAIL FROM:<ann@client.test>", &format!("RCPT TO:<{recipient}>"), "DATA"] {
        assert!(client.command(line).starts_with(['2', '3']), "{line}");
    }
    client
}

fn data(gateway: &Gateway<'_>, recipient: &str, content: &[u8]) -> String {
    let mut client = in_data(gateway, recipient);
    client.send(content).unwrap();
    client.command("\r\n.")
}

/// S7.
#[test]
fn what_is_larger_than_any_mail_needs_has_its_code_and_the_session_goes_on() {
    let hop = NextHop::start();
    let home = Home::new("");
    serve(&home, "example.org", hop.address, "");
    let gateway = home.start();
    let mut client = Client::connect(gateway.smtp);
    let ten_megabytes = "x".repeat(10 << 20);
    assert!(client.command(&format!("NOOP {ten_megabytes}")).starts_with("500 5.5.2 "));
    for (header, code) in [
        ("X: y\r\n".repeat(1_000_000), "552 5.3.4 [WP-HEADER]"),
        ("X: y\r\n".repeat(10_001), "554 5.6.0 [WP-HEADER]"),
        (format!("X: {}\r\n", "y".repeat(1 << 20)), "552 5.3.4 [WP-HEADER]"),
        (format!("X: y\r\n{}", " y\r\n".repeat(300_000)), "552 5.3.4 [WP-HEADER]"),
    ] {
        let reply = data(&gateway, "bob@example.org", format!("{header}\r\nbody").as_bytes());
        assert!(reply.starts_with(code), "{reply}");
    }
    // A long line of text is the next hop's to judge.
    assert!(data(&gateway, "bob@example.org", format!("\r\n{ten_megabytes}").as_bytes()).starts_with("250 "));
    assert!(hop.wait(1).remove(0).without_trace().len() == (10 << 20) + 4);
    assert!(client.command("MAIL FROM:<ann@client.test>").starts_with("250 "));
    client.send("RCPT TO:<bob@example.org>\r\n".repeat(10_000).as_bytes()).unwrap();
    let replies: Vec<String> = (0..10_000).map(|_| client.reply().unwrap()).collect();
    assert!(replies[..1000].iter().all(|reply| reply.starts_with("250 ")));
    assert!(replies[1000..].iter().all(|reply| reply.starts_with("452 4.5.3 ")));
    assert!(client.command("RSET").starts_with("250 "));
    let parameters = client.command(&format!("MAIL FROM:<ann@client.test>{}", " X=1".repeat(400)));
    assert!(parameters.starts_with("501 ") || parameters.starts_with("555 "), "{parameters}");
    gateway.wait_until_empty();
    gateway.stop();
}

fn nested(depth: usize) -> Vec<u8> {
    let mut mail = "Content-Type: multipart/mixed; boundary=b0\r\n\r\n".to_owned();
    for level in 0..depth {
        mail += &format!("--b{level}\r\nContent-Type: multipart/mixed; boundary=b{}\r\n\r\n", level + 1);
    }
    mail.into_bytes()
}

/// Mails that only a parser makes large.
fn bombs() -> Vec<Vec<u8>> {
    let mut bombs: Vec<Vec<u8>> = [1, 10, 100, 1_000, 10_000, 100_000].map(nested).into();
    let rfc822 = "Content-Type: message/rfc822\r\n\r\n";
    bombs.extend([1, 100, 100_000].map(|depth| rfc822.repeat(depth).into_bytes()));
    // Each part's boundary is its parent's.
    let cyclic = "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n";
    bombs.push(cyclic.repeat(20_000).into_bytes());
    bombs.push(format!("{cyclic}{}", format!("{rfc822}{cyclic}").repeat(10_000)).into_bytes());
    bombs.push(format!("{cyclic}{}", "\r\n--a\r\n\r\nx".repeat(100_000)).into_bytes());
    bombs.push(b"Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n----\r\n--\r\n--\r\n".to_vec());
    bombs.push(
        b"Content-Type: multipart/mixed; boundary=a; boundary*0=b; boundary*1*=''c%00\r\n\r\n--a--\r\n--b".to_vec(),
    );
    bombs.push(format!("Content-Type: {}\r\n\r\nxxxx", "a/b; c=\"d\\\"e\"; ".repeat(5_000)).into_bytes());
    bombs.push(
        format!("Content-Transfer-Encoding: base64\r\nSubject: {}\r\n\r\n====", "=?utf-8?B?4oI=?=".repeat(50))
            .into_bytes(),
    );
    bombs
}

/// S8: a plugin of the domain looks into every part.
#[test]
fn no_nest_of_parts_is_lost_or_keeps_others_waiting() {
    let (hop, other) = (NextHop::start(), NextHop::start());
    let home = Home::new("");
    home.with_plugin("hostile");
    let plugin = "plugins = [{ use = \"hostile\", config = { message = \"read\" } }]\n";
    serve(&home, "example.org", hop.address, plugin);
    serve(&home, "other.example", other.address, "");
    let gateway = home.start();
    let bombs = bombs();
    for (nth, bomb) in bombs.iter().enumerate() {
        let mut client = in_data(&gateway, "bob@example.org");
        client.send(&[bomb, &b"\r\n.\r\n"[..]].concat()).unwrap();
        let before = Instant::now();
        assert!(send(gateway.smtp, "ann@client.test", "eve@other.example", "honest").starts_with("250 "));
        assert!(before.elapsed() < Duration::from_secs(5), "mail {nth} kept another waiting");
        let reply = client.reply().unwrap();
        assert!(reply.starts_with("250 "), "mail {nth}: {reply}");
    }
    other.wait(bombs.len());
    // The plugin has looked into each, and said how many parts it saw: it quarantines all.
    let held = until("all to be held", || {
        let held = gateway.listed(&["--state", "quarantined"]);
        (held.len() == bombs.len()).then_some(held)
    });
    assert!(held.iter().all(|entry| entry["reason"].as_str().is_some_and(|reason| reason.contains('|'))), "{held:?}");
    home.output(&["queue", "release", "--domain", "example.org"]);
    let arrived = hop.wait(bombs.len());
    let mut arrived: Vec<Vec<u8>> = arrived.iter().map(|mail| mail.without_trace().to_vec()).collect();
    let mut expected: Vec<Vec<u8>> = bombs.iter().map(|bomb| [bomb, &b"\r\n"[..]].concat()).collect();
    arrived.sort();
    expected.sort();
    assert!(arrived == expected, "a mail is not as it was sent");
    gateway.wait_until_empty();
    gateway.stop();
}

/// S6: what a client says of itself and of its mail breaks out of no line of anything that we write.
#[test]
fn nothing_that_a_client_says_breaks_out_of_a_field_a_notification_or_the_log() {
    let hop = NextHop::start();
    let home = Home::new("");
    serve(&home, "example.org", hop.address, "");
    serve(&home, "gone.example", free_address(), "retention = \"1 s\"\n");
    serve(&home, "client.test", hop.address, "");
    let gateway = home.start();
    let mut client = Client::connect(gateway.smtp);
    for refused in ["EHLO a\x07b", "EHLO a\0b", "EHLO a\rX: y", "EHLO a\nX: y", "NOOP \x1b[2J", "EHLO a b"] {
        assert!(client.command(refused).starts_with("50"), "{refused:?}");
    }
    for refused in ["ENVID=a+0D+0AX-Injected:+20yes", "ENVID=a+00", "ENVID=a+1B"] {
        assert!(client.command(&format!("MAIL FROM:<ann@client.test> {refused}")).starts_with("501 "));
    }
    client.command("EHLO (a);\"b\"<c>\\d@e,f={g}$(h)`i`");
    assert!(client.mail("ann@client.test", "bob@example.org", "Subject: x\r\n\r\nx").starts_with("250 "));
    let mail = hop.wait(1).remove(0).text();
    let received = mail.split("\r\n by ").next().unwrap();
    assert!(received.starts_with("Received: from ?a???b??c??d?e?f??g???h??i? ([127.0.0.1])"), "{received}");
    // What xtext hides comes out in a notification as text of one line.
    assert!(client.command("MAIL FROM:<ann@client.test> ENVID=a+22+3Cb+3E RET=HDRS").starts_with("250 "));
    for refused in ["rfc822;a+0D+0AX-Injected:+20yes", "rfc822;a+0A", "rf(c822;a", "utf-8;a\x1b"] {
        assert!(
            client.command(&format!("RCPT TO:<bob@gone.example> ORCPT={refused}")).starts_with("50"),
            "{refused:?}"
        );
    }
    let orcpt = "ORCPT=rfc822;\"a+3Cb+3E,c;d\"@gone.example NOTIFY=FAILURE";
    assert!(client.command(&format!("RCPT TO:<\"x, <y>\"@gone.example> {orcpt}")).starts_with("250 "));
    assert!(client.command("DATA").starts_with("354 "));
    assert!(client.command("Subject: x\r\n\r\nx\r\n.").starts_with("250 "));
    let notification = hop.wait(2).remove(1).text();
    assert!(!notification.to_ascii_lowercase().contains("x-injected"), "{notification}");
    assert!(notification.contains("Original-Envelope-Id: "), "{notification}");
    gateway.wait_until_empty();
    gateway.stop();
    let log = home.log();
    assert!(!log.to_ascii_lowercase().contains("\nx-injected"));
    let control = log.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "raw in the log");
}

fn all_paths(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { all_paths(&path) } else { vec![path] }).collect()
}

/// S15: no address is a path, a command or a format to anybody here.
#[test]
fn addresses_are_text_whatever_they_look_like() {
    let hop = NextHop::start();
    let home = Home::new("");
    serve(&home, "example.org", hop.address, "record = {}\n");
    let gateway = home.start();
    let locals =
        ["${run{touch${IFS}harm}}", "|touch_harm", "/harm", "`touch_harm`", "%s%n%n", "{0}{harm}", "$HARM", "-harm"];
    let quoted = ["\"../../../harm\"", "\"; touch harm;\"", "\"$(touch harm)\"", "\"| touch harm\""];
    let mut expected = 0;
    for local in locals.iter().chain(&quoted) {
        let address = format!("{local}@example.org");
        let mut client = Client::connect(gateway.smtp);
        client.command(&format!("EHLO {}", local.replace(' ', "")));
        let reply = client.mail(&address, &address, &format!("Subject: {local}\r\n\r\n{local}"));
        // S11: a percent sign routes, elsewhere.
        if local.contains('%') {
            assert!(reply.starts_with("550 5.7.1 "), "{address}: {reply}");
            continue;
        }
        assert!(reply.starts_with("250 "), "{address}: {reply}");
        expected += 1;
        let mails = hop.wait(expected);
        assert_eq!(mails[expected - 1].recipients, [address.as_str()]);
    }
    gateway.wait_until_empty();
    gateway.stop();
    let paths = all_paths(&home.path("."));
    let harmed = paths.iter().find(|path| path.to_string_lossy().contains("harm"));
    assert!(harmed.is_none(), "{harmed:?}");
    assert!(!home.path("../harm").exists() && !Path::new("harm").exists());
}

/// S15: a million lines of one reply.
#[test]
fn a_reply_without_end_defers_its_mail_and_nobody_elses() {
    let endless = FaultyHop::start(Fault { step: Step::Mail, act: Act::Flood("250-and so on\r\n"), lmtp: false });
    let hop = NextHop::start();
    let home = Home::new("");
    serve(&home, "endless.example", endless.address, "");
    serve(&home, "example.org", hop.address, "");
    let gateway = home.start();
    assert!(send(gateway.smtp, "ann@client.test", "bob@endless.example", "x").starts_with("250 "));
    assert!(send(gateway.smtp, "ann@client.test", "bob@example.org", "x").starts_with("250 "));
    hop.wait(1);
    let entry = until("an attempt to end", || {
        let entry = gateway.listed(&["--recipient", "bob@endless.example"]).into_iter().next()?;
        (entry["attempts"].as_u64()? > 0).then_some(entry)
    });
    assert!(entry["reason"].to_string().len() < 4000, "{entry}");
    gateway.kill();
}

fn pair(own: SocketAddr, other: SocketAddr, told: SocketAddr, name: &str) -> Home {
    let home = Home::new("");
    let text = std::fs::read_to_string(home.path("waypost.toml")).unwrap();
    let text = text.replace("\"gw.test\"", &format!("\"{name}.test\""));
    let (head, _) = text.rsplit_once("address = ").unwrap();
    home.write("waypost.toml", &format!("{head}address = \"{own}\"\n"));
    serve(&home, "example.org", other, "");
    serve(&home, "client.test", told, "");
    home
}

/// S9, S10.
#[test]
fn two_gateways_that_point_at_each_other_end_the_circle_and_tell_the_sender_once() {
    let told = NextHop::start();
    let (one, two) = (free_address(), free_address());
    let (first, second) = (pair(one, two, told.address, "one"), pair(two, one, told.address, "two"));
    let (gateways, homes) = ([first.start(), second.start()], [&first, &second]);
    assert!(send(one, "ann@client.test", "bob@example.org", "round").starts_with("250 "));
    let notification = told.wait(1).remove(0);
    assert!(notification.mail.starts_with("MAIL FROM:<>"));
    assert!(notification.text().contains("5.4.6"), "{}", notification.text());
    // Nobody is told of a notification.
    assert!(send(two, "", "bob@example.org", "round again").starts_with("250 "));
    let loops = || homes.iter().map(|home| home.log().matches("reason=\"loop\"").count()).sum::<usize>();
    until("the second mail to be refused", || (loops() >= 2).then_some(()));
    gateways.iter().for_each(Gateway::wait_until_empty);
    gateways.into_iter().for_each(Gateway::stop);
    assert_eq!((loops(), told.count()), (2, 1));
}
