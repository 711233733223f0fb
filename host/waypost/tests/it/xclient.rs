//! Proxies that speak for others: clients that we did not write say by XCLIENT who the sender is.

use super::support::{
    gateway::Home,
    next_hop::NextHop,
    smtp::Client,
    tools::{checked, python, tool},
};
use std::net::SocketAddr;

fn home(hop: &NextHop, trusted: &str) -> Home {
    let home = Home::new("");
    let text = std::fs::read_to_string(home.path("waypost.toml")).unwrap();
    // The listener is the file's last table.
    home.write("waypost.toml", &format!("{text}xclient-from = [{trusted}]\n"));
    home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n", hop.address));
    home
}

/// What swaks did, and whether it was content.
fn swaks(gateway: SocketAddr, args: &[&str]) -> (bool, String) {
    let mut swaks = tool("swaks");
    swaks.args(["--server", &gateway.ip().to_string(), "--port", &gateway.port().to_string()]);
    swaks.args(["--from", "ann@client.example", "--to", "bob@example.org", "--helo", "client.example"]);
    let output = swaks.args(args).output().expect("swaks runs");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

const SMTPLIB: &str = r#"
import smtplib, sys
host, port = sys.argv[1].rsplit(":", 1)
client = smtplib.SMTP(host, int(port), local_hostname="proxy.example")
client.ehlo()
assert client.has_extn("xclient"), client.esmtp_features
code, text = client.docmd("XCLIENT", "NAME=client.example ADDR=IPV6:2001:db8::7 PORT=4711 LOGIN=ann PROTO=ESMTP")
assert code == 220, (code, text)
assert client.docmd("MAIL", "FROM:<ann@client.example>")[0] == 503
client.ehlo("client.example")
client.sendmail("ann@client.example", ["bob@example.org"], "Subject: from smtplib\r\n\r\nx\r\n")
client.quit()
"#;

#[test]
fn mail_of_a_trusted_proxy_carries_the_client_that_it_names() {
    let hop = NextHop::start();
    let home = home(&hop, "\"127.0.0.1\"");
    let gateway = home.start();
    python(SMTPLIB, &[&gateway.smtp.to_string()]);
    let mail = hop.wait(1).remove(0).text();
    let expected =
        "Received: from client.example (client.example [IPv6:2001:db8::7])\r\n by gw.test (Waypost) with ESMTPA id ";
    assert!(mail.starts_with(expected), "{mail}");
    let (done, said) = swaks(gateway.smtp, &["--xclient-addr", "192.0.2.7", "--xclient-name", "swaks.example"]);
    assert!(done, "{said}");
    let mail = hop.wait(2).remove(1).text();
    let expected = "Received: from client.example (swaks.example [192.0.2.7])\r\n by gw.test (Waypost) with ESMTP id ";
    assert!(mail.starts_with(expected), "{mail}");
    assert!(home.log().contains("192.0.2.7"), "the log names the client");
    gateway.stop();
}

#[test]
fn nobody_else_is_offered_xclient_or_believed() {
    let hop = NextHop::start();
    for trusted in ["", "\"192.0.2.0/24\", \"::1\""] {
        let home = home(&hop, trusted);
        let gateway = home.start();
        let (done, said) = swaks(gateway.smtp, &["--xclient-addr", "192.0.2.7"]);
        assert!(!done && !said.contains("250-XCLIENT"), "{said}");
        let mut client = Client::connect(gateway.smtp);
        assert!(client.command("XCLIENT ADDR=192.0.2.7").starts_with("550 5.7.0 "));
        assert!(client.mail("ann@client.example", "bob@example.org", "Subject: x\r\n\r\nx").starts_with("250 "));
        gateway.stop();
    }
    assert!(hop.wait(2).iter().all(|mail| mail.text().contains("([127.0.0.1])")));
}

/// S22: a limit of the client's address is not got round, and not spent by another.
#[test]
fn limits_count_for_the_client_that_the_proxy_names() {
    let hop = NextHop::start();
    let home = home(&hop, "\"127.0.0.1\"");
    let text = std::fs::read_to_string(home.path("waypost.toml")).unwrap();
    home.write("waypost.toml", &format!("limits.per-address.messages-per-minute = 2\n{text}"));
    let gateway = home.start();
    let send = |address: &str| {
        let mut proxy = Client::connect(gateway.smtp);
        assert!(proxy.command(&format!("XCLIENT ADDR={address}")).starts_with("220 "));
        proxy.command("EHLO client.example");
        proxy.mail("ann@client.example", "bob@example.org", "Subject: x\r\n\r\nx")
    };
    for address in ["192.0.2.7", "192.0.2.8"] {
        for _ in 0..2 {
            assert!(send(address).starts_with("250 "));
        }
        let third = send(address);
        assert!(third.starts_with('4') && third.contains("[WP-RATE]"), "{third}");
    }
    hop.wait(4);
    gateway.stop();
}

#[test]
fn a_proxy_may_say_it_under_tls_and_after_many_mails() {
    let hop = NextHop::start();
    let home = home(&hop, "\"127.0.0.1\"");
    let gateway = home.start();
    let mut tls = tool("swaks");
    tls.args(["--server", &gateway.smtp.ip().to_string(), "--port", &gateway.smtp.port().to_string(), "--tls"]);
    tls.args(["--from", "ann@client.example", "--to", "bob@example.org", "--xclient-addr", "192.0.2.9"]);
    checked("swaks", tls.output().expect("swaks runs"));
    let mail = hop.wait(1).remove(0).text();
    assert!(mail.contains("[192.0.2.9]") && mail.contains("with ESMTPS id"), "{mail}");
    let mut proxy = Client::connect(gateway.smtp);
    for nth in 1..=3 {
        assert!(proxy.command(&format!("XCLIENT ADDR=198.51.100.{nth}")).starts_with("220 "));
        proxy.command("EHLO client.example");
        assert!(proxy.mail("ann@client.example", "bob@example.org", "Subject: x\r\n\r\nx").starts_with("250 "));
        assert!(hop.wait(1 + nth).remove(nth).text().contains(&format!("[198.51.100.{nth}]")));
    }
    gateway.stop();
}
