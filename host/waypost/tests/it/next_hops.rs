//! Next hops that refuse, hang, vanish or talk nonsense: each mail is delivered, waits in plain sight, or its sender is told.

use super::support::{
    gateway::{Gateway, Home},
    next_hop::{Behaviour, NextHop, Recorded, free_address},
    smtp::{Client, send},
    until,
};

const SENDER: &str = "ann@client.test";

/// What becomes of a mail.
#[derive(Clone, Copy)]
enum Fate {
    /// The sender is told.
    Failed,
    /// It waits for a time.
    Deferred,
    /// It waits for the next hop.
    Held,
}

fn saying(command: &str, reply: &str) -> Behaviour {
    Behaviour { replies: vec![(command.into(), reply.into())], ..Behaviour::default() }
}

fn after_dot(reply: &str) -> Behaviour {
    Behaviour { after_dot: Some(reply.into()), ..Behaviour::default() }
}

/// A domain whose mail is accepted whatever the state of its next hop.
fn serve(home: &Home, domain: &str, next_hop: impl std::fmt::Display, more: &str) {
    home.domain(domain, &format!("next-hop = \"{next_hop}\"\naccept = \"always\"\n{more}"));
}

fn home_with_dsn(next_hop: &NextHop) -> Home {
    Home::new(&format!("dsn-next-hop = \"{}\"\n", next_hop.address))
}

fn accepted(gateway: &Gateway<'_>, sender: &str, recipient: &str) {
    let reply = send(gateway.smtp, sender, recipient, "a fault");
    assert!(reply.starts_with("250 "), "{recipient}: {reply}");
}

/// One mail to several recipients.
fn accepted_for_all(gateway: &Gateway<'_>, recipients: &[&str]) {
    let mut client = Client::connect(gateway.smtp);
    assert!(client.command(&format!("MAIL FROM:<{SENDER}>")).starts_with("250 "));
    for recipient in recipients {
        assert!(client.command(&format!("RCPT TO:<{recipient}>")).starts_with("250 "));
    }
    assert!(client.command("DATA").starts_with("354 "));
    assert!(client.command("Subject: for several\r\n\r\nHello.\r\n.").starts_with("250 "));
}

fn notification_about<'a>(notifications: &'a [Recorded], recipient: &str) -> Option<&'a Recorded> {
    notifications.iter().find(|mail| mail.text().contains(&format!("Final-Recipient: rfc822; {recipient}\r\n")))
}

#[test]
fn a_reply_at_any_step_decides_the_mails_fate() {
    let cases: Vec<(&str, Behaviour, Fate, &str)> = vec![
        ("rcpt-550", saying("RCPT", "550 5.1.1 nobody here"), Fate::Failed, "550 5.1.1 nobody here"),
        ("rcpt-garbage", saying("RCPT", "bananas"), Fate::Deferred, "not a reply"),
        ("mail-451", saying("MAIL", "451 4.3.0 not now"), Fate::Deferred, "451 4.3.0 not now"),
        ("mail-550", saying("MAIL", "550 5.7.1 not from you"), Fate::Failed, "550 5.7.1 not from you"),
        ("mail-closes", saying("MAIL", ""), Fate::Deferred, "the connection ended"),
        ("data-451", saying("DATA", "451 4.3.0 later"), Fate::Deferred, "451 4.3.0 later"),
        ("dot-554", after_dot("554 5.6.0 do not like it"), Fate::Failed, "554 5.6.0 do not like it"),
        ("dot-451", after_dot("451 4.3.0 again please"), Fate::Deferred, "451 4.3.0 again please"),
        ("dot-garbage", after_dot("99 bottles"), Fate::Deferred, "not a reply"),
        ("greeting-554", saying("CONNECT", "554 5.3.2 go away"), Fate::Held, "554 5.3.2 go away"),
        ("greeting-421", saying("CONNECT", "421 4.3.2 busy"), Fate::Held, "421 4.3.2 busy"),
        ("greeting-garbage", saying("CONNECT", "HTTP/1.1 400 Bad Request"), Fate::Held, "not a reply"),
        ("greeting-closes", saying("CONNECT", ""), Fate::Held, "the connection ended"),
        ("ehlo-421", saying("EHLO", "421 4.3.2 restarting"), Fate::Held, "421 4.3.2 restarting"),
    ];
    let told = NextHop::start();
    let home = home_with_dsn(&told);
    let mut hops = Vec::new();
    for (name, behaviour, ..) in &cases {
        let hop = NextHop::start_with(behaviour.clone());
        serve(&home, &format!("{name}.example"), hop.address, "");
        hops.push(hop);
    }
    let gateway = home.start();
    let recipient = |name: &str| format!("bob@{name}.example");
    for (name, ..) in &cases {
        accepted(&gateway, SENDER, &recipient(name));
    }
    for (name, _, fate, reason) in &cases {
        let recipient = recipient(name);
        let state = match fate {
            Fate::Failed => {
                let mail = until(&format!("the notification about {recipient}"), || {
                    notification_about(&told.mails(), &recipient).cloned()
                });
                assert!(mail.mail.starts_with("MAIL FROM:<>") && mail.recipients == [SENDER], "{mail:?}");
                assert!(mail.text().contains(reason), "{name}: {}", mail.text());
                assert!(gateway.listed(&["--recipient", &recipient]).is_empty(), "{name} is still queued");
                continue;
            }
            Fate::Deferred => "deferred",
            Fate::Held => "held",
        };
        let entry = gateway.wait_for(&recipient, state);
        assert!(entry["reason"].as_str().unwrap().contains(reason), "{name}: {entry}");
    }
    let failed = cases.iter().filter(|(_, _, fate, _)| matches!(fate, Fate::Failed)).count();
    assert_eq!(told.count(), failed, "only the senders of failed mail are told");
}

#[test]
fn a_next_hop_that_lets_nobody_in_is_away_whatever_it_says() {
    let address = free_address();
    let home = Home::new("");
    serve(&home, "example.org", address, "");
    let gateway = home.start();
    let mut client = Client::connect(gateway.smtp);
    for i in 0..60 {
        assert!(client.mail(SENDER, "bob@example.org", &format!("Subject: {i}\r\n\r\nHello.")).starts_with("250 "));
    }
    until("all to be held", || (gateway.queue(&[])["counts"]["held"] == 60).then_some(()));
    let busy = NextHop::start_at(address, saying("CONNECT", "421 4.3.2 busy"));
    until("a try to connect", || (!busy.connections.lock().unwrap().is_empty()).then_some(()));
    until("all to be held still", || (gateway.queue(&[])["counts"]["held"] == 60).then_some(()));
    busy.stop();
    let willing = NextHop::start_at(address, Behaviour::default());
    willing.wait(60);
    gateway.wait_until_empty();
    assert_eq!(willing.count(), 60);
}

#[test]
fn a_silent_next_hop_delays_no_other_domain() {
    let (silent, lively) = (NextHop::start_with(Behaviour { silent: true, ..Behaviour::default() }), NextHop::start());
    let home = Home::new("");
    serve(&home, "silent.example", silent.address, "");
    serve(&home, "lively.example", lively.address, "");
    let gateway = home.start();
    for _ in 0..30 {
        accepted(&gateway, SENDER, "bob@silent.example");
    }
    until("an attempt at the silent next hop", || (!silent.connections.lock().unwrap().is_empty()).then_some(()));
    for _ in 0..30 {
        accepted(&gateway, SENDER, "bob@lively.example");
    }
    lively.wait(30);
    let waiting = until("only the silent next hop's mail to wait", || {
        Some(gateway.listed(&[])).filter(|listed| listed.len() == 30)
    });
    assert!(waiting.iter().all(|entry| entry["domain"] == "silent.example"), "{waiting:?}");
    assert_eq!(silent.count(), 0);
}

#[test]
fn mail_whose_next_hop_vanished_after_the_dot_is_sent_again() {
    let vanishing = NextHop::start_with(Behaviour { vanish_after_dot: true, ..Behaviour::default() });
    let address = vanishing.address;
    let home = Home::new("");
    serve(&home, "example.org", address, "");
    let gateway = home.start();
    accepted(&gateway, SENDER, "bob@example.org");
    let entry = gateway.wait_for("bob@example.org", "deferred");
    assert!(entry["reason"].as_str().unwrap().contains("may be delivered twice"), "{entry}");
    let first = vanishing.stop();
    assert_eq!(first.len(), 1, "nobody knows whether it was taken, so it is not sent again at once");

    let back = NextHop::start_at(address, Behaviour::default());
    assert_eq!(home.output(&["queue", "retry"]), "1 recipient due now\n");
    let second = back.wait(1);
    assert_eq!(second[0].content, first[0].content, "the same mail, with the same id in its trace field");
    gateway.wait_until_empty();
    gateway.stop();
}

#[test]
fn each_recipient_has_its_own_outcome() {
    let told = NextHop::start();
    let replies = [("RCPT TO:<CAROL@", "550 5.1.1 unknown"), ("RCPT TO:<DAVE@", "452 4.2.2 mailbox full")];
    let replies = replies.map(|(command, reply)| (command.to_owned(), reply.to_owned())).into();
    let hop = NextHop::start_with(Behaviour { replies, ..Behaviour::default() });
    let home = home_with_dsn(&told);
    serve(&home, "example.org", hop.address, "");
    let gateway = home.start();
    one_is_delivered_one_fails_one_waits(&gateway, &hop, &told);
    gateway.stop();
}

#[test]
fn an_lmtp_next_hop_answers_for_each_recipient_after_the_dot() {
    let told = NextHop::start();
    let answers = [("carol@example.org", "550 5.1.1 unknown"), ("dave@example.org", "452 4.2.2 mailbox full")];
    let after_dot_for = answers.map(|(recipient, reply)| (recipient.to_owned(), reply.to_owned())).into();
    let hop = NextHop::start_with(Behaviour { lmtp: true, after_dot_for, ..Behaviour::default() });
    let home = home_with_dsn(&told);
    serve(&home, "example.org", format!("lmtp://{}", hop.address), "");
    let gateway = home.start();
    one_is_delivered_one_fails_one_waits(&gateway, &hop, &told);
    gateway.stop();
}

fn one_is_delivered_one_fails_one_waits(gateway: &Gateway<'_>, hop: &NextHop, told: &NextHop) {
    accepted_for_all(gateway, &["bob@example.org", "carol@example.org", "dave@example.org"]);
    let entry = gateway.wait_for("dave@example.org", "deferred");
    assert!(entry["reason"].as_str().unwrap().contains("452 4.2.2 mailbox full"), "{entry}");
    let notifications = told.wait(1);
    assert!(notification_about(&notifications, "carol@example.org").is_some(), "{}", notifications[0].text());
    assert!(!notifications[0].text().contains("dave@"), "only what has failed is told");
    assert_eq!(hop.mails().iter().map(|mail| &mail.recipients).collect::<Vec<_>>(), [&["bob@example.org"]]);
    until("only one recipient to be left", || (gateway.waiting() == 1).then_some(()));
    assert_eq!(told.count(), 1);
}

#[test]
fn the_second_of_a_list_gets_the_mail_while_the_first_is_away() {
    let (first, second) = (free_address(), NextHop::start());
    let home = Home::new("");
    home.domain("example.org", &format!("next-hop = [\"{first}\", \"{}\"]\naccept = \"always\"\n", second.address));
    let gateway = home.start();
    for _ in 0..5 {
        accepted(&gateway, SENDER, "bob@example.org");
    }
    second.wait(5);
    gateway.wait_until_empty();
    let first = NextHop::start_at(first, Behaviour::default());
    until("mail at the first of the list, now that it is there", || {
        accepted(&gateway, SENDER, "bob@example.org");
        (first.count() > 0).then_some(())
    });
    gateway.stop();
}

#[test]
fn nothing_is_sent_in_clear_text_where_tls_is_required() {
    let hop = NextHop::start();
    let home = Home::new("");
    serve(&home, "example.org", hop.address, "tls = \"required\"\n");
    let gateway = home.start();
    accepted(&gateway, SENDER, "bob@example.org");
    let entry = gateway.wait_for("bob@example.org", "held");
    assert!(entry["reason"].as_str().unwrap().contains("does not offer STARTTLS"), "{entry}");
    assert_eq!(hop.count(), 0);
    gateway.stop();
}

#[test]
fn a_retry_brings_a_deferred_mail_at_once() {
    let hop = NextHop::start_with(after_dot("451 4.3.0 not now"));
    let address = hop.address;
    let home = Home::new("");
    serve(&home, "example.org", address, "");
    let gateway = home.start();
    accepted(&gateway, SENDER, "bob@example.org");
    let entry = gateway.wait_for("bob@example.org", "deferred");
    assert_eq!(entry["attempts"], 1);
    hop.stop();
    let willing = NextHop::start_at(address, Behaviour::default());
    assert_eq!(home.output(&["queue", "retry", "--domain", "example.net"]), "0 recipients due now\n");
    assert_eq!(home.output(&["queue", "retry", "--domain", "example.org"]), "1 recipient due now\n");
    willing.wait(1);
    gateway.wait_until_empty();
    gateway.stop();
}

#[test]
fn when_its_time_is_over_the_sender_is_told_once_and_the_null_sender_never() {
    let told = NextHop::start();
    let busy = NextHop::start_with(after_dot("451 4.3.0 not now"));
    let home = home_with_dsn(&told);
    serve(&home, "dead.example", free_address(), "retention = \"2 s\"\n");
    serve(&home, "busy.example", busy.address, "retention = \"2 s\"\n");
    let gateway = home.start();
    for domain in ["dead", "busy"] {
        accepted(&gateway, "", &format!("nobody@{domain}.example"));
        accepted(&gateway, SENDER, &format!("bob@{domain}.example"));
    }
    let notifications = told.wait(2);
    assert!(notification_about(&notifications, "bob@dead.example").is_some());
    assert!(notification_about(&notifications, "bob@busy.example").is_some());
    gateway.wait_until_empty();
    assert_eq!(told.count(), 2);
    gateway.stop();
}
