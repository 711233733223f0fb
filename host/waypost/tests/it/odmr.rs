//! Mail that its owner collects (RFC 2645): fetchmail does it with a configuration of the documentation, and a client
//! of the tests' own, of which the gateway knows nothing, with the other mechanisms and with trouble.

use super::{
    identity::REQUIRE_TLS,
    support::{
        content::{assert_same, sample},
        gateway::{Gateway, Home, password_lines, root},
        next_hop::{NextHop, free_address},
        smtp::{Client, send},
        tools::{python, tool},
        until,
    },
};
use serde_json::{Value, json};
use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt};

/// Of the password secret; the hash is as cheap as it may be.
const CHECK_IN: &str = "[check-in]
user = \"example-org\"
password-hash = \"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$QQCd8VPOryZiCF3MtwQnPTK7odKCaPcXJGplgNEuj1A\"
scram-sha-256 = \"SCRAM-SHA-256$4096:c2l4dGVlbiBieXRlcyB4eA==$XFL9MPLZ4chaadeMdrNCoNSQXBR3v93gVL7ed0k6A7E=:NmPTk2+dsRpKr/IQCCOxkr18uTGA+prmhtGeWaHtR1c=\"
";
const SECRET: &str = "a password of its own";

/// example.org and example.com are of one user, other.example of another.
fn home() -> Home {
    let home = Home::new("");
    let listener = |service: &str| format!("[[listener]]\naddress = \"127.0.0.1:0\"\nservice = \"{service}\"\n");
    home.write(
        "waypost.toml",
        &format!("hostname = \"gw.test\"\n[admin]\nlisten = \"127.0.0.1:0\"\n{}{}", listener("smtp"), listener("odmr")),
    );
    let file = format!("next-hop = \"on-demand\"\n{CHECK_IN}cram-md5-secret = \"{SECRET}\"\n");
    home.domain("example.org", &file).domain("example.com", &file);
    home.domain("other.example", &file.replace("user = \"example-org\"", "user = \"other\""));
    home
}

fn odmr_port(home: &Home) -> SocketAddr {
    let run: Value = serde_json::from_slice(&fs::read(home.path("data/run.json")).unwrap()).unwrap();
    run["listeners"][1].as_str().unwrap().parse().unwrap()
}

/// A mail that waits to be collected.
fn waits(gateway: &Gateway<'_>, recipient: &str, subject: &str) {
    let reply = send(gateway.smtp, "sender@elsewhere.example", recipient, subject);
    assert!(reply.starts_with("250 "), "{reply}");
    let entry = gateway.wait_for(recipient, "held");
    assert_eq!(entry["reason"], "waits to be collected (ATRN)", "{entry}");
}

/// What the scripted collector tells; `more` is added to what it is asked for.
fn collect(home: &Home, more: Value) -> Value {
    let address = odmr_port(home);
    let mut wanted = json!({
        "address": [address.ip().to_string(), address.port()],
        "user": "example-org", "password": "secret", "mechanism": "SCRAM-SHA-256", "tls": true,
    });
    wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_str(&python(include_str!("scripts/odmr.py"), &[&wanted.to_string()])).unwrap()
}

/// The recipients of each mail that was collected, in their order.
fn recipients(told: &Value) -> Vec<String> {
    let mails = told["mails"].as_array().unwrap_or_else(|| panic!("nothing collected: {told}"));
    mails.iter().flat_map(|mail| mail["recipients"].as_array().unwrap()).map(|r| r.as_str().unwrap().into()).collect()
}

/// The configuration of the documentation, with this test's addresses.
fn fetchmailrc(home: &Home, server: SocketAddr) -> std::path::PathBuf {
    let page = fs::read_to_string(root().join("docs/on-demand.md")).unwrap();
    let block =
        page.split("```").find(|block| block.contains("with protocol ODMR")).expect("a fetchmail configuration");
    let mut text = block.to_owned();
    for (documented, real) in [
        ("gateway.example.net", "127.0.0.1"),
        ("port 366", &format!("port {}", odmr_port(home).port())),
        ("the cram-md5-secret", SECRET),
        ("localhost/25", &format!("{}/{}", server.ip(), server.port())),
    ] {
        assert!(text.contains(documented), "{documented}: {text}");
        text = text.replace(documented, real);
    }
    home.write("fetchmailrc", &text);
    // fetchmail refuses one that others may read.
    fs::set_permissions(home.path("fetchmailrc"), fs::Permissions::from_mode(0o600)).unwrap();
    home.path("fetchmailrc")
}

#[test]
fn fetchmail_collects_all_that_waits_byte_for_byte_and_leaves_what_a_person_holds() {
    let (home, server) = (home(), NextHop::start());
    let gateway = home.start();
    let mut sent = Vec::new();
    for (i, size) in [0, 1, 998, 5_000, 300_000].into_iter().enumerate() {
        let content = sample(&format!("odmr-{i}"), size);
        let mut client = Client::connect(gateway.smtp);
        client.command("MAIL FROM:<sender@elsewhere.example> BODY=8BITMIME");
        client.command(&format!("RCPT TO:<ann{i}@example.org>"));
        client.send(format!("BDAT {} LAST\r\n", content.len()).as_bytes()).unwrap();
        client.send(&content).unwrap();
        assert!(client.reply().unwrap().starts_with("250 "));
        sent.push(content);
    }
    waits(&gateway, "kept@example.org", "kept");
    home.output(&["queue", "hold", "--recipient", "kept@example.org", "--reason", "mine"]);
    waits(&gateway, "ann@other.example", "another's");
    until("all to be held", || (gateway.listed(&["--state", "held"]).len() == 7).then_some(()));

    let output = tool("fetchmail")
        .args(["--nodetach", "--nosyslog", "-v", "-f"])
        .arg(fetchmailrc(&home, server.address))
        .arg("--pidfile")
        .arg(home.path("fetchmail.pid"))
        .env("HOME", home.path(""))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}");
    let mut arrived = server.wait(sent.len());
    arrived.sort_by(|a, b| a.recipients.cmp(&b.recipients));
    for (i, (mail, content)) in arrived.iter().zip(&sent).enumerate() {
        assert_eq!(mail.recipients, [format!("ann{i}@example.org")]);
        assert_same(&format!("mail {i}"), content, mail.without_trace());
    }
    until("the collected mail to be gone", || (gateway.waiting() == 2).then_some(()));
    assert_eq!(gateway.wait_for("kept@example.org", "held")["reason"], "mine");
    let trace = home.output(&["trace", "--recipient", "ann0@example.org"]);
    assert!(trace.contains("collected on demand (ATRN) by example-org from 127.0.0.1:"), "{trace}");
    assert!(home.log().contains("outcome=\"collected\""));
    assert!(!home.log().contains(SECRET) && !home.log().contains("secret"), "a password in the log");
}

#[test]
fn a_user_collects_all_their_domains_and_each_recipient_fares_as_its_server_says() {
    let home = home();
    let gateway = home.start();
    assert_eq!(collect(&home, json!({}))["atrn"], "453 4.2.0 You have no mail");
    for recipient in ["ann@example.org", "gone@example.org", "later@example.org", "bob@example.com"] {
        waits(&gateway, recipient, "Hello");
    }
    let mut client = Client::connect(gateway.smtp);
    client.command("MAIL FROM:<sender@elsewhere.example>");
    for who in ["one", "gone", "later", "two"] {
        client.command(&format!("RCPT TO:<{who}+mixed@example.org>"));
    }
    client.command("DATA");
    assert!(client.command("Subject: mixed\r\n\r\n..Hello.\r\n.").starts_with("250 "));
    gateway.wait_for("two+mixed@example.org", "held");

    let replies = json!({ "gone": "550 5.1.1 nobody", "later": "450 4.2.1 not now" });
    let told = collect(&home, json!({ "mechanism": "PLAIN", "replies": replies }));
    assert!(told["offers"].as_array().unwrap().contains(&json!("AUTH CRAM-MD5")), "{told}");
    assert!(told["offers-tls"].as_array().unwrap().contains(&json!("AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN")), "{told}");
    assert_eq!(told["auth"], "235 2.7.0 Authenticated");
    let mut got = recipients(&told);
    got.sort();
    assert_eq!(got, ["ann@example.org", "bob@example.com", "one+mixed@example.org", "two+mixed@example.org"]);
    let mixed = told["mails"].as_array().unwrap().iter().find(|mail| mail["recipients"].as_array().unwrap().len() == 2);
    assert!(mixed.unwrap()["content"].as_str().unwrap().ends_with("Subject: mixed\r\n\r\n.Hello.\r\n"));
    // Later is as it was, with one attempt more; whoever wrote to gone is told of both.
    until("the deferred to wait again, and the sender to be told", || {
        let listed = gateway.listed(&[]);
        let count = |who: &str| listed.iter().filter(|e| e["recipient"].as_str().unwrap().starts_with(who)).count();
        (listed.len() == 4 && count("later") == 2 && count("sender@elsewhere.example") == 2).then_some(())
    });
    let told = collect(&home, json!({ "domains": "example.org" }));
    assert_eq!(told["auth"], "235 2.7.0 Authenticated");
    assert_eq!(recipients(&told).len(), 2);
}

#[test]
fn nobody_collects_with_a_wrong_password_or_what_is_anothers() {
    let home = home();
    let gateway = home.start();
    for recipient in ["ann@example.org", "ann@other.example"] {
        waits(&gateway, recipient, "Hello");
    }
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "CRAM-MD5"] {
        for (user, password) in [("example-org", "secrets"), ("nobody", "secret")] {
            let told = collect(&home, json!({ "mechanism": mechanism, "user": user, "password": password }));
            assert!(told["auth"].as_str().unwrap().starts_with("535 5.7.8 "), "{mechanism} {user}: {told}");
        }
    }
    for domains in ["other.example", "example.org,other.example", "unknown.example"] {
        let told = collect(&home, json!({ "domains": domains }));
        assert!(told["atrn"].as_str().unwrap().starts_with("450 4.7.1 "), "{told}");
    }
    assert_eq!(gateway.listed(&["--state", "held"]).len(), 2, "nothing was handed over");
    let told = collect(&home, json!({ "mechanism": "CRAM-MD5", "password": SECRET, "tls": false }));
    assert_eq!(recipients(&told), ["ann@example.org"]);
    let mut client = Client::connect(odmr_port(&home));
    assert!(client.command("AUTH PLAIN AGV4YW1wbGUtb3JnAHNlY3JldA==").starts_with("538 5.7.11 "));
    assert!(client.command("MAIL FROM:<>").starts_with("502 5.5.1 "));
    assert!(!home.log().contains("secret"), "a password in the log");
}

#[test]
fn the_lines_of_waypost_password_open_with_every_mechanism() {
    let (home, password) = (home(), "correct horse");
    let lines = password_lines(password, &["--scram", "--cram-md5"]);
    let file = format!("next-hop = \"on-demand\"\n{lines}");
    home.domain("example.org", &file).domain("example.com", &file);
    let secret = lines.split("cram-md5-secret = \"").nth(1).unwrap().trim_end().trim_end_matches('"');
    let _gateway = home.start();
    for (mechanism, password) in [("PLAIN", password), ("SCRAM-SHA-256", password), ("CRAM-MD5", secret)] {
        let told = collect(
            &home,
            json!({ "mechanism": mechanism, "password": password, "domains": "example.org,example.com" }),
        );
        assert!(told["auth"].as_str().unwrap().starts_with("235 "), "{mechanism}: {told}");
        assert_eq!(told["atrn"], "453 4.2.0 You have no mail", "{mechanism}");
    }
}

#[test]
fn after_ten_failures_an_address_has_to_wait() {
    let home = home();
    let _gateway = home.start();
    let wrong = "AUTH PLAIN AGV4YW1wbGUtb3JnAHdyb25n";
    home.write("waypost.toml", "");
    let replies: Vec<String> = (0..5)
        .flat_map(|_| {
            let told = collect(&home, json!({ "password": "wrong" }));
            let mut client = Client::connect(odmr_port(&home));
            let challenge = client.command("AUTH CRAM-MD5");
            let response = if challenge.starts_with("334 ") {
                client.command("ZXhhbXBsZS1vcmcgYjkxM2E2MDJjN2VkYTdhNDk1YjRlNmU3MzM0ZDM4OTA=")
            } else {
                challenge
            };
            [told["auth"].as_str().unwrap().to_owned(), response]
        })
        .collect();
    assert!(replies.iter().all(|reply| reply.starts_with("535 ")), "{replies:?} {wrong}");
    assert!(collect(&home, json!({}))["auth"].as_str().unwrap().starts_with("421 4.7.0 [WP-LOGIN]"));
}

#[test]
fn mail_that_goes_over_tls_only_is_not_collected_in_clear_text() {
    let (home, away) = (home(), free_address());
    let secret = format!("{CHECK_IN}cram-md5-secret = \"{SECRET}\"\n");
    let file = format!("next-hop = \"{away}\"\naccept = \"always\"\ntls = \"required\"\n{secret}");
    home.domain("example.org", &file);
    let gateway = home.start();
    waits(&gateway, "ann@example.com", "Hello");
    assert!(send(gateway.smtp, "sender@elsewhere.example", "ann@example.org", "Hello").starts_with("250 "));
    gateway.wait_for("ann@example.org", "held");
    let login = |tls: bool, domains: &str| {
        let more = json!({ "mechanism": "CRAM-MD5", "password": SECRET, "tls": tls, "domains": domains });
        collect(&home, more)
    };
    for domains in ["", "example.org", "example.com,example.org"] {
        let told = login(false, domains);
        assert!(told["atrn"].as_str().unwrap().starts_with("450 4.7.1 [WP-ATRN]"), "{told}");
    }
    assert_eq!(recipients(&login(false, "example.com")), ["ann@example.com"]);
    assert_eq!(recipients(&login(true, "example.org")), ["ann@example.org"]);
    gateway.wait_until_empty();
}

#[test]
fn a_password_that_is_changed_ends_a_collection() {
    let home = home();
    let gateway = home.start();
    for i in 0..3 {
        waits(&gateway, &format!("ann{i}@example.org"), "Hello");
    }
    let (reached, go) = (home.path("reached"), home.path("go"));
    let told = std::thread::scope(|scope| {
        let collecting = scope.spawn(|| collect(&home, json!({ "domains": "example.org", "pause": [reached, go] })));
        until("the first mail to be under way", || reached.exists().then_some(()));
        let changed = CHECK_IN.replace("c29tZXNhbHQ$Q", "c29tZXNhbHQ$R");
        assert_ne!(changed, CHECK_IN);
        home.domain("example.org", &format!("next-hop = \"on-demand\"\n{changed}"));
        gateway.reload("reloaded", 1);
        home.write("go", "");
        collecting.join().unwrap()
    });
    assert_eq!(recipients(&told).len(), 1, "{told}");
    until("the rest to wait again", || (gateway.waiting() == 2).then_some(()));
}

#[test]
fn mail_that_requires_tls_is_left_for_a_next_hop_and_returned_where_there_is_none() {
    let (home, away) = (home(), free_address());
    home.domain("example.org", &format!("next-hop = \"{away}\"\naccept = \"always\"\n{CHECK_IN}"));
    let gateway = home.start();
    python(REQUIRE_TLS, &[&gateway.smtp.to_string()]);
    assert!(send(gateway.smtp, "sender@elsewhere.example", "bob@example.org", "Hello").starts_with("250 "));
    gateway.wait_for("bob@example.org", "held");
    gateway.wait_for("ann@example.org", "held");
    assert_eq!(recipients(&collect(&home, json!({}))), ["bob@example.org"]);
    gateway.wait_for("ann@example.org", "held");
    assert!(!home.log().contains("5.7.30"));

    home.domain("example.org", &format!("next-hop = \"on-demand\"\n{CHECK_IN}"));
    gateway.reload("reloaded", 1);
    assert!(recipients(&collect(&home, json!({}))).is_empty());
    until("the mail to fail", || home.log().contains("5.7.30").then_some(()));
}

#[test]
fn a_collection_that_is_cut_and_a_gateway_that_is_killed_lose_nothing() {
    let home = home();
    let gateway = home.start();
    for i in 0..5 {
        waits(&gateway, &format!("ann{i}@example.org"), "Hello");
    }
    let told = collect(&home, json!({ "cut": 2 }));
    let before = recipients(&told);
    assert_eq!(before.len(), 2);
    until("the rest to wait again", || {
        let waiting = gateway.listed(&["--state", "held"]).len() + gateway.listed(&["--state", "deferred"]).len();
        (waiting == 3 && gateway.waiting() == 3).then_some(())
    });
    gateway.kill();
    let gateway = home.start();
    let mut all = [before, recipients(&collect(&home, json!({})))].concat();
    all.sort();
    assert_eq!(all, [0, 1, 2, 3, 4].map(|i| format!("ann{i}@example.org")));
    gateway.wait_until_empty();
}

#[test]
fn what_waits_for_a_next_hop_that_is_away_can_be_collected_too() {
    let (home, away) = (home(), free_address());
    home.domain("example.org", &format!("next-hop = \"{away}\"\naccept = \"always\"\n{CHECK_IN}"));
    let gateway = home.start();
    assert!(send(gateway.smtp, "sender@elsewhere.example", "ann@example.org", "Hello").starts_with("250 "));
    let entry = gateway.wait_for("ann@example.org", "held");
    assert!(entry["reason"].as_str().unwrap().starts_with("next hop offline"), "{entry}");
    assert_eq!(recipients(&collect(&home, json!({}))), ["ann@example.org"]);
    gateway.wait_until_empty();
}
