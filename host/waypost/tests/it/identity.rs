//! Proof of the next hop: who cannot show it hears nothing of the mail, and the mail waits.

use super::support::{
    gateway::{Gateway, Home},
    next_hop::free_address,
    proving_hop::{Authority, ProvingHop, Server},
    signed_zone::SignedZone,
    smtp::{send, send_until_accepted},
    tools::python,
    until,
    webhook::Webhook,
};
use std::net::SocketAddr;

const TO: &str = "ann@example.org";

fn domain(home: &Home, next_hop: &str, identity: &str) {
    home.domain("example.org", &format!("next-hop = \"{next_hop}\"\naccept = \"always\"\n[identity]\n{identity}\n"));
}

#[track_caller]
fn accepted(gateway: &Gateway<'_>, subject: &str) {
    assert!(send(gateway.smtp, "bob@client.test", TO, subject).starts_with("250 "));
}

#[track_caller]
fn taken(hop: &ProvingHop, count: usize) {
    until(&format!("{count} mails at the next hop, which heard {:?}", hop.heard()), || {
        (hop.mails() >= count).then_some(())
    });
}

/// The mail is held, for this reason.
fn held_for(gateway: &Gateway<'_>, part: &str) -> String {
    until(&format!("the mail to be held: {part}"), || {
        let reason = gateway.wait_for(TO, "held")["reason"].as_str()?.to_owned();
        reason.contains(part).then_some(reason)
    })
}

#[test]
fn a_next_hop_with_either_pinned_key_gets_the_mail() {
    let (present, next) = (Server::self_signed(), Server::self_signed());
    let hop = ProvingHop::start(&present);
    let address = hop.address;
    let home = Home::new("");
    domain(&home, &address.to_string(), &format!("pin = [\"{}\", \"{}\"]", present.pin(), next.pin()));
    let gateway = home.start();
    accepted(&gateway, "one");
    taken(&hop, 1);
    drop(hop);
    let hop = ProvingHop::start_at(address, &next);
    accepted(&gateway, "two");
    taken(&hop, 1);
    gateway.wait_until_empty();
}

#[test]
fn a_stranger_hears_not_a_word_of_the_mail_and_it_goes_out_once_the_pin_is_right() {
    let (ours, strange) = (Server::self_signed(), Server::self_signed());
    let hop = ProvingHop::start(&strange);
    let home = Home::new("");
    domain(&home, &hop.address.to_string(), &format!("pin = \"{}\"", ours.pin()));
    let gateway = home.start();
    accepted(&gateway, "not for you");
    let reason = held_for(&gateway, "which `pin` does not name");
    let line = format!("pin = [\"{}\", \"{}\"]", ours.pin(), strange.pin());
    assert!(reason.contains(&line), "the line to paste: {reason}");
    until("several attempts", || (hop.heard().iter().filter(|line| *line == "STARTTLS").count() > 2).then_some(()));
    hop.assert_told_nothing();
    assert_eq!(home.log().matches("identity=\"refused\"").count(), 1, "once for each change");
    domain(&home, &hop.address.to_string(), &line);
    taken(&hop, 1);
    gateway.wait_until_empty();
}

#[test]
fn the_key_of_the_first_probe_is_the_one_until_a_person_trusts_another() {
    let (first, second) = (Server::self_signed(), Server::self_signed());
    let hop = ProvingHop::start(&first);
    let address = hop.address;
    let home = Home::new("");
    home.domain("example.org", &format!("next-hop = \"{address}\"\n[identity]\ntrust-on-first-probe = true\n"));
    let gateway = home.start();
    assert!(send_until_accepted(gateway.smtp, "bob@client.test", TO, "one").starts_with("250 "));
    taken(&hop, 1);
    drop(hop);

    let hop = ProvingHop::start_at(address, &second);
    accepted(&gateway, "two");
    held_for(&gateway, "waypost domain trust example.org");
    hop.assert_told_nothing();
    let shown = home.output(&["domain", "show", "example.org"]);
    assert!(shown.contains(&first.pin()) && shown.contains(&second.pin()), "{shown}");
    assert!(!home.command(&["domain", "trust", "example.org"]).status.success(), "not without a yes");
    hop.assert_told_nothing();
    home.output(&["domain", "trust", "example.org", "--yes"]);
    taken(&hop, 1);
    gateway.wait_until_empty();
    gateway.stop();

    // The key is remembered, and so is that the old one is no more.
    let gateway = home.start();
    accepted(&gateway, "three");
    taken(&hop, 2);
    drop(hop);
    let old = ProvingHop::start_at(address, &first);
    accepted(&gateway, "four");
    held_for(&gateway, "waypost domain trust example.org");
    old.assert_told_nothing();
}

#[test]
fn people_are_told_of_a_stranger_once_and_that_its_key_was_trusted() {
    let (first, second) = (Server::self_signed(), Server::self_signed());
    let (hop, hook, home) = (ProvingHop::start(&first), Webhook::start(&[]), Home::new(""));
    let address = hop.address;
    let offline = format!("[offline]\nalert = \"{}\"", hook.url());
    domain(&home, &address.to_string(), &format!("trust-on-first-probe = true\n{offline}"));
    let gateway = home.start();
    accepted(&gateway, "one");
    taken(&hop, 1);
    gateway.wait_until_empty();
    drop(hop);

    let stranger = ProvingHop::start_at(address, &second);
    accepted(&gateway, "not for you");
    let alert = hook.wait(1).remove(0).json();
    assert_eq!((&alert["event"], &alert["domain"]), (&"next-hop.identity".into(), &"example.org".into()));
    assert_eq!(alert["next-hop"], address.to_string());
    assert!(alert["reason"].as_str().unwrap().contains("waypost domain trust example.org"), "{alert}");
    held_for(&gateway, "waypost domain trust example.org");
    accepted(&gateway, "nor this");
    let asked = || stranger.heard().iter().filter(|line| *line == "STARTTLS").count();
    let before = asked();
    until("more attempts", || (asked() > before + 1).then_some(()));
    stranger.assert_told_nothing();
    assert_eq!(hook.events(), ["next-hop.identity"]);

    home.output(&["domain", "trust", "example.org", "--yes"]);
    taken(&stranger, 2);
    hook.wait(2);
    gateway.wait_until_empty();
    gateway.stop();
    assert_eq!(hook.events(), ["next-hop.identity", "next-hop.trusted"]);
}

#[test]
fn a_domain_that_accepts_at_once_learns_the_key_before_it_delivers() {
    let hop = ProvingHop::start(&Server::self_signed());
    let home = Home::new("");
    domain(&home, &hop.address.to_string(), "trust-on-first-probe = true");
    let gateway = home.start();
    accepted(&gateway, "one");
    taken(&hop, 1);
    assert!(home.log().contains("the key that the first probe saw"));
    gateway.wait_until_empty();
}

#[test]
fn a_certificate_must_be_valid_for_the_name_by_an_authority_that_is_believed() {
    let (ours, other) = (Authority::new(), Authority::new());
    for (server, refused) in [
        (ours.server("mail.example.org"), None),
        (ours.server("mail.example.com"), Some("not good for mail.example.org")),
        (other.server("mail.example.org"), Some("invalid peer certificate")),
    ] {
        let hop = ProvingHop::start(&server);
        let home = Home::new("[next-hop-tls]\nca-file = \"ca.pem\"");
        home.write("ca.pem", &ours.pem());
        domain(&home, &hop.address.to_string(), "name = \"mail.example.org\"");
        let gateway = home.start();
        accepted(&gateway, "one");
        match refused {
            None => taken(&hop, 1),
            Some(reason) => {
                held_for(&gateway, reason);
                hop.assert_told_nothing();
            }
        }
    }
}

#[test]
fn all_that_is_asked_for_must_hold() {
    let authority = Authority::new();
    let server = authority.server("mail.example.org");
    let hop = ProvingHop::start(&server);
    let home = Home::new("[next-hop-tls]\nca-file = \"ca.pem\"");
    home.write("ca.pem", &authority.pem());
    let pin = Server::self_signed().pin();
    domain(&home, &hop.address.to_string(), &format!("name = \"mail.example.org\"\npin = \"{pin}\""));
    let gateway = home.start();
    accepted(&gateway, "one");
    held_for(&gateway, "which `pin` does not name");
    hop.assert_told_nothing();
}

#[test]
fn with_an_identity_there_is_no_falling_back_to_clear_text() {
    type Start = fn(SocketAddr) -> ProvingHop;
    let start: [(Start, &str); 2] = [
        (ProvingHop::without_tls, "without TLS it cannot prove"),
        (ProvingHop::with_broken_tls, "TLS handshake failed"),
    ];
    for (start, reason) in start {
        let hop = start(free_address());
        let home = Home::new("");
        domain(&home, &hop.address.to_string(), &format!("pin = \"{}\"", Server::self_signed().pin()));
        let gateway = home.start();
        accepted(&gateway, "one");
        held_for(&gateway, reason);
        hop.assert_told_nothing();
    }
}

#[test]
fn a_tlsa_record_counts_where_dnssec_vouches_for_it() {
    let server = Server::self_signed();
    let hop = ProvingHop::start(&server);
    let port = hop.address.port();
    let (right, wrong, forged) = (server.tlsa(), Server::self_signed().tlsa(), Server::self_signed().tlsa());
    let a = |name: &str| (name.to_owned(), "A 127.0.0.1".to_owned());
    let tlsa = |name: &str, data: &str| (format!("_{port}._tcp.{name}"), format!("TLSA 3 1 1 {data}"));
    let signed = [
        a("good"),
        tlsa("good", &right),
        a("wrong"),
        tlsa("wrong", &wrong),
        a("forged"),
        tlsa("forged", &forged),
        a("none"),
    ];
    let zone = SignedZone::serve(&signed, &[a("mail"), tlsa("mail", &right)], &[(&forged, &right)]);
    for (name, refused) in [
        ("good.test", None),
        ("wrong.test", Some("matches none of its TLSA records")),
        ("forged.test", Some("the DNSSEC signatures for")),
        ("none.test", Some("there is no TLSA record")),
        ("mail.plain.test", Some("is not signed")),
    ] {
        let before = hop.mails();
        let home = Home::new(&zone.settings());
        domain(&home, &format!("{name}:{port}"), "dane = true");
        let gateway = home.start();
        accepted(&gateway, "one");
        match refused {
            None => taken(&hop, before + 1),
            Some(reason) => {
                held_for(&gateway, reason);
                assert_eq!(hop.mails(), before, "{name}");
            }
        }
    }
    assert_eq!(hop.heard().iter().filter(|line| line.starts_with("MAIL")).count(), 1);
}

/// Sends a mail with REQUIRETLS; says what the reply to MAIL was in clear text, and then sends it under TLS.
pub const REQUIRE_TLS: &str = r#"
import smtplib, ssl, sys
host, port = sys.argv[1].rsplit(":", 1)
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
client = smtplib.SMTP(host, int(port))
client.ehlo("client.test")
print("offered in clear", client.has_extn("requiretls"))
print(client.docmd("MAIL FROM:<bob@client.test> REQUIRETLS")[0])
client.starttls(context=context)
client.ehlo("client.test")
print("offered under TLS", client.has_extn("requiretls"))
client.sendmail("bob@client.test", ["ann@example.org"], "Subject: x\r\n\r\nsecret\r\n", mail_options=["REQUIRETLS"])
"#;

#[test]
fn mail_that_requires_tls_goes_to_a_proven_next_hop_that_promises_the_same_or_nowhere() {
    let server = Server::self_signed();
    let (promising, other) = (ProvingHop::start_offering(&server, "REQUIRETLS"), ProvingHop::start(&server));
    for (hop, identity) in [(&promising, true), (&promising, false), (&other, true)] {
        let before = hop.mails();
        let home = Home::new("");
        let table = if identity { format!("[identity]\npin = \"{}\"\n", server.pin()) } else { String::new() };
        home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n{table}", hop.address));
        let gateway = home.start();
        let said = python(REQUIRE_TLS, &[&gateway.smtp.to_string()]);
        assert_eq!(said.lines().collect::<Vec<_>>(), ["offered in clear False", "530", "offered under TLS True"]);
        if std::ptr::eq(hop, &promising) && identity {
            taken(hop, before + 1);
            assert!(hop.heard().iter().any(|line| line.starts_with("MAIL ") && line.ends_with(" REQUIRETLS")));
            gateway.wait_until_empty();
        } else {
            until("the mail to fail", || home.log().contains("550 5.7.30").then_some(()));
            assert_eq!(hop.mails(), before);
        }
    }
    assert!(!other.has_heard("MAIL"));
}
