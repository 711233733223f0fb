//! `waypost domain`: files that are written once, what is told of a domain, and its switches.

use super::support::{
    gateway::{Gateway, Home},
    next_hop::{Behaviour, NextHop, free_address},
    smtp::send,
    until,
};
use serde_json::Value;

fn shown(home: &Home) -> Value {
    serde_json::from_str(&home.output(&["domain", "show", "example.org", "--json"])).expect("JSON")
}

fn accepted(gateway: &Gateway<'_>, subject: &str) {
    assert!(send(gateway.smtp, "a@b.example", "ann@example.org", subject).starts_with("250 "));
}

#[test]
fn a_domain_is_added_once_and_served_without_a_restart() {
    let (home, hop) = (Home::new(""), NextHop::start());
    let gateway = home.start();
    assert!(home.output(&["domain", "list"]).contains("No domain is configured"));
    let address = hop.address.to_string();
    let told = home.output(&["domain", "add", "example.org", "--next-hop", &address, "--tls", "none"]);
    assert!(told.contains("waypost probe example.org") && told.contains("example.org. MX 10 gw.test."), "{told}");
    let again = home.command(&["domain", "add", "example.org", "--next-hop", "127.0.0.1:1"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is there already"));
    let text = std::fs::read_to_string(home.path("domains/example.org.toml")).unwrap();
    assert_eq!(text, format!("next-hop = \"{address}\"\ntls = \"none\"\n"));
    until("the domain to be served", || {
        send(gateway.smtp, "a@b.example", "ann@example.org", "x").starts_with("250 ").then_some(())
    });
    hop.wait(1);
    gateway.stop();
}

#[test]
fn a_file_with_a_mistake_is_never_written() {
    let home = Home::new("");
    home.with_plugin("tag");
    for (args, told, code) in [
        (&["--next-hop", "mail.example.org"][..], "not a next hop", 78),
        (&["--next-hop", "a.example:25", "--tls", "maybe"], "`tls` cannot be \"maybe\"", 78),
        (&["--next-hop", "gw.test:0"], "not a next hop", 78),
        (&["--next-hop", "a.example:25", "--plugins", "tag,gone"], "no plugin gone", 1),
    ] {
        let output = home.command(&[&["domain", "add", "example.org"], args].concat());
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(err.contains(told), "{args:?}: {err}");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
    }
    assert_eq!(std::fs::read_dir(home.path("domains")).unwrap().count(), 0, "nothing is left behind");
    home.output(&["domain", "add", "example.org", "--next-hop", "a.example:25", "--plugins", "tag"]);
    home.output(&["check"]);
}

#[test]
fn all_that_is_known_of_a_domain_is_shown() {
    let (home, address) = (Home::new(""), free_address());
    home.domain("example.org", &format!("next-hop = \"{address}\"\naccept = \"always\"\nretention = \"3 d\"\n"));
    home.domain("example.net", &format!("next-hop = \"{address}\"\n"));
    let gateway = home.start();
    accepted(&gateway, "waits");
    gateway.wait_for("ann@example.org", "held");
    let told = shown(&home);
    assert_eq!((&told["waiting"], &told["held"], &told["proven"]), (&1.into(), &1.into(), &true.into()), "{told}");
    assert!(told["away"][0]["reason"].as_str().unwrap().contains("refused"), "{told}");
    let listed: Value = serde_json::from_str(&home.output(&["domain", "list", "--json"])).unwrap();
    let names: Vec<&str> = listed.as_array().unwrap().iter().filter_map(|entry| entry["name"].as_str()).collect();
    assert_eq!(names, ["example.net", "example.org"]);
    let net = until("the probe of example.net to have failed", || {
        let text = home.output(&["domain", "show", "example.net"]);
        text.contains("last probe").then_some(text)
    });
    assert!(net.contains("not proven: 451") && net.contains("is the server running"), "{net}");
    let org = home.output(&["domain", "show", "example.org"]);
    assert!(org.contains("offline since") && org.contains("3 d"), "{org}");
    let unknown = home.command(&["domain", "show", "nobody.example"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("waypost domain add nobody.example"));
    gateway.stop();
}

#[test]
fn a_held_domain_takes_mail_and_sends_none_until_it_is_released() {
    let (home, hop) = (Home::new(""), NextHop::start());
    home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n", hop.address));
    let gateway = home.start();
    home.output(&["domain", "hold", "example.org", "--reason", "moving house"]);
    accepted(&gateway, "kept");
    gateway.wait_for("ann@example.org", "held");
    assert_eq!((&shown(&home)["held-for"], hop.count()), (&"moving house".into(), 0));
    assert!(home.output(&["domain", "list"]).contains("held (moving house)"));
    home.output(&["domain", "release", "example.org"]);
    hop.wait(1);
    gateway.wait_until_empty();
    assert!(shown(&home)["held-for"].is_null());
    gateway.stop();
}

#[test]
fn a_next_hop_that_is_said_to_be_offline_gets_nothing_until_it_is_said_to_be_back() {
    let (home, hop) = (Home::new(""), NextHop::start_with(Behaviour::default()));
    home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n", hop.address));
    let gateway = home.start();
    home.output(&["domain", "offline", "example.org"]);
    accepted(&gateway, "kept");
    let held = gateway.wait_for("ann@example.org", "held");
    assert!(held["reason"].as_str().unwrap().contains("by a person"), "{held}");
    assert_eq!((&shown(&home)["said-offline"], hop.count()), (&true.into(), 0));
    let told = home.output(&["domain", "online", "example.org"]);
    assert!(told.contains("1 recipient is due now"), "{told}");
    hop.wait(1);
    gateway.stop();
}
