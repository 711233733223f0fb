//! Clients that we did not write (smtplib, swaks, smtp-source): what they send arrives byte for byte.

mod notifications;

use super::support::{
    content::{assert_same, sample},
    gateway::{Gateway, Home},
    next_hop::{Behaviour, NextHop, Recorded, free_address},
    smtp::Client,
    tools::{checked, python, tool},
    until,
};
use serde_json::{Value, json};

/// example.org and example.net, each with a next hop of its own; both accept mail at once.
fn two_domains(gateway: &str, org: &NextHop, net: &NextHop) -> Home {
    let home = Home::new(gateway);
    for (name, hop) in [("example.org", org), ("example.net", net)] {
        home.domain(name, &format!("next-hop = \"{}\"\naccept = \"always\"\n", hop.address));
    }
    home
}

/// Offers nothing that eases the way of a mail but 8BITMIME.
fn old_next_hop() -> NextHop {
    NextHop::start_with(Behaviour { offers: vec!["8BITMIME".into()], ..Behaviour::default() })
}

/// Runs the jobs with Python's smtplib; what it was answered.
fn smtplib(home: &Home, gateway: &Gateway<'_>, tls: bool, jobs: &[Value], contents: &[&[u8]]) -> Vec<Value> {
    let jobs = jobs.iter().zip(contents).enumerate().map(|(n, (job, content))| {
        let file = home.path(&format!("mail-{n}"));
        std::fs::write(&file, content).unwrap();
        let mut job = job.clone();
        job["address"] = gateway.smtp.to_string().into();
        job["file"] = file.to_str().into();
        if tls {
            job["tls"] = home.path("data/self-signed.crt").to_str().into();
        }
        job
    });
    let jobs: Value = jobs.collect();
    home.write("jobs", &jobs.to_string());
    let answers = python(include_str!("scripts/send.py"), &[home.path("jobs").to_str().unwrap()]);
    serde_json::from_str(&answers).unwrap()
}

fn job(sender: &str, recipient: &str) -> Value {
    json!({ "sender": sender, "recipients": [recipient] })
}

/// The only mail from `sender`.
fn arrived_from(hop: &NextHop, sender: &str) -> Recorded {
    let start = format!("MAIL FROM:<{sender}>");
    until(&format!("the mail from {sender}"), || hop.mails().into_iter().find(|mail| mail.mail.starts_with(&start)))
}

fn with_last_line_end(content: &[u8]) -> Vec<u8> {
    let end: &[u8] = if content.ends_with(b"\r\n") { b"" } else { b"\r\n" };
    [content, end].concat()
}

/// What is hard to carry in DATA.
fn awkward() -> Vec<(&'static str, Vec<u8>)> {
    let text = |body: &str| format!("Subject: awkward\r\n\r\n{body}").into_bytes();
    vec![
        ("dots", text(".\r\n..\r\n...\r\n.x\r\n..x\r\nx.\r\n.\r\nend\r\n")),
        ("dots-only", b".\r\n.\r\n..\r\n...\r\n".to_vec()),
        ("long-line", text(&format!("{}\r\n.{}\r\n", "x".repeat(10_000), ".".repeat(10_000)))),
        ("empty-lines", text("\r\n\r\n\r\nx\r\n\r\n")),
        ("8bit", [text("caf").as_slice(), b"\xE9 gr\xC3\xBCn \xFF\x01\x7F\x0C\x0B\r\n"].concat()),
        ("header-only", b"Subject: no body\r\nX-Two: lines\r\n".to_vec()),
        ("no-header", b"\r\nbody\r\n".to_vec()),
        ("folded", b"Subject: a\r\n\tb\r\n  c\r\nX:\r\n \r\n\r\nbody\r\n".to_vec()),
    ]
}

fn every_size_arrives(tls: bool) {
    let (org, net) = (NextHop::start(), old_next_hop());
    let home = two_domains("", &org, &net);
    let gateway = home.start();
    let contents: Vec<Vec<u8>> = [1024, 100_000, 1_000_000, 30_000_000].map(|size| sample("size", size)).into();
    let contents: Vec<&[u8]> = [&b""[..], b"x"].into_iter().chain(contents.iter().map(Vec::as_slice)).collect();
    let mut jobs: Vec<Value> =
        (0..contents.len()).map(|n| job(&format!("s{n}@client.test"), "ann@example.org")).collect();
    jobs[0]["how"] = "dot".into();
    for job in &mut jobs[1..5] {
        job["recipients"][0] = "ann@example.net".into();
    }
    let answers = smtplib(&home, &gateway, tls, &jobs, &contents);
    assert!(answers.iter().all(|answer| answer["reply"].as_str().unwrap().starts_with("250")), "{answers:?}");
    for (n, content) in contents.iter().enumerate() {
        let hop = if (1..5).contains(&n) { &net } else { &org };
        let mail = arrived_from(hop, &format!("s{n}@client.test"));
        let sent = if n == 0 { Vec::new() } else { with_last_line_end(content) };
        assert_same(&format!("mail {n}"), &sent, mail.without_trace());
        let protocol = if tls { "with ESMTPS id" } else { "with ESMTP id" };
        assert!(mail.text().contains(protocol), "{protocol}");
    }
    until("the queue to be empty", || (gateway.waiting() == 0).then_some(()));
    assert_eq!((org.count(), net.count()), (2, 4));
    gateway.stop();
}

#[test]
fn every_size_from_smtplib_arrives_in_clear_text() {
    every_size_arrives(false);
}

#[test]
fn every_size_from_smtplib_arrives_over_starttls() {
    every_size_arrives(true);
}

#[test]
fn awkward_text_from_smtplib_arrives_by_data_and_by_chunks() {
    let (org, net) = (NextHop::start(), old_next_hop());
    let home = two_domains("", &org, &net);
    let gateway = home.start();
    let awkward = awkward();
    for (tls, hop, recipient) in [(false, &org, "ann@example.org"), (true, &net, "ann@example.net")] {
        let (mut jobs, mut contents) = (Vec::new(), Vec::new());
        for (name, content) in &awkward {
            let ways =
                [json!("sendmail"), json!([3, 0, 17, 1, 1, 0]), json!([content.len(), 0]), json!([content.len()])];
            for (n, how) in ways.into_iter().enumerate() {
                let mut job = job(&format!("{name}-{n}@client.test"), recipient);
                job["how"] = how;
                jobs.push(job);
                contents.push(content.as_slice());
            }
        }
        let answers = smtplib(&home, &gateway, tls, &jobs, &contents);
        assert!(answers.iter().all(|answer| answer["reply"].as_str().unwrap().starts_with("250")), "{answers:?}");
        for (name, content) in &awkward {
            for n in 0..4 {
                let mail = arrived_from(hop, &format!("{name}-{n}@client.test"));
                assert_same(&format!("{name} {n}"), content, mail.without_trace());
            }
        }
        assert_eq!(hop.count(), awkward.len() * 4);
    }
    gateway.stop();
}

#[test]
fn a_chunk_that_is_cut_between_cr_and_lf_or_before_a_dot_arrives_whole() {
    let (org, net) = (NextHop::start(), NextHop::start());
    let home = two_domains("", &org, &net);
    let gateway = home.start();
    let content = b"Subject: x\r\n\r\n.\r\n.\r\nend\r\n";
    let mut jobs = Vec::new();
    for cut in 0..=content.len() {
        let mut job = job(&format!("cut{cut}@client.test"), "ann@example.org");
        job["how"] = json!([cut, 0]);
        jobs.push(job);
    }
    let answers = smtplib(&home, &gateway, false, &jobs, &vec![&content[..]; jobs.len()]);
    assert!(answers.iter().all(|answer| answer["reply"].as_str().unwrap().starts_with("250")), "{answers:?}");
    for cut in 0..=content.len() {
        let mail = arrived_from(&org, &format!("cut{cut}@client.test"));
        assert_same(&format!("cut {cut}"), content, mail.without_trace());
    }
    gateway.stop();
}

#[test]
fn a_nul_and_a_bare_line_end_are_refused_and_nothing_arrives() {
    let (org, net) = (NextHop::start(), NextHop::start());
    let home = two_domains("", &org, &net);
    let gateway = home.start();
    let contents: [&[u8]; 3] = [b"a\0b\r\n", b"a\nb\r\n", b"a\rb\r\n"];
    let jobs: Vec<Value> = [json!("sendmail"), json!([99])]
        .iter()
        .flat_map(|how| {
            (0..3).map(move |_| json!({ "sender": "a@client.test", "recipients": ["ann@example.org"], "how": how }))
        })
        .collect();
    let answers = smtplib(&home, &gateway, false, &jobs, &[contents, contents].concat());
    for answer in answers {
        assert!(answer["reply"].as_str().unwrap().starts_with("550 5.6.0"), "{answer}");
    }
    assert!(Client::connect(gateway.smtp).mail("b@client.test", "ann@example.org", "last").starts_with("250 "));
    assert!(org.wait(1)[0].mail.starts_with("MAIL FROM:<b@"));
    gateway.stop();
    assert_eq!(org.count(), 1);
}

#[test]
fn a_mail_over_the_size_limit_gets_552_declared_or_not() {
    let (org, net) = (NextHop::start(), NextHop::start());
    let home = two_domains("max-message-size = \"100 KB\"", &org, &net);
    let gateway = home.start();
    let (small, large) = (sample("small", 100_000), sample("large", 100_001));
    let mut jobs: Vec<Value> =
        ["a", "b", "c", "d"].map(|name| job(&format!("{name}@client.test"), "ann@example.org")).into();
    jobs[2]["how"] = json!([50_000, 50_000, 0]);
    jobs[3]["how"] = json!([50_000, 50_000, 0]);
    let answers = smtplib(&home, &gateway, false, &jobs, &[&small, &large, &small, &large]);
    let replies: Vec<&str> = answers.iter().map(|answer| answer["reply"].as_str().unwrap()).collect();
    assert!(replies[0].starts_with("250") && replies[2].starts_with("250"), "{replies:?}");
    assert!(replies[1].starts_with("552 5.3.4") && replies[3].starts_with("552 5.3.4"), "{replies:?}");

    // swaks declares no size: the answer comes behind the final dot.
    let (swaks, _) = swaks(&home, &gateway, &large, &["--from", "e@client.test", "--to", "ann@example.org"]);
    assert!(swaks.contains("552 5.3.4"), "{swaks}");
    assert_same("small", &small, arrived_from(&org, "a@client.test").without_trace());
    assert_same("small", &small, arrived_from(&org, "c@client.test").without_trace());
    gateway.stop();
    assert_eq!(org.count(), 2);
}

/// Its output, and whether it was content. It ends the last line by itself.
fn swaks(home: &Home, gateway: &Gateway<'_>, content: &[u8], args: &[&str]) -> (String, bool) {
    let file = home.path("swaks");
    std::fs::write(&file, content.strip_suffix(b"\r\n").unwrap()).unwrap();
    let output = tool("swaks")
        .args(["--server", &gateway.smtp.ip().to_string(), "--port", &gateway.smtp.port().to_string()])
        .args(["--helo", "client.test", "--suppress-data", "--data", &format!("@{}", file.display())])
        .args(args)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.success())
}

#[test]
fn what_swaks_sends_arrives_in_clear_text_and_over_starttls() {
    let (org, net) = (NextHop::start(), old_next_hop());
    let home = two_domains("", &org, &net);
    let gateway = home.start();
    // It doesn't stuff a dot at the very start, and adds the empty line that it misses.
    let not_for_swaks = ["dots-only", "header-only", "no-header"];
    let mails = awkward()
        .into_iter()
        .filter(|(name, _)| !not_for_swaks.contains(name))
        .chain([("large", sample("large", 1_000_000))]);
    for (name, mut content) in mails {
        // It takes `\n` for a line end, also in a file.
        content.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
        for (tls, hop, recipient) in [(false, &org, "ann@example.org"), (true, &net, "ann@example.net")] {
            let sender = format!("{name}@client.test");
            let mut args = vec!["--from", &sender, "--to", recipient];
            args.extend(tls.then_some("--tls"));
            let (output, ok) = swaks(&home, &gateway, &content, &args);
            assert!(ok, "{output}");
            assert_same(name, &content, arrived_from(hop, &sender).without_trace());
        }
    }
    gateway.stop();
}

#[test]
fn what_smtp_source_sends_over_many_sessions_arrives_once_each() {
    let (org, net) = (NextHop::start(), NextHop::start());
    let home = two_domains("", &org, &net);
    let gateway = home.start();
    let content = sample("source", 20_000);
    // It takes lines as files have them, and adds an empty one.
    let lines = String::from_utf8(content.iter().filter(|b| b.is_ascii()).copied().collect()).unwrap();
    home.write("source", &lines.replace("\r\n", "\n"));
    let sent = format!("{lines}\r\n");
    let output = tool("smtp-source")
        .args(["-s", "8", "-m", "100", "-M", "client.test", "-f", "source@client.test", "-t", "ann@example.org", "-F"])
        .arg(home.path("source"))
        .arg(gateway.smtp.to_string())
        .output()
        .unwrap();
    checked("smtp-source", output);
    for mail in org.wait(100) {
        assert_same("source", sent.as_bytes(), mail.without_trace());
    }
    until("the queue to be empty", || (gateway.waiting() == 0).then_some(()));
    gateway.stop();
    assert_eq!(org.count(), 100);
}

#[test]
fn international_addresses_and_header_fields_pass_as_they_are() {
    let (org, net) = (NextHop::start(), NextHop::start());
    let home = two_domains("", &org, &net);
    home.domain("bücher.example", &format!("next-hop = \"{}\"\naccept = \"always\"\n", net.address));
    let gateway = home.start();
    let content = "Subject: grüne Bücher\r\nFrom: Jürgen <jürgen@grün.test>\r\n\r\n書\r\n".as_bytes();
    let mut jobs = [job("jürgen@grün.test", "用户@example.org"), job("ann@client.test", "bestellung@bücher.example")];
    for job in &mut jobs {
        job["options"] = json!(["SMTPUTF8", "BODY=8BITMIME"]);
    }
    for (nth, tls) in [false, true].into_iter().enumerate() {
        let answers = smtplib(&home, &gateway, tls, &jobs, &[content, content]);
        assert!(answers.iter().all(|answer| answer["reply"] == "250"), "{answers:?}");
        let mail = &org.wait(nth + 1)[nth];
        assert_same("to a mailbox in UTF-8", content, mail.without_trace());
        assert_eq!(mail.recipients, ["用户@example.org"]);
        assert!(mail.mail.starts_with("MAIL FROM:<jürgen@") && mail.mail.contains(" SMTPUTF8"), "{}", mail.mail);
        let mail = &net.wait(nth + 1)[nth];
        assert_same("to a domain in UTF-8", content, mail.without_trace());
        assert_eq!(mail.recipients, ["bestellung@xn--bcher-kva.example"]);
    }
    gateway.stop();
}

#[test]
fn recipients_of_two_domains_get_through_in_two_transactions() {
    let (org, net) = (NextHop::start(), NextHop::start());
    let home = two_domains("", &org, &net);
    let gateway = home.start();
    let content = sample("two", 2000);

    let both = json!({ "sender": "py@client.test", "recipients": ["ann@example.org", "bob@example.net"] });
    let answers = smtplib(&home, &gateway, false, &[both], &[&content]);
    let refused = answers[0]["refused"].as_object().unwrap();
    assert_eq!(refused.len(), 1);
    assert!(refused["bob@example.net"].as_str().unwrap().starts_with("452 4.5.3"), "{refused:?}");
    let again = smtplib(&home, &gateway, false, &[job("py@client.test", "bob@example.net")], &[&content]);
    assert_eq!(again[0]["refused"], json!({}));

    let (output, _) =
        swaks(&home, &gateway, &content, &["--from", "swaks@client.test", "--to", "ann@example.org,bob@example.net"]);
    assert!(output.contains("452 4.5.3") && output.contains("250 2.0.0"), "{output}");
    let (output, ok) = swaks(&home, &gateway, &content, &["--from", "swaks@client.test", "--to", "bob@example.net"]);
    assert!(ok, "{output}");

    for (hop, recipient) in [(&org, "ann@example.org"), (&net, "bob@example.net")] {
        for sender in ["py@client.test", "swaks@client.test"] {
            let mail = arrived_from(hop, sender);
            assert_same(sender, &content, mail.without_trace());
            assert_eq!(mail.recipients, [recipient]);
        }
        assert_eq!(hop.count(), 2);
    }
    gateway.stop();
}

#[test]
fn a_domain_is_served_once_its_next_hop_has_been_seen_to_work() {
    let address = free_address();
    let home = Home::new("");
    home.domain("example.org", &format!("next-hop = \"{address}\"\n"));
    let gateway = home.start();
    let first = smtplib(&home, &gateway, false, &[job("a@client.test", "ann@example.org")], &[b"early\r\n"]);
    let reply = first[0]["refused"]["ann@example.org"].as_str().unwrap();
    assert!(reply.starts_with("451 4.4.1 [WP-PROBE]"), "{reply}");

    let hop = NextHop::start_at(address, Behaviour::default());
    let reply = until("the probe to pass", || {
        let answers = smtplib(&home, &gateway, false, &[job("b@client.test", "ann@example.org")], &[b"late\r\n"]);
        answers[0]["reply"].as_str().map(str::to_owned)
    });
    assert_eq!(reply, "250");
    assert_same("late", b"late\r\n", hop.wait(1)[0].without_trace());
    gateway.stop();

    // A passed probe is remembered.
    hop.stop();
    let gateway = home.start();
    let answers = smtplib(&home, &gateway, false, &[job("c@client.test", "ann@example.org")], &[b"held\r\n"]);
    assert_eq!(answers[0]["reply"], "250");
    gateway.stop();
}
