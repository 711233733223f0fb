//! Plugins are asked about connections, and about next hops that are back; events are told behind the mail's back.

use crate::support::{
    gateway::Home,
    next_hop::{Behaviour, NextHop, free_address},
    smtp::{Client, send},
    until,
};

fn serving(address: std::net::SocketAddr) -> String {
    format!("next-hop = \"{address}\"\naccept = \"always\"\n")
}

#[test]
fn a_client_that_a_gateway_wide_plugin_refuses_is_told_in_place_of_the_greeting() {
    let next_hop = NextHop::start();
    let home =
        Home::new("[[chain]]\nuse = \"hostile\"\non-failure = \"tempfail\"\nconfig = { connect = \"reject\" }\n");
    home.with_plugin("hostile").domain("example.org", &serving(next_hop.address));
    let gateway = home.start();
    let greeting = |expected: &str| {
        until(&format!("the greeting {expected}"), || {
            let mut client = Client::open(gateway.smtp);
            let reply = client.reply().unwrap_or_default();
            (reply.starts_with(expected) && client.reply().is_none()).then_some(())
        });
    };
    greeting("554 5.7.1 Refused");
    let file = std::fs::read_to_string(home.path("waypost.toml")).unwrap();
    home.write("waypost.toml", &file.replace("\"reject\"", "\"trap\""));
    greeting("421 4.3.0");
    home.write("waypost.toml", &file.replace("\"reject\"", "\"\""));
    until("a session", || Client::open(gateway.smtp).reply().filter(|reply| reply.starts_with("220 ")));
    assert!(send(gateway.smtp, "a@x.test", "b@example.org", "welcome").starts_with("250 "));
    gateway.stop();
}

#[test]
fn mail_that_a_plugin_keeps_stays_held_though_its_next_hop_is_back() {
    let address = free_address();
    let home = Home::new("");
    // It answers false to more than nine, and to any domain but example.org.
    let bound = "plugins = [{ use = \"hostile\", config = { online = \"unless-few\" } }]\n";
    home.with_plugin("hostile");
    home.domain("example.org", &format!("{}{bound}", serving(address)));
    home.domain("kept.example", &format!("{}{bound}", serving(address)));
    let gateway = home.start();
    for domain in ["example.org", "kept.example"] {
        assert!(send(gateway.smtp, "a@x.test", &format!("b@{domain}"), "waits").starts_with("250 "));
        gateway.wait_for(&format!("b@{domain}"), "held");
    }
    let next_hop = NextHop::start_at(address, Behaviour::default());
    let arrived = next_hop.wait(1);
    assert_eq!(arrived[0].recipients, ["b@example.org"]);
    until("the other to be held by policy", || {
        let entry = gateway.wait_for("b@kept.example", "held");
        entry["reason"].as_str()?.starts_with("by policy").then_some(())
    });
    assert_eq!(home.output(&["queue", "release", "--domain", "kept.example"]), "1 recipient released\n");
    next_hop.wait(2);
    gateway.wait_until_empty();
    gateway.stop();
}

#[test]
fn a_plugin_that_traps_at_every_event_keeps_no_mail() {
    let next_hop = NextHop::start();
    let home = Home::new("");
    let bound = "plugins = [{ use = \"hostile\", config = { event = \"trap\" } }]\n";
    home.with_plugin("hostile").domain("example.org", &format!("{}{bound}", serving(next_hop.address)));
    let gateway = home.start();
    for n in 0..20 {
        assert!(send(gateway.smtp, "a@x.test", "b@example.org", &format!("event {n}")).starts_with("250 "));
    }
    next_hop.wait(20);
    until("the plugin to have been told", || home.log().contains("on-event").then_some(()));
    gateway.wait_until_empty();
    gateway.stop();
}
