//! Debian's Postfix on both sides: as the client that hands in mail, and as the next hop.

mod instance;

use super::support::{
    content::{assert_same, sample},
    gateway::{Gateway, Home},
    next_hop::{NextHop, Recorded, free_address},
    tools::{checked, tool},
    until,
};
use instance::Postfix;

const SIZES: [usize; 10] = [100, 500, 1000, 2000, 5000, 10_000, 50_000, 200_000, 1_000_000, 3_000_000];

/// Sends everything through the gateway, with TLS where it is offered.
fn client(gateway: &Gateway<'_>) -> Postfix {
    Postfix::new(
        "client.test",
        &format!(
            "relayhost = [{}]:{}\nsmtp_tls_security_level = may\nsmtpd_relay_restrictions = permit_mynetworks, reject",
            gateway.smtp.ip(),
            gateway.smtp.port()
        ),
    )
}

/// Takes mail for example.org, by TLS if the client likes, and relays it to the recorder.
fn next_hop(home: &Home, recorder: &NextHop) -> Postfix {
    Postfix::new(
        "next-hop.test",
        &format!(
            "relay_domains = example.org\nrelay_transport = relay:[{}]:{}\nsmtpd_relay_restrictions = reject_unauth_destination\nsmtp_tls_security_level = none\nsmtpd_tls_security_level = may\nsmtpd_tls_chain_files = {}, {}\nsmtpd_tls_received_header = yes",
            recorder.address.ip(),
            recorder.address.port(),
            home.path("data/self-signed.key").display(),
            home.path("data/self-signed.crt").display(),
        ),
    )
}

/// Whole lines below any header section. Postfix breaks lines over 998 octets, so there are none.
fn body(size: usize) -> Vec<u8> {
    let content = sample("postfix", size + 60);
    let end = content.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    content[end + 4..].to_vec()
}

fn body_of(mail: &Recorded) -> &[u8] {
    let end = mail.content.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    &mail.content[end + 4..]
}

/// As programs have lines.
fn unix(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| *byte != b'\r').collect()
}

fn from<'a>(mails: &'a [Recorded], sender: &str) -> Vec<&'a Recorded> {
    let start = format!("MAIL FROM:<{sender}>");
    mails.iter().filter(|mail| mail.mail.starts_with(&start)).collect()
}

#[test]
fn mail_from_postfix_reaches_postfix_with_the_tag_and_its_body_unchanged() {
    let recorder = NextHop::start();
    let home = Home::new("");
    home.with_plugin("tag");
    let (gateway, far) = with_next_hop(&home, &recorder, "plugins = [\"tag\"]\n");
    let near = client(&gateway);
    near.start();
    let bodies = SIZES.map(body);
    for (n, body) in bodies.iter().enumerate() {
        let head = format!("Subject: local {n}\nFrom: local{n}@client.test\n\n").into_bytes();
        near.sendmail(&format!("local{n}@client.test"), &["ann@example.org"], &[head, unix(body)].concat());
    }
    for (n, body) in bodies.iter().enumerate() {
        let head = format!("Subject: remote {n}\nFrom: remote{n}@client.test\n\n").into_bytes();
        std::fs::write(home.path("source"), [head, unix(body)].concat()).unwrap();
        let output = tool("smtp-source")
            .args(["-M", "client.test", "-f", &format!("remote{n}@client.test"), "-t", "ann@example.org", "-F"])
            .arg(home.path("source"))
            .arg(near.smtp.to_string())
            .output()
            .unwrap();
        checked("smtp-source", output);
    }
    let mails = recorder.wait(20);
    for (n, body) in bodies.iter().enumerate() {
        // smtp-source adds an empty line.
        let expected = [
            (format!("local{n}@client.test"), body.clone()),
            (format!("remote{n}@client.test"), [body, &b"\r\n"[..]].concat()),
        ];
        for (sender, body) in expected {
            let [mail] = from(&mails, &sender)[..] else { panic!("not one mail from {sender}") };
            assert_same(&sender, &body, body_of(mail));
            assert_went_through(mail);
        }
    }
    until("the queue to be empty", || (gateway.waiting() == 0).then_some(()));
    assert_eq!(recorder.count(), 20);
    drop((near, far));
    gateway.stop();
}

/// The gateway, and Postfix behind it, started; the certificate exists once the gateway has run.
fn with_next_hop<'a>(home: &'a Home, recorder: &NextHop, domain: &str) -> (Gateway<'a>, Postfix) {
    home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n", free_address()));
    home.start().stop();
    let far = next_hop(home, recorder);
    far.start();
    home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n{domain}", far.smtp));
    (home.start(), far)
}

/// By TLS on both sides of the gateway, and tagged by the plugin.
fn assert_went_through(mail: &Recorded) {
    let header = mail.text();
    let header = header.split("\r\n\r\n").next().unwrap();
    let unfolded = header.replace("\r\n ", " ").replace("\r\n\t", " ");
    let fields: Vec<&str> = unfolded.lines().collect();
    let received: Vec<&&str> = fields.iter().filter(|field| field.starts_with("Received: ")).collect();
    assert!(received.len() >= 3, "{header}");
    assert!(received[0].contains("by next-hop.test (Postfix) with ESMTPS"), "{header}");
    assert!(received[1].contains("by gw.test (Waypost) with ESMTPS id"), "{header}");
    assert!(received[2].contains("by client.test (Postfix"), "{header}");
    let tags: Vec<_> = fields.iter().filter_map(|field| field.strip_prefix("X-Waypost: ")).collect();
    assert_eq!(tags.len(), 1, "{header}");
    assert!(received[1].contains(tags[0]), "the tag is the gateway's id: {header}");
}

#[test]
fn mail_waits_while_postfix_is_down_and_arrives_when_it_is_up_again() {
    let recorder = NextHop::start();
    let home = Home::new("");
    let (gateway, far) = with_next_hop(&home, &recorder, "");
    far.stop();
    let near = client(&gateway);
    near.start();
    for n in 0..5 {
        near.sendmail(
            &format!("s{n}@client.test"),
            &["ann@example.org"],
            format!("Subject: {n}\n\nwaits\n").as_bytes(),
        );
    }
    until("the mail to be held", || {
        let held = gateway.queue(&["--state", "held"]);
        (held["recipients"].as_array()?.len() == 5).then_some(())
    });
    assert_eq!(recorder.count(), 0);
    far.start();
    let mails = recorder.wait(5);
    for n in 0..5 {
        assert_eq!(from(&mails, &format!("s{n}@client.test")).len(), 1);
    }
    until("the queue to be empty", || (gateway.waiting() == 0).then_some(()));
    assert_eq!(recorder.count(), 5);
    drop((near, far));
    gateway.stop();
}

#[test]
fn postfix_gets_recipients_of_two_domains_through_in_two_transactions() {
    let (org, net) = (NextHop::start(), NextHop::start());
    let home = Home::new("");
    for (name, hop) in [("example.org", &org), ("example.net", &net)] {
        home.domain(name, &format!("next-hop = \"{}\"\naccept = \"always\"\n", hop.address));
    }
    let gateway = home.start();
    let near = client(&gateway);
    near.start();
    near.sendmail("ann@client.test", &["ann@example.org", "bob@example.net"], b"Subject: both\n\nfor two\n");
    until("the second recipient to be put off", || {
        let log = near.log();
        (log.contains("status=sent") && log.contains("status=deferred") && log.contains("452 4.5.3")).then_some(())
    });
    checked("postqueue", near.command("postqueue").arg("-f").output().unwrap());
    assert_eq!((org.wait(1)[0].recipients.len(), net.wait(1)[0].recipients.len()), (1, 1));
    until("the queue to be empty", || (gateway.waiting() == 0).then_some(()));
    assert_eq!((org.count(), net.count()), (1, 1));
    drop(near);
    gateway.stop();
}
