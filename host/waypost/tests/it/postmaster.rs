//! RFC 5321 §4.5.1: postmaster reaches somebody, with or without a domain, whatever the plugins say.

use super::support::{gateway::Home, next_hop::NextHop, smtp::send};

#[test]
fn postmaster_is_never_refused_and_never_lost() {
    let next_hop = NextHop::start();
    let home = Home::new("");
    home.with_plugin("recipients").domain(
        "example.org",
        &format!(
            "next-hop = \"{}\"\naccept = \"always\"\nplugins = [\"recipients\"]\n[config.recipients]\naddresses = [\"ann\"]\n",
            next_hop.address
        ),
    );
    let gateway = home.start();
    assert!(send(gateway.smtp, "a@b.example", "nobody@example.org", "x").starts_with("550 5.1.1 [WP-RCPT]"));
    for recipient in ["Postmaster@example.org", "postmaster", "postmaster@gw.test"] {
        assert!(send(gateway.smtp, "a@b.example", recipient, recipient).starts_with("250 "), "{recipient}");
    }
    let mails = next_hop.wait(3);
    assert!(mails.iter().all(|mail| mail.recipients.iter().all(|r| r.eq_ignore_ascii_case("postmaster@example.org"))));
    gateway.stop();
}
