//! Nothing is lost by a wrong setting: a wrong port, a wrong server that refuses everything, a server that comes back
//! without its users; and queued mail that a person sends elsewhere.

use crate::support::{
    gateway::{Gateway, Home},
    next_hop::{Behaviour, NextHop, free_address},
    smtp::Client,
    until,
};
use std::net::SocketAddr;

const SENDER: &str = "ann@client.example";

fn domain(home: &Home, next_hop: SocketAddr) {
    home.domain("example.org", &format!("next-hop = \"{next_hop}\"\naccept = \"always\"\ntls = \"none\"\n"));
}

fn send(gateway: &Gateway<'_>, from: usize, count: usize) {
    let mut client = Client::connect(gateway.smtp);
    for n in from..from + count {
        let to = format!("user{n}@example.org");
        assert!(client.mail(SENDER, &to, &format!("Subject: {n}\r\n\r\nHello.")).starts_with("250 "));
    }
}

fn refusing(reply: &str) -> Behaviour {
    Behaviour { replies: vec![("RCPT".to_owned(), reply.to_owned())], ..Behaviour::default() }
}

/// Each once.
fn all_arrived(hop: &NextHop, count: usize) {
    let mut recipients: Vec<String> = hop.wait(count).into_iter().flat_map(|mail| mail.recipients).collect();
    recipients.sort();
    let mut expected: Vec<String> = (0..count).map(|n| format!("user{n}@example.org")).collect();
    expected.sort();
    assert_eq!(recipients, expected);
}

#[test]
fn a_wrong_port_then_a_wrong_host_that_refuses_everything_then_the_right_one_loses_no_mail() {
    let (home, notified) = (Home::new(""), NextHop::start());
    home.domain("client.example", &format!("next-hop = \"{}\"\naccept = \"always\"\n", notified.address));
    domain(&home, free_address());
    let gateway = home.start();
    send(&gateway, 0, 20);
    until("all to be held", || (gateway.queue(&[])["counts"]["held"] == 20).then_some(()));

    // The wrong host: it says that it knows nobody, as the right one would of a stranger.
    let wrong = NextHop::start_with(refusing("550 5.1.1 no such user here"));
    domain(&home, wrong.address);
    home.output(&["reload"]);
    until("the wrong host to be asked", || (!wrong.connections.lock().unwrap().is_empty()).then_some(()));
    send(&gateway, 20, 20);
    let kept = || home.log().matches("kept instead of bounced").count();
    until("refusals to be kept", || (kept() > 0).then_some(()));
    until("all to be held", || (gateway.queue(&[])["counts"]["held"] == 40).then_some(()));
    until("its lane to take no more", || home.log().contains("state=\"refusing\"").then_some(()));
    let listed = gateway.listed(&["--limit", "1"]);
    assert!(listed[0]["reason"].as_str().unwrap().contains("550"), "{}", listed[0]);

    let right = NextHop::start();
    domain(&home, right.address);
    home.output(&["reload"]);
    all_arrived(&right, 40);
    gateway.wait_until_empty();
    assert_eq!((wrong.count(), notified.count()), (0, 0), "nothing was delivered to the stranger, nothing was bounced");
}

#[test]
fn a_server_that_comes_back_without_its_users_bounces_nothing_and_its_cure_sends_all() {
    let address = free_address();
    let (home, notified) = (Home::new(""), NextHop::start());
    home.domain("client.example", &format!("next-hop = \"{}\"\naccept = \"always\"\n", notified.address));
    domain(&home, address);
    let gateway = home.start();
    send(&gateway, 0, 30);
    until("all to be held", || (gateway.queue(&[])["counts"]["held"] == 30).then_some(()));
    let empty = NextHop::start_at(address, refusing("550 5.1.1 user unknown"));
    until("it to refuse", || home.log().contains("state=\"refusing\"").then_some(()));
    until("all to be held", || (gateway.queue(&[])["counts"]["held"] == 30).then_some(()));
    let asked = empty.connections.lock().unwrap().len();
    assert!(asked < 30, "it is asked with few mails at a time, not {asked}");
    empty.stop();
    let cured = NextHop::start_at(address, Behaviour::default());
    all_arrived(&cured, 30);
    gateway.wait_until_empty();
    assert_eq!(notified.count(), 0, "nothing was bounced");
}

#[test]
fn an_unknown_user_at_a_server_that_is_trusted_is_bounced_at_once() {
    let (home, notified, hop) =
        (Home::new(""), NextHop::start(), NextHop::start_with(refusing("550 5.1.1 user unknown")));
    home.domain("client.example", &format!("next-hop = \"{}\"\naccept = \"always\"\n", notified.address));
    domain(&home, hop.address);
    let gateway = home.start();
    send(&gateway, 0, 1);
    notified.wait(1);
    gateway.wait_until_empty();
}

#[test]
fn queued_mail_is_sent_elsewhere_after_a_preview_and_back_again() {
    let (home, spare) = (Home::new(""), NextHop::start_with(refusing("450 4.2.0 not now")));
    let dead = free_address();
    domain(&home, dead);
    let gateway = home.start();
    send(&gateway, 0, 3);
    until("all to be held", || (gateway.queue(&[])["counts"]["held"] == 3).then_some(()));
    let to = spare.address.to_string();
    let reroute = ["queue", "reroute", "--domain", "example.org", "--to", &to];
    let preview = home.output(&[&reroute[..], &["--dry-run"]].concat());
    assert!(preview.contains(&format!("{dead} → {to}")) && preview.contains("3 recipients would move"), "{preview}");
    assert!(spare.connections.lock().unwrap().is_empty(), "a preview moves nothing");
    assert!(home.output(&["queue", "reroute", "--list"]).starts_with("There is no rule"));

    let told = home.output(&reroute);
    assert!(told.contains("waypost queue reroute --undo r1"), "{told}");
    until("all to be put off by the spare", || (gateway.queue(&[])["counts"]["deferred"] == 3).then_some(()));
    assert!(home.output(&["queue", "reroute", "--list"]).contains(&to));

    // What comes later goes where the file says.
    let main = NextHop::start_at(dead, Behaviour::default());
    send(&gateway, 3, 1);
    assert_eq!(main.wait(1)[0].recipients, ["user3@example.org"]);
    home.output(&["queue", "reroute", "--undo", "r1"]);
    all_arrived(&main, 4);
    gateway.wait_until_empty();
    let unknown = home.command(&["queue", "reroute", "--undo", "r1"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no rule r1"));
}
