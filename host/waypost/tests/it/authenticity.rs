//! Where mail comes from: SPF, DKIM, DMARC and ARC by records of a real name server and signatures of a real signer,
//! and what becomes of mail while DNS is slow, wrong or gone.

use super::support::{
    gateway::{Gateway, Home},
    next_hop::NextHop,
    scripted_dns::{Mood, ScriptedDns},
    signed_zone::{Line, SignedZone},
    smtp::Client,
    tools::{checked, python, tool},
    until,
};
use std::{
    io::Write,
    process::Stdio,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const MAIL: &str = "From: Ann <ann@author.test>\r\nSubject: hello\r\n\r\nbody\r\n";

/// A key made by dkimpy, and its record.
struct Signer {
    dir: TempDir,
    record: String,
}

impl Signer {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = tool("dknewkey").arg("s1").current_dir(dir.path()).output().unwrap();
        checked("dknewkey", made);
        let record = std::fs::read_to_string(dir.path().join("s1.dns")).unwrap().trim().to_owned();
        Self { dir, record }
    }

    /// The signed mail.
    fn run(&self, program: &str, more: &[&str], mail: &str) -> String {
        let mut child = tool(program)
            .args(["s1", "author.test", "s1.key"])
            .args(more)
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(mail.as_bytes()).unwrap();
        checked(program, child.wait_with_output().unwrap())
    }

    fn signed(&self, mail: &str) -> String {
        self.run("dkimsign", &[], mail)
    }

    /// These fields and no others.
    fn signed_over(&self, fields: &str, mail: &str) -> String {
        let script = "import sys, dkim\n\
            key, fields, mail = sys.argv[1:]\n\
            names = [name.encode() for name in fields.split(':')]\n\
            sign = lambda: dkim.sign(mail.encode(), b's1', b'author.test', open(key, 'rb').read(), include_headers=names)\n\
            sys.stdout.buffer.write(sign())\n";
        let key = self.dir.path().join("s1.key");
        let field = python(script, &[key.to_str().unwrap(), fields, mail]);
        format!("{field}{mail}")
    }

    /// With the names of `author.test` and its friends.
    fn zone(&self) -> SignedZone {
        // A string of a record has 255 bytes at the most.
        let key: Vec<String> =
            self.record.as_bytes().chunks(200).map(|part| format!("\"{}\"", String::from_utf8_lossy(part))).collect();
        let txt = |name: &str, text: &str| -> Line { (name.to_owned(), format!("TXT \"{text}\"")) };
        let many: String = (0..11).map(|n| format!("a:h{n}.test ")).collect();
        let mut lines = vec![
            ("s1._domainkey.author".to_owned(), format!("TXT {}", key.join(" "))),
            txt("author", "v=spf1 ip4:127.0.0.1 -all"),
            txt("_dmarc.author", "v=DMARC1; p=reject"),
            txt("stranger", "v=spf1 -all"),
            txt("eleven", &format!("v=spf1 {many} -all")),
            txt("void", "v=spf1 a:no1.test a:no2.test a:no3.test ip4:127.0.0.1 -all"),
            txt("round", "v=spf1 include:trip.test -all"),
            txt("trip", "v=spf1 include:round.test -all"),
        ];
        lines.extend((0..11).map(|n| (format!("h{n}"), "A 192.0.2.1".to_owned())));
        SignedZone::serve(&lines, &[], &[])
    }
}

/// A gateway for example.org that writes down what it finds.
fn home(settings: &str, next_hop: &NextHop, domain: &str) -> Home {
    let home = Home::new(settings);
    let serving = format!("next-hop = \"{}\"\naccept = \"always\"\n{domain}", next_hop.address);
    home.domain("example.org", &serving);
    home
}

#[track_caller]
fn send(gateway: &Gateway<'_>, sender: &str, mail: &str) {
    let reply = Client::connect(gateway.smtp).mail(sender, "bob@example.org", mail.trim_end());
    assert!(reply.starts_with("250 "), "{reply}");
}

/// The results field of the newest mail at the next hop, in one line.
fn results(next_hop: &NextHop, count: usize) -> String {
    let text = next_hop.wait(count).pop().unwrap().text();
    let start = text.find("Authentication-Results: gw.test;").unwrap_or_else(|| panic!("no results in {text}"));
    let field: String = text[start..].replace("\r\n ", " ").lines().next().unwrap().to_owned();
    field
}

#[track_caller]
fn has(field: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(field.contains(part), "no {part} in {field}"));
}

#[test]
fn a_signed_mail_passes_and_an_altered_one_does_not() {
    let (signer, next_hop) = (Signer::new(), NextHop::start());
    let zone = signer.zone();
    let home = home(&zone.settings(), &next_hop, "authentication-results = true\n");
    let gateway = home.start();
    let signed = signer.signed(MAIL);

    send(&gateway, "ann@author.test", &signed);
    let field = results(&next_hop, 1);
    has(&field, &["spf=pass smtp.mailfrom=author.test;", "dkim=pass header.d=author.test header.s=s1;"]);
    has(&field, &["dmarc=pass header.from=author.test"]);
    assert!(next_hop.mails()[0].text().ends_with(&signed), "the mail itself is as it was");

    // DMARC takes either.
    send(&gateway, "ann@author.test", &signed.replace("body", "other"));
    has(&results(&next_hop, 2), &["spf=pass", "dkim=fail header.d=author.test", "dmarc=pass"]);
    send(&gateway, "x@stranger.test", &signed);
    has(&results(&next_hop, 3), &["spf=fail smtp.mailfrom=stranger.test", "dkim=pass", "dmarc=pass"]);
    send(&gateway, "x@stranger.test", &signed.replace("hello", "other"));
    has(&results(&next_hop, 4), &["spf=fail", "dkim=fail", "dmarc=fail header.from=author.test"]);
    send(&gateway, "x@nothing.test", &signed.replace("s=s1", "s=s2"));
    has(&results(&next_hop, 5), &["spf=none", "dkim=permerror header.d=author.test header.s=s2", "dmarc=fail"]);
    gateway.wait_until_empty();
    gateway.stop();
}

#[test]
fn an_arc_chain_is_verified() {
    let (signer, next_hop) = (Signer::new(), NextHop::start());
    let zone = signer.zone();
    let home = home(&zone.settings(), &next_hop, "authentication-results = true\n");
    let gateway = home.start();
    let results_of_a_list = format!("Authentication-Results: list.test; spf=pass\r\n{MAIL}");
    let sealed = signer.run("arcsign", &["list.test"], &results_of_a_list);
    send(&gateway, "ann@author.test", &sealed);
    has(&results(&next_hop, 1), &["arc=pass", "dkim=none"]);
    send(&gateway, "ann@author.test", &sealed.replace("body", "other"));
    has(&results(&next_hop, 2), &["arc=fail"]);
    gateway.stop();
}

#[test]
fn several_authors_or_a_malformed_one_are_a_permerror() {
    let (signer, next_hop) = (Signer::new(), NextHop::start());
    let zone = signer.zone();
    let home = home(&zone.settings(), &next_hop, "authentication-results = true\n");
    let gateway = home.start();
    let signed = signer.signed(MAIL);
    for (count, header) in [
        "From: bank@bank.test\r\n",
        "from : bank@bank.test\r\n",
        "FROM:\r\n bank@bank.test\r\n",
        "From: (comment) ann@author.test\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        send(&gateway, "ann@author.test", &format!("{header}{signed}"));
        has(&results(&next_hop, count + 1), &["spf=pass", "dmarc=permerror reason=\"several From fields\""]);
    }
    send(&gateway, "ann@author.test", "From: bank@bank.test <ann@author.test>\r\n\r\nbody\r\n");
    has(&results(&next_hop, 5), &["spf=pass", "dmarc=permerror reason=\"malformed From field\""]);
    gateway.stop();
}

#[test]
fn records_that_ask_too_much_are_a_permerror_and_mail_goes_on() {
    let (signer, next_hop) = (Signer::new(), NextHop::start());
    let zone = signer.zone();
    let home = home(&zone.settings(), &next_hop, "authentication-results = true\n");
    let gateway = home.start();
    for (count, domain) in ["eleven", "void", "round"].into_iter().enumerate() {
        send(&gateway, &format!("ann@{domain}.test"), MAIL);
        has(&results(&next_hop, count + 1), &[&format!("spf=permerror smtp.mailfrom={domain}.test"), "dmarc=fail"]);
    }
    gateway.stop();
}

#[test]
fn results_that_claim_to_be_ours_never_reach_the_next_hop() {
    let next_hop = NextHop::start();
    // Whether anything is checked or not.
    let home = home("[authenticity]\nenabled = false\n", &next_hop, "");
    let gateway = home.start();
    let forged =
        "Authentication-Results: gw.test; dmarc=pass\r\nauthentication-results :\r\n \"GW.test\" 1; spf=pass\r\n";
    let others = "Authentication-Results: mx.test; spf=fail\r\n";
    send(&gateway, "ann@author.test", &format!("{forged}{others}{forged}{MAIL}"));
    let text = next_hop.wait(1)[0].text();
    assert!(text.ends_with(&format!("{others}{MAIL}")), "{text}");
    assert!(!text.to_lowercase().contains("gw.test; dmarc") && !text.contains("GW.test"), "{text}");
    gateway.stop();
}

#[test]
fn a_signature_is_verified_over_the_mail_as_it_was_received() {
    let (signer, next_hop) = (Signer::new(), NextHop::start());
    let zone = signer.zone();
    let home = home(&zone.settings(), &next_hop, "authentication-results = true\n");
    let gateway = home.start();
    // Mail that comes back by a forwarder which signs what we once said.
    let mail = format!("Authentication-Results: gw.test; dmarc=fail\r\n{MAIL}");
    send(&gateway, "x@nothing.test", &signer.signed_over("from:authentication-results", &mail));
    let field = results(&next_hop, 1);
    has(&field, &["dkim=pass header.d=author.test", "dmarc=pass"]);
    let text = next_hop.mails()[0].text();
    assert!(!text.contains("dmarc=fail"), "{text}");
    gateway.stop();
}

#[test]
fn nothing_is_asked_where_nobody_wants_to_know() {
    let next_hop = NextHop::start();
    let dns = ScriptedDns::start(Mood::Silent, &[]);
    let home = home(&dns.settings(), &next_hop, "");
    let gateway = home.start();
    let before = Instant::now();
    send(&gateway, "ann@author.test", MAIL);
    assert!(before.elapsed() < Duration::from_secs(1));
    assert!(!next_hop.wait(1)[0].text().contains("Authentication-Results"));
    assert_eq!(dns.asked(), Vec::<String>::new());
    gateway.stop();
}

#[test]
fn mail_is_accepted_in_time_while_dns_is_slow_wrong_or_gone_and_checked_again_once_it_is_back() {
    let next_hop = NextHop::start();
    let texts = [
        ("author.test", "v=spf1 include:one.test -all"),
        ("one.test", "v=spf1 include:two.test -all"),
        ("two.test", "v=spf1 include:three.test -all"),
        ("three.test", "v=spf1 include:four.test -all"),
        ("four.test", "v=spf1 ip4:127.0.0.1 -all"),
    ];
    let dns = ScriptedDns::start(Mood::Answers, &texts);
    let settings = format!("{}[authenticity]\ntime = \"3 s\"\n", dns.settings());
    let home = home(&settings, &next_hop, "authentication-results = true\n");
    let gateway = home.start();
    let mut count = 0;
    let mut spf = |mood: Mood| {
        dns.set(mood);
        let before = Instant::now();
        send(&gateway, "ann@author.test", MAIL);
        // The client's name has three seconds of its own.
        assert!(before.elapsed() < Duration::from_secs(8), "{mood:?} {:?}", before.elapsed());
        count += 1;
        results(&next_hop, count)
    };
    has(&spf(Mood::Answers), &["spf=pass", "dmarc=none"]);
    has(&spf(Mood::Late(Duration::from_secs(1))), &["spf=temperror", "dmarc=temperror"]);
    has(&spf(Mood::Fails), &["spf=temperror", "dmarc=temperror"]);
    has(&spf(Mood::Silent), &["spf=temperror", "dmarc=temperror"]);
    until("the checks to go on", || spf(Mood::Answers).contains("spf=pass").then_some(()));
    gateway.wait_until_empty();
    gateway.stop();
}

#[test]
fn a_plugin_and_the_trace_see_what_was_found() {
    let (signer, next_hop) = (Signer::new(), NextHop::start());
    let zone = signer.zone();
    // It refuses every recipient but postmaster, and quarantines mail for which anything is not `none`.
    let bound = "plugins = [{ use = \"fixture_0_1_0\", config = { key = \"value\" } }]\n";
    let home = home(&zone.settings(), &next_hop, bound);
    home.with_plugin("fixture_0_1_0");
    let gateway = home.start();
    let mail = |sender: &str, mail: &str| {
        let reply = Client::connect(gateway.smtp).mail(sender, "postmaster@example.org", mail.trim_end());
        assert!(reply.starts_with("250 "), "{reply}");
        reply.rsplit(' ').next().unwrap().to_owned()
    };
    let id = mail("ann@author.test", &signer.signed(MAIL));
    gateway.wait_for("postmaster@example.org", "quarantined");
    let found = "spf=pass dkim=pass (author.test) dmarc=pass arc=none";
    until("the trace to tell it", || {
        String::from_utf8_lossy(&home.command(&["trace", &id]).stdout).contains(found).then_some(())
    });
    assert!(home.log().contains(found));
    gateway.stop();
}
