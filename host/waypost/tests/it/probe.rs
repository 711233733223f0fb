//! `waypost probe`: each way in which a next hop can be wrong is told at its step, with what to do about it.

use super::support::{
    gateway::{Gateway, Home},
    next_hop::{Behaviour, NextHop, free_address},
    smtp::{send, send_until_accepted},
    until,
};
use serde_json::Value;

/// Takes mail for postmaster and ann of example.org, and for nobody else.
fn right() -> Behaviour {
    let no = |start: &str, reply: &str| (start.to_owned(), reply.to_owned());
    Behaviour {
        offers: ["PIPELINING", "8BITMIME", "SIZE 104857600"].map(String::from).into(),
        replies: vec![
            no("RCPT TO:<WAYPOST-PROBE@EXAMPLE.COM", "550 5.7.1 relaying denied"),
            no("RCPT TO:<WAYPOST-PROBE", "550 5.1.1 unknown"),
        ],
        ..Behaviour::default()
    }
}

fn saying(start: &str, reply: &str) -> Behaviour {
    let mut behaviour = right();
    behaviour.replies.insert(0, (start.to_owned(), reply.to_owned()));
    behaviour
}

fn home(next_hop: impl std::fmt::Display, more: &str) -> Home {
    let home = Home::new("");
    home.domain("example.org", &format!("next-hop = \"{next_hop}\"\n{more}\n"));
    home
}

/// What `waypost probe --json` tells, line by line; whether it ended with 0.
fn probe(home: &Home, args: &[&str]) -> (bool, Vec<Value>) {
    let output = home.command(&[&["probe", "example.org", "--json"], args].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(!lines.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let passed = output.status.code() == Some(0);
    assert_eq!(lines.last().unwrap()["passed"], passed, "{lines:?}");
    (passed, lines)
}

/// The step that did not pass; the others did, or are told as well.
fn step<'a>(lines: &'a [Value], step: &str) -> &'a Value {
    lines.iter().find(|line| line["step"] == step).unwrap_or_else(|| panic!("no step {step} in {lines:#?}"))
}

fn assert_told(lines: &[Value], name: &str, verdict: &str, told: &str, hint: &str) {
    let step = step(lines, name);
    assert_eq!(step["verdict"], verdict, "{step}");
    assert!(step["told"].as_str().unwrap().contains(told), "{step}");
    assert!(step["hint"].as_str().unwrap_or_default().contains(hint), "{step}");
}

#[test]
fn a_next_hop_that_is_right_passes_every_step_without_getting_a_mail() {
    let hop = NextHop::start_with(right());
    let home = home(hop.address, "");
    let (passed, lines) = probe(&home, &[]);
    assert!(passed, "{lines:#?}");
    let steps: Vec<&str> = lines.iter().filter_map(|line| line["step"].as_str()).collect();
    assert_eq!(
        steps,
        ["dns", "connect", "greeting", "ehlo", "starttls", "size", "postmaster", "catch-all", "open-relay", "quit"]
    );
    // No TLS is worth a word, and no reason to fail.
    assert_told(&lines, "starttls", "warning", "not offered", "clear text");
    assert_told(&lines, "catch-all", "passed", "550", "");
    assert_told(&lines, "open-relay", "passed", "relaying denied", "");
    let words = home.output(&["probe", "example.org"]);
    assert!(words.contains(&hop.address.to_string()) && words.contains("mail for example.org is accepted"), "{words}");
    assert_eq!(hop.count(), 0);

    // What has passed is remembered: the gateway need not find out again.
    let gateway = home.start();
    assert!(send(gateway.smtp, "a@b.example", "ann@example.org", "x").starts_with("250 "));
    gateway.stop();
}

#[test]
fn each_way_to_fail_is_told_at_its_step_with_what_to_do() {
    let refused = free_address();
    let home = home(refused, "");
    let (passed, lines) = probe(&home, &[]);
    assert!(!passed);
    assert_told(&lines, "connect", "failed", "refused", "is the server running");

    home.domain("example.org", "next-hop = \"mail.example.invalid:25\"\n");
    let (passed, lines) = probe(&home, &[]);
    assert!(!passed);
    assert_told(&lines, "dns", "failed", "mail.example.invalid", "spelt right");

    let more = |behaviour: Behaviour| {
        let hop = NextHop::start_with(behaviour);
        let (passed, lines) = probe(&home, &["--next-hop", &hop.address.to_string(), "--timeout", "1 s"]);
        assert_eq!(hop.count(), 0);
        (passed, lines)
    };
    for (behaviour, name, told, hint) in [
        (Behaviour { silent: true, ..right() }, "greeting", "waited 1 s for the greeting", "says nothing"),
        (saying("CONNECT", "554 5.7.1 go away"), "greeting", "554 5.7.1 go away", "does not let this gateway in"),
        (saying("CONNECT", "* OK IMAP4"), "greeting", "not a reply", "does not speak SMTP"),
        (Behaviour { lmtp: true, ..right() }, "ehlo", "500 5.5.1", "lmtp://"),
        (saying("RCPT TO:<POSTMASTER", "550 5.1.1 not here"), "postmaster", "not here", "refuses example.org's mail"),
        (saying("MAIL", "550 5.7.1 no"), "postmaster", "MAIL FROM:<>: 550", "null reverse-path"),
    ] {
        let (passed, lines) = more(behaviour);
        assert!(!passed, "{lines:#?}");
        assert_told(&lines, name, "failed", told, hint);
    }

    let catch_all = Behaviour { replies: vec![("RCPT TO:<WAYPOST-PROBE@".into(), "550 5.7.1 no".into())], ..right() };
    let open_relay = Behaviour { replies: vec![("RCPT TO:<WAYPOST-PROBE-".into(), "550 5.1.1 no".into())], ..right() };
    for (behaviour, name, told, hint) in [
        (catch_all, "catch-all", "250", "takes any name"),
        (open_relay, "open-relay", "250", "relays to other domains"),
        (Behaviour { offers: vec!["SIZE 1000".into()], ..right() }, "size", "1000 bytes", "max-message-size"),
        (saying("RCPT TO:<POSTMASTER", "450 4.7.1 later"), "postmaster", "later", "greylisting"),
        (saying("RCPT TO:<WAYPOST-PROBE-", "421 4.7.0 too many unknown users"), "catch-all", "421", ""),
    ] {
        let (passed, lines) = more(behaviour);
        assert!(passed, "{lines:#?}");
        assert_told(&lines, name, "warning", told, hint);
    }

    home.domain("example.org", &format!("next-hop = \"{refused}\"\ntls = \"required\"\n"));
    let (passed, lines) = more(right());
    assert!(!passed);
    assert_told(&lines, "starttls", "failed", "STARTTLS, which is required", "turn STARTTLS on");
}

#[test]
fn a_next_hop_with_tls_shows_its_version_and_an_lmtp_one_is_asked_as_such() {
    let other = Home::new("");
    other.domain("example.org", "next-hop = \"127.0.0.1:1\"\naccept = \"always\"\n");
    let (tls, lmtp) = (other.start(), NextHop::start_with(Behaviour { lmtp: true, ..right() }));
    let home = home(tls.smtp, "");
    let (passed, lines) = probe(&home, &[]);
    assert!(passed, "{lines:#?}");
    assert_told(&lines, "starttls", "passed", "TLSv1.3", "");
    // Its certificate is self-signed, for the name gw.test.
    assert_told(&lines, "certificate", "warning", "for gw.test, issued by", "pin = [\"sha256:");
    home.domain("example.org", &format!("next-hop = \"{}\"\ntls = \"verified\"\n", tls.smtp));
    let (passed, lines) = probe(&home, &[]);
    assert!(!passed, "{lines:#?}");
    assert_told(&lines, "starttls", "failed", "handshake failed", "valid for 127.0.0.1");
    assert_told(&lines, "certificate", "warning", "for gw.test, issued by", "");
    let pin = step(&lines, "certificate")["told"].as_str().unwrap().split("key ").nth(1).unwrap().to_owned();
    home.domain("example.org", &format!("next-hop = \"{}\"\n[identity]\npin = \"{pin}\"\n", tls.smtp));
    let (passed, lines) = probe(&home, &[]);
    assert!(passed, "{lines:#?}");
    assert_told(&lines, "identity", "passed", "has proven", "");
    let strange = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    home.domain("example.org", &format!("next-hop = \"{}\"\n[identity]\npin = \"{strange}\"\n", tls.smtp));
    let (passed, lines) = probe(&home, &[]);
    assert!(!passed, "{lines:#?}");
    assert_told(&lines, "identity", "failed", "which `pin` does not name", "mail waits meanwhile");
    home.domain("example.org", &format!("next-hop = \"{}\"\n", tls.smtp));
    let (passed, lines) = probe(&home, &["--next-hop", &format!("lmtp://{}", lmtp.address)]);
    assert!(passed, "{lines:#?}");
    tls.stop();
}

#[test]
fn a_running_gateway_probes_and_a_pass_is_one_for_it() {
    let hop = free_address();
    let home = home(hop, "");
    let gateway = home.start();
    until("the probe to fail by itself", || home.log().contains("probe=\"failed\"").then_some(()));
    let (passed, lines) = probe(&home, &["--timeout", "5 s"]);
    assert!(!passed && lines.last().unwrap()["proven"] == false, "{lines:#?}");
    let _right = NextHop::start_at(hop, right());
    let (passed, lines) = probe(&home, &["--timeout", "5 s"]);
    assert!(passed && lines.last().unwrap()["proven"] == true, "{lines:#?}");
    assert!(send(gateway.smtp, "a@b.example", "ann@example.org", "x").starts_with("250 "));
    gateway.stop();
}

#[test]
fn a_strangers_server_keeps_the_domain_at_451_and_the_right_one_turns_it_to_250_by_itself() {
    let address = free_address();
    let home = home(address, "");
    let stranger = NextHop::start_at(address, saying("RCPT", "550 5.1.1 no such user here"));
    let gateway = home.start();
    until("the stranger to be asked", || home.log().contains("no such user here").then_some(()));
    assert!(send(gateway.smtp, "a@b.example", "ann@example.org", "x").starts_with("451 4.4.1 [WP-PROBE]"));
    assert!(stranger.stop().is_empty());
    let right = NextHop::start_at(address, right());
    assert!(send_until_accepted(gateway.smtp, "a@b.example", "ann@example.org", "x").starts_with("250 "));
    right.wait(1);
    gateway.stop();
}

#[test]
fn a_next_hop_that_turns_out_to_be_the_gateway_itself_is_told_and_its_mail_is_held() {
    // The port is the kernel's choice, so that the files cannot know: the gateway finds out as it connects.
    let home = home("127.0.0.1:1", "accept = \"always\"");
    let gateway = home.start();
    let own = gateway.smtp;
    home.domain("example.org", &format!("next-hop = \"{own}\"\naccept = \"always\"\n"));
    let lines = until("the new next hop to be probed", || {
        let (_, lines) = probe(&home, &[]);
        lines[0]["next-hop"].as_str().unwrap().contains(&own.to_string()).then_some(lines)
    });
    assert_told(&lines, "connect", "failed", "is this gateway itself", "must name the server behind");
    assert!(send(gateway.smtp, "a@b.example", "ann@example.org", "x").starts_with("250 "));
    let held = gateway.wait_for("ann@example.org", "held");
    assert!(held["reason"].as_str().unwrap().contains("this gateway itself"), "{held}");
    gateway.stop();
}

#[test]
fn a_mail_with_a_code_goes_the_way_of_mail_and_its_code_proves_the_domain() {
    let hop = NextHop::start_with(saying("RCPT TO:<POSTMASTER", "550 5.1.1 we have none"));
    let home = home(hop.address, "");
    let gateway = home.start();
    let sent = message(&home);
    let arrived = hop.wait(1).remove(0);
    let code = sent["code"].as_str().unwrap();
    assert!(arrived.text().contains(&format!("Subject: waypost probe {code}\r\n")), "{}", arrived.text());
    assert!(arrived.mail.contains("<postmaster@gw.test>"), "{}", arrived.mail);
    gateway.wait_until_empty();
    assert!(send(gateway.smtp, "a@b.example", "ann@example.org", "x").starts_with("451 "), "not confirmed yet");

    let wrong = home.command(&["probe", "example.org", "--confirm", "0000000000"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("not the code of the last mail"));
    let confirmed = until("the journal to know of the delivery", || {
        let text = home.output(&["probe", "example.org", "--confirm", code, "--json"]);
        let confirmed: Value = serde_json::from_str(&text).unwrap();
        confirmed["delivered-at"].is_string().then_some(confirmed)
    });
    assert_eq!((&confirmed["to"], &confirmed["id"]), (&"ann@example.org".into(), &sent["id"]));
    assert!(send(gateway.smtp, "a@b.example", "ann@example.org", "x").starts_with("250 "));
    let foreign = home.command(&["probe", "example.org", "--message", "ann@example.net"]);
    assert_eq!(foreign.status.code(), Some(1));
    gateway.stop();
}

fn message(home: &Home) -> Value {
    serde_json::from_str(&home.output(&["probe", "example.org", "--message", "ann@example.org", "--json"])).unwrap()
}

#[test]
fn without_a_gateway_the_mail_goes_straight_to_the_next_hop() {
    let hop = NextHop::start_with(right());
    let home = home(hop.address, "");
    let sent = message(&home);
    assert!(hop.wait(1)[0].text().contains(sent["code"].as_str().unwrap()));
    let told = home.output(&["probe", "example.org", "--confirm", sent["code"].as_str().unwrap()]);
    assert!(told.contains("the way to ann@example.org works"), "{told}");
    let gateway: Gateway<'_> = home.start();
    assert!(send(gateway.smtp, "a@b.example", "ann@example.org", "x").starts_with("250 "));
    gateway.stop();
}
