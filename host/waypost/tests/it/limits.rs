//! Clients that take more than their share, of time or of anything: each limit ends them, and nobody else notices.

use super::support::{
    gateway::{Gateway, Home},
    next_hop::NextHop,
    smtp::{Client, send},
    until,
};
use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

/// `limits` stands behind the plain keys.
fn home(limits: &str, next_hop: &NextHop) -> Home {
    let home = Home::new("");
    configure(&home, limits);
    home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n", next_hop.address));
    home
}

fn configure(home: &Home, limits: &str) {
    home.write(
        "waypost.toml",
        &format!("hostname = \"gw.test\"\n{limits}\n[admin]\nlisten = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n"),
    );
}

const MAIL: &str = "MAIL FROM:<ann@client.test>";
const RCPT: &str = "RCPT TO:<bob@example.org>";

/// All that comes until the connection ends, while `piece` is sent again and again with `pause` between.
fn trickle(mut client: Client, before: &[&str], piece: &[u8], pause: Duration) -> (String, Duration) {
    for line in before {
        let reply = client.command(line);
        assert!(reply.starts_with(['2', '3', '5']), "{line}: {reply}");
    }
    let mut stream = client.stream().try_clone().unwrap();
    stream.set_read_timeout(Some(pause)).unwrap();
    let (begun, mut heard, mut buffer) = (Instant::now(), Vec::new(), [0; 4096]);
    while begun.elapsed() < Duration::from_secs(60) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => heard.extend_from_slice(&buffer[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if stream.write_all(piece).is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    (String::from_utf8_lossy(&heard).into_owned(), begun.elapsed())
}

#[test]
fn who_sends_a_byte_now_and_then_is_cut_off_in_every_state_while_others_are_served() {
    let next_hop = NextHop::start();
    let home = home(
        "limits = { idle = \"2 s\", command = \"1 s\", message = \"4 s\", least-rate = \"10 KiB\", stall = \"1 s\", handshake = \"1 s\" }",
        &next_hop,
    );
    let gateway = home.start();
    let long = format!("NOOP {}", "x".repeat(3000));
    let chunk = format!("BDAT 1000000\r\n{}", "x".repeat(10));
    let started = "\u{16}\u{3}\u{1}\u{40}".to_owned();
    // The lines before; sent at once behind them; then the piece, again and again; how it ends.
    let slow = "421 4.4.2 [WP-SLOW]";
    let cases: [(&[&str], &str, &[u8], &str); 11] = [
        (&[], "", b"", "421 4.4.2 [WP-IDLE]"),
        (&[], "EH", b"x", slow),
        (&[], "MAIL", b" ", slow),
        (&[MAIL], "RCPT TO:<", b"x", slow),
        (&[MAIL, RCPT], "DA", b"T", slow),
        (&[], &long, b"x", slow),
        (&[MAIL, RCPT, "DATA"], "Subject: x\r\n", b"x", slow),
        (&[MAIL, RCPT, "DATA"], "bare\nline", b"x", slow),
        (&[MAIL, RCPT], &chunk, b"x", slow),
        (&[], &chunk, b"x", slow),
        (&["STARTTLS"], &started, b"x", ""),
    ];
    std::thread::scope(|scope| {
        let ended: Vec<_> = cases
            .iter()
            .map(|(before, first, piece, end)| {
                let smtp = gateway.smtp;
                let case = format!("{before:?} {:.20}", first.escape_debug().to_string());
                let run = scope.spawn(move || {
                    let mut client = Client::connect(smtp);
                    let before = before.iter().map(|line| client.command(line)).collect::<Vec<_>>();
                    assert!(before.iter().all(|reply| reply.starts_with(['2', '3'])), "{before:?}");
                    client.send(first.as_bytes()).unwrap();
                    trickle(client, &[], piece, Duration::from_millis(200))
                });
                (case, end, run)
            })
            .collect();
        // At full speed, and without an end.
        let fast = scope.spawn(|| {
            let line = [b"x".repeat(1000), b"\r\n".to_vec()].concat();
            trickle(Client::connect(gateway.smtp), &[MAIL, RCPT, "DATA"], &line.repeat(20), Duration::from_millis(50))
        });
        assert!(send(gateway.smtp, "ann@client.test", "bob@example.org", "honest").starts_with("250 "));
        next_hop.wait(1);
        for (case, end, run) in ended {
            let (heard, after) = run.join().unwrap();
            assert!(heard.starts_with(*end) && heard.lines().count() <= 1, "{case}: {heard:?}");
            assert!(after < Duration::from_secs(10), "{case}: {after:?}");
        }
        let (heard, after) = fast.join().unwrap();
        assert!(heard.starts_with(slow) && after >= Duration::from_secs(3), "{heard:?} {after:?}");
    });
    for (reason, count) in [("idle", 1), ("command", 5), ("slow", 4), ("message", 1), ("handshake", 1), ("early", 0)] {
        assert_eq!(gateway.metric(&format!("waypost_cut_total{{reason=\"{reason}\"}}")), count.to_string(), "{reason}");
    }
    assert_eq!(next_hop.count(), 1);
    gateway.stop();
}

#[test]
fn a_flood_of_commands_that_bring_no_mail_ends_with_421() {
    let next_hop = NextHop::start();
    let home = home("", &next_hop);
    let gateway = home.start();
    for verb in ["NOOP", "RSET", "VRFY x", "HELP", "EHLO x", MAIL] {
        let mut client = Client::connect(gateway.smtp);
        // It may hang up while this is still written.
        let again = if verb == MAIL { "\r\nRSET\r\n" } else { "\r\n" };
        let _ = client.send(format!("{verb}{again}").repeat(500).as_bytes());
        let replies: Vec<_> = std::iter::from_fn(|| client.reply()).collect();
        assert!(replies.len() <= 102, "{verb}: {} replies", replies.len());
        assert!(replies.last().is_some_and(|last| last.starts_with("421 ")), "{verb}: {:?}", replies.last());
    }
    assert!(send(gateway.smtp, "ann@client.test", "bob@example.org", "honest").starts_with("250 "));
    gateway.stop();
}

#[test]
fn an_address_has_its_share_of_connections_and_a_network_its_own() {
    let next_hop = NextHop::start();
    let home = home("max-connections-per-address = 2\nmax-connections-per-network = 5", &next_hop);
    let gateway = home.start();
    let open = |last: u8, third: u8| {
        let mut client = Client::open_from([127, 0, third, last], gateway.smtp);
        let reply = client.reply().unwrap();
        (client, reply)
    };
    let mut held = Vec::new();
    for last in [2, 2, 3, 3, 4] {
        let (client, reply) = open(last, 0);
        assert!(reply.starts_with("220 "), "{last}: {reply}");
        held.push(client);
    }
    assert_eq!(open(2, 0).1, "421 4.7.0 [WP-CROWDED] Too many connections from your address");
    assert_eq!(open(4, 0).1, "421 4.7.0 [WP-CROWDED] Too many connections from your network");
    assert!(open(4, 1).1.starts_with("220 "), "a neighbouring network");
    assert_eq!(gateway.metric("waypost_refused_total{limit=\"open\",scope=\"network\"}"), "1");
    assert_eq!(gateway.metric("waypost_refused_total{limit=\"open\",scope=\"address\"}"), "1");
    drop(held);
    until("a place to be free", || open(2, 0).1.starts_with("220 ").then_some(()));
    gateway.stop();
}

#[test]
fn rates_that_are_configured_while_mail_goes_on_hold_at_once_and_end_no_session() {
    let next_hop = NextHop::start();
    let home = home("", &next_hop);
    let gateway = home.start();
    let mut client = Client::connect(gateway.smtp);
    for n in 0..3 {
        assert!(
            client.mail("ann@client.test", "bob@example.org", &format!("Subject: {n}\r\n\r\nx")).starts_with("250 ")
        );
    }
    configure(
        &home,
        "[limits.per-address]\nmessages-per-minute = 2\nrecipients-per-minute = 4\n[limits.per-network]\nconnections-per-minute = 3",
    );
    gateway.reload("reloaded domains=", 1);
    for _ in 0..2 {
        assert!(client.command(MAIL).starts_with("250 "));
        for n in 0..2 {
            assert!(client.command(&format!("RCPT TO:<bob{n}@example.org>")).starts_with("250 "));
        }
        assert!(client.command("DATA").starts_with("354 "));
        assert!(client.command("Subject: x\r\n\r\nx\r\n.").starts_with("250 "));
    }
    let reply = client.command(MAIL);
    assert!(reply.starts_with("451 4.7.0 [WP-RATE] Too many messages from your address"), "{reply}");
    let mut elsewhere = Client::open_from([127, 0, 0, 2], gateway.smtp);
    assert!(elsewhere.reply().unwrap().starts_with("220 "));
    elsewhere.command("EHLO client.test");
    assert!(elsewhere.command(MAIL).starts_with("250 "));
    let replies: Vec<_> = (0..5).map(|n| elsewhere.command(&format!("RCPT TO:<bob{n}@example.org>"))).collect();
    assert!(replies[..4].iter().all(|reply| reply.starts_with("250 ")), "{replies:?}");
    assert!(replies[4].starts_with("452 4.5.3 [WP-RATE] Too many recipients from your address"), "{replies:?}");
    // One before the reload and one after it, so there is one more.
    assert!(Client::open(gateway.smtp).reply().unwrap().starts_with("220 "));
    let reply = Client::open(gateway.smtp).reply().unwrap();
    assert!(reply.starts_with("421 4.7.0 [WP-RATE] Too many connections from your network"), "{reply}");
    assert!(client.command("NOOP").starts_with("250 "), "and who is in stays in");
    assert_eq!(gateway.metric("waypost_refused_total{limit=\"messages\",scope=\"address\"}"), "1");
    gateway.stop();
}

#[test]
fn errors_end_the_session_and_then_keep_the_address_out() {
    let next_hop = NextHop::start();
    let home = home("limits = { per-address = { errors-per-minute = 6 }, tarpit-delay = \"0 s\" }", &next_hop);
    let gateway = home.start();
    let mut client = Client::connect(gateway.smtp);
    for _ in 0..3 {
        assert!(client.command("BOGUS").starts_with("500 "));
    }
    assert!(client.command(MAIL).starts_with("250 "));
    for n in 0..3 {
        assert!(client.command(&format!("RCPT TO:<x{n}@elsewhere.test>")).starts_with("550 "));
    }
    assert!(client.command("RCPT TO:<y@elsewhere.test>").starts_with("550 "), "an answer to what was asked");
    assert!(client.reply().unwrap().starts_with("421 4.7.0 [WP-RATE] Too many errors from your address"));
    assert_eq!(client.reply(), None);
    let reply = Client::open(gateway.smtp).reply().unwrap();
    assert!(reply.starts_with("421 4.7.0 [WP-RATE] Too many errors from your address"), "{reply}");
    assert!(Client::open_from([127, 0, 0, 2], gateway.smtp).reply().unwrap().starts_with("220 "));
    gateway.stop();
}

#[test]
fn replies_come_later_and_later_to_who_makes_errors_and_to_nobody_else() {
    let next_hop = NextHop::start();
    let limits = "limits = { tarpit-after = 2, tarpit-delay = \"400 ms\", tarpit-most = \"800 ms\" }";
    let home = home(limits, &next_hop);
    let gateway = home.start();
    let (mut client, mut honest) = (Client::connect(gateway.smtp), Client::connect(gateway.smtp));
    let mut took = |command: &str| {
        let begun = Instant::now();
        client.command(command);
        begun.elapsed().as_millis()
    };
    let times = ["BOGUS", "BOGUS", "BOGUS", "BOGUS", "BOGUS", "NOOP"].map(&mut took);
    let least = [0, 0, 400, 800, 800, 800];
    assert!(times.iter().zip(least).all(|(time, least)| *time >= least), "{times:?}");
    assert!(times.iter().all(|time| *time < 5000), "bounded: {times:?}");
    assert!(honest.mail("ann@client.test", "bob@example.org", "Subject: x\r\n\r\nx").starts_with("250 "));
    gateway.stop();
}

/// What a client that talks before it is greeted gets, and one that waits.
fn early(gateway: &Gateway<'_>, listener: SocketAddr, talks: impl FnOnce()) -> Vec<String> {
    let mut client = Client::open(listener);
    client.send(format!("EHLO client.test\r\n{MAIL}\r\n").as_bytes()).unwrap();
    talks();
    let replies: Vec<_> = std::iter::from_fn(|| client.reply()).collect();
    assert!(Client::open(gateway.smtp).reply().unwrap().starts_with("220 "), "an honest client is greeted");
    replies
}

#[test]
fn who_talks_before_the_greeting_is_refused() {
    let next_hop = NextHop::start();
    let home = home("", &next_hop);
    let gateway = home.start();
    // What is there already is seen without any delay.
    gateway.signal("STOP");
    let replies = early(&gateway, gateway.smtp, || gateway.signal("CONT"));
    assert_eq!(replies, ["554 5.5.1 [WP-EARLY] You sent something before the greeting"]);
    configure(&home, "limits = { greeting-delay = \"1 s\" }");
    gateway.reload("reloaded domains=", 1);
    let begun = Instant::now();
    let replies = early(&gateway, gateway.smtp, || {});
    assert_eq!(replies, ["554 5.5.1 [WP-EARLY] You sent something before the greeting"]);
    assert!(begun.elapsed() >= Duration::from_secs(1), "the honest one waited for its greeting");
    assert_eq!(gateway.metric("waypost_cut_total{reason=\"early\"}"), "2");
    gateway.stop();
}

#[test]
fn those_who_only_wait_leave_when_it_is_crowded_and_others_get_in() {
    let next_hop = NextHop::start();
    let home = home("max-connections = 10\nlimits = { idle-when-crowded = \"1 s\" }", &next_hop);
    let gateway = home.start();
    let mut seven: Vec<_> = (0..7).map(|_| Client::connect(gateway.smtp)).collect();
    let begun = Instant::now();
    until("the time after which they would leave", || (begun.elapsed() > Duration::from_secs(2)).then_some(()));
    assert!(seven.iter_mut().all(|client| client.command("NOOP").starts_with("250 ")), "seven of ten are no crowd");
    seven.extend((0..3).map(|_| Client::connect(gateway.smtp)));
    assert!(Client::open(gateway.smtp).reply().unwrap().starts_with("421 4.3.2 [WP-CROWDED]"));
    let mut gone = Vec::new();
    until("some to leave", || {
        gone.extend(seven.extract_if(.., |client| client.has_reply()));
        (seven.len() < 8).then_some(())
    });
    let mut left = gone.pop().unwrap();
    assert_eq!(left.reply().unwrap(), "421 4.4.2 [WP-IDLE] Idle for too long");
    assert!(send(gateway.smtp, "ann@client.test", "bob@example.org", "honest").starts_with("250 "));
    gateway.stop();
}

#[test]
fn who_comes_to_collect_mail_and_trickles_is_cut_off_too() {
    let next_hop = NextHop::start();
    let home = home("", &next_hop);
    let file = home.path("waypost.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    home.write("waypost.toml", &format!("{text}service = \"odmr\"\nlimits = {{ idle = \"1 s\" }}\n"));
    let gateway = home.start();
    let mut client = Client::open(gateway.smtp);
    assert!(client.reply().unwrap().starts_with("220 "));
    let (heard, after) = trickle(client, &[], b"x", Duration::from_millis(100));
    assert!(heard.starts_with("421 4.4.2 [WP-IDLE]"), "{heard:?}");
    assert!(after < Duration::from_secs(10), "{after:?}");
    gateway.stop();
}
