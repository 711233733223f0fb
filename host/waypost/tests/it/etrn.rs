//! ETRN (RFC 1985): a host that is back fetches what waits, with fetchmail as its client.

use super::support::{
    gateway::Home,
    next_hop::{Behaviour, NextHop, free_address},
    smtp::{Client, send},
    tools::tool,
    until,
};

/// fetchmail with an ETRN of `domain`, once; what it printed.
fn fetchmail(home: &Home, gateway: std::net::SocketAddr, domain: &str) -> (Option<i32>, String) {
    use std::os::unix::fs::PermissionsExt;
    let rc = home.path("fetchmailrc");
    let text = format!("poll {} protocol etrn port {} no dns fetchdomains {domain}\n", gateway.ip(), gateway.port(),);
    std::fs::write(&rc, text).unwrap();
    std::fs::set_permissions(&rc, std::fs::Permissions::from_mode(0o600)).unwrap();
    let output = tool("fetchmail")
        .args(["--verbose", "--nosyslog", "--fetchmailrc"])
        .arg(&rc)
        .arg("--pidfile")
        .arg(home.path("fetchmail.pid"))
        .env("HOME", home.path(""))
        .env("FETCHMAILHOME", home.path(""))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn fetchmail_starts_the_mail_that_waits_without_waiting_for_the_gateways_own_attempts() {
    let address = free_address();
    let home = Home::new("");
    home.domain("example.org", &format!("next-hop = \"{address}\"\naccept = \"always\"\n"));
    let gateway = home.start();
    for i in 0..3 {
        assert!(send(gateway.smtp, "ann@example.net", "bob@example.org", &format!("waits {i}")).starts_with("250 "));
    }
    until("all to be held", || (gateway.listed(&["--state", "held"]).len() == 3).then_some(()));
    // It counts what waits, whether the next hop is there or not.
    let (_, said) = fetchmail(&home, gateway.smtp, "example.org");
    assert!(said.contains("ETRN< 253 2.0.0 3 pending messages for node example.org started"), "{said}");
    let back = NextHop::start_at(address, Behaviour::default());
    fetchmail(&home, gateway.smtp, "example.org");
    back.wait(3);
    gateway.wait_until_empty();
    let (_, said) = fetchmail(&home, gateway.smtp, "example.com");
    assert!(said.contains("459 4.7.1"), "{said}");
    gateway.stop();
}

#[test]
fn a_flood_of_etrn_costs_the_next_hop_few_connections_and_ends_the_session() {
    let hop = NextHop::start_with(Behaviour {
        replies: vec![("RCPT".to_owned(), "450 4.2.1 not now".to_owned())],
        ..Behaviour::default()
    });
    let home = Home::new("");
    home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n", hop.address));
    let gateway = home.start();
    assert!(send(gateway.smtp, "ann@example.net", "bob@example.org", "put off").starts_with("250 "));
    gateway.wait_for("bob@example.org", "deferred");
    let mut asked = 0;
    let mut client = Client::connect(gateway.smtp);
    let last = loop {
        let reply = client.command("ETRN example.org");
        if !reply.starts_with("25") {
            break reply;
        }
        asked += 1;
    };
    assert!(last.starts_with("421 4.7.0") && asked >= 50, "{asked}: {last}");
    let log = home.log();
    assert!(log.matches("started domain=example.org").count() <= 2, "{log}");
    gateway.stop();
}
