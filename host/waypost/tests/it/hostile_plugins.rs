//! A domain's plugin loops, hoards or traps: its own mail gets the fate that its file states, others notice nothing.

use super::support::{
    gateway::{Gateway, Home},
    next_hop::NextHop,
    smtp::{Client, send},
    until,
};

const LIMITS: &str = "[plugins.hostile]\ntime = \"500 ms\"\nmemory = \"16 MiB\"\n";
const REFUSED: &str = "451 4.3.0 [WP-PLUGIN]";

/// A domain whose only plugin is the hostile one, with these orders.
fn orders(home: &Home, domain: &str, next_hop: &NextHop, on_failure: &str, config: &str) {
    home.domain(
        domain,
        &format!(
            "next-hop = \"{}\"\naccept = \"always\"\nplugins = [{{ use = \"hostile\", on-failure = \"{on_failure}\", config = {{ {config} }} }}]\n",
            next_hop.address
        ),
    );
}

/// `other.example` has no plugins.
fn home(gateway: &str, next_hop: &NextHop) -> Home {
    let home = Home::new(gateway);
    home.with_plugin("hostile");
    home.domain("other.example", &format!("next-hop = \"{}\"\naccept = \"always\"\n", next_hop.address));
    home
}

fn mail(gateway: &Gateway<'_>, domain: &str) -> String {
    send(gateway.smtp, "ann@client.test", &format!("bob@{domain}"), "a trial")
}

/// Clients whose mails the plugin judges now.
fn with_calls_under_way(gateway: &Gateway<'_>, calls: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..calls).map(|_| Client::connect(gateway.smtp)).collect();
    for client in &mut clients {
        for line in ["MAIL FROM:<ann@client.test>", "RCPT TO:<bob@bad.example>", "DATA"] {
            let reply = client.command(line);
            assert!(reply.starts_with(['2', '3']), "{reply}");
        }
    }
    for client in &mut clients {
        client.send(b"Subject: for the plugin\r\n\r\nHello.\r\n.\r\n").expect("sent");
    }
    clients
}

/// So many mails for `other.example`, over one session.
fn others_get_through(gateway: &Gateway<'_>, next_hop: &NextHop, mails: usize) {
    let before = next_hop.count();
    let mut client = Client::connect(gateway.smtp);
    for i in 0..mails {
        let reply = client.mail("ann@client.test", "bob@other.example", &format!("Subject: {i}\r\n\r\nHello."));
        assert!(reply.starts_with("250 "), "{reply}");
    }
    next_hop.wait(before + mails);
}

#[test]
fn other_domains_mail_passes_calls_that_do_not_end() {
    let next_hop = NextHop::start();
    let home = home("[plugins.hostile]\ntime = \"300 s\"\n", &next_hop);
    orders(&home, "bad.example", &next_hop, "tempfail", "message = \"sleep\"");
    let gateway = home.start();
    // As many as one domain may have.
    let mut asleep = with_calls_under_way(&gateway, 16);
    others_get_through(&gateway, &next_hop, 50);
    assert!(asleep.iter_mut().all(|client| !client.has_reply()), "the calls were to be under way all the time");
}

#[test]
fn other_domains_mail_passes_endless_loops() {
    let next_hop = NextHop::start();
    // Only the processor time ends them, half a second for each. How far they are when the others are
    // through depends on the machine; the test above is about calls that surely go on.
    let home = home("[plugins.hostile]\ntime = \"300 s\"\n", &next_hop);
    orders(&home, "bad.example", &next_hop, "tempfail", "message = \"loop\"");
    let gateway = home.start();
    let mut looping = with_calls_under_way(&gateway, 16);
    others_get_through(&gateway, &next_hop, 20);
    for client in &mut looping {
        assert!(client.reply().is_some_and(|reply| reply.starts_with(REFUSED)));
    }
    gateway.stop();
}

#[test]
fn whatever_a_plugin_does_its_mail_is_put_off_and_the_gateway_lives() {
    let next_hop = NextHop::start();
    let home = home(LIMITS, &next_hop);
    let deeds =
        ["loop", "sleep", "memory", "trap", "recursion", "exit", "handles", "bad-code", "wrong-class", "inject-reply"];
    for deed in deeds {
        orders(&home, &format!("{deed}-at-message.example"), &next_hop, "tempfail", &format!("message = \"{deed}\""));
        orders(
            &home,
            &format!("{deed}-at-recipient.example"),
            &next_hop,
            "tempfail",
            &format!("recipient = \"{deed}\""),
        );
    }
    let gateway = home.start();
    for deed in deeds {
        for hook in ["message", "recipient"] {
            let reply = mail(&gateway, &format!("{deed}-at-{hook}.example"));
            assert!(reply.starts_with(REFUSED), "{deed} in on-{hook}: {reply}");
        }
    }
    others_get_through(&gateway, &next_hop, 5);
    assert_eq!((next_hop.count(), gateway.waiting()), (5, 0), "nothing of what was put off is kept");
    gateway.stop();
}

#[test]
fn the_stated_policy_decides_what_a_failure_means() {
    let next_hop = NextHop::start();
    let home = home(LIMITS, &next_hop);
    for policy in ["pass", "reject", "quarantine"] {
        orders(&home, &format!("{policy}.example"), &next_hop, policy, "message = \"trap\"");
    }
    let gateway = home.start();
    // More often than the plugin is asked: then the policy answers without it.
    for i in 1..=8 {
        assert!(mail(&gateway, "pass.example").starts_with("250 "));
        assert!(mail(&gateway, "reject.example").starts_with("554 5.3.0 [WP-PLUGIN]"));
        assert!(mail(&gateway, "quarantine.example").starts_with("250 "));
        next_hop.wait(i);
    }
    gateway.wait_for("bob@quarantine.example", "quarantined");
    let quarantined = gateway.listed(&["--state", "quarantined"]);
    assert_eq!(quarantined.len(), 8);
    assert!(quarantined.iter().all(|entry| entry["reason"] == "plugin hostile failed" && entry["due-at"].is_null()));
    assert_eq!(home.output(&["queue", "retry"]), "0 recipients due now\n", "a person has to release it");

    assert_eq!(home.output(&["queue", "release", "--domain", "quarantine.example"]), "8 recipients released\n");
    let arrived = next_hop.wait(16);
    assert_eq!(arrived.iter().filter(|mail| mail.recipients == ["bob@quarantine.example"]).count(), 8);
    gateway.wait_until_empty();
    assert_eq!(next_hop.count(), 16);
    gateway.stop();
}

#[test]
fn what_a_plugin_quarantines_waits_for_a_person_also_after_a_restart() {
    let next_hop = NextHop::start();
    let home = home(LIMITS, &next_hop);
    orders(&home, "bad.example", &next_hop, "tempfail", "message = \"count\"");
    let gateway = home.start();
    assert!(mail(&gateway, "bad.example").starts_with("250 "));
    assert_eq!(gateway.wait_for("bob@bad.example", "quarantined")["reason"], "1");
    gateway.stop();
    let gateway = home.start();
    assert_eq!(gateway.wait_for("bob@bad.example", "quarantined")["reason"], "1");
    assert_eq!(next_hop.count(), 0);
    assert_eq!(home.output(&["queue", "remove", "--state", "quarantined"]), "1 recipient removed\n");
    assert_eq!(gateway.waiting(), 0);
    gateway.stop();
}

#[test]
fn after_the_250_a_failing_plugin_costs_no_mail() {
    let next_hop = NextHop::start();
    let home = home(LIMITS, &next_hop);
    for deed in ["trap", "loop", "memory"] {
        orders(&home, &format!("{deed}.example"), &next_hop, "reject", &format!("route = \"{deed}\""));
    }
    // Nobody listens there.
    let away = super::support::next_hop::free_address();
    home.domain(
        "offline.example",
        &format!("next-hop = \"{away}\"\naccept = \"always\"\nplugins = [\"hostile\"]\n[config.hostile]\noffline = \"trap\"\n"),
    );
    let gateway = home.start();
    for domain in ["trap", "loop", "memory", "offline"] {
        assert!(mail(&gateway, &format!("{domain}.example")).starts_with("250 "), "{domain}");
    }
    next_hop.wait(3);
    let entry = gateway.wait_for("bob@offline.example", "held");
    assert!(entry["waiting-for"].as_str().is_some_and(|hop| hop.contains(&away.to_string())), "{entry}");
    until("the rest to be delivered", || (gateway.waiting() == 1).then_some(()));
    gateway.stop();
}
