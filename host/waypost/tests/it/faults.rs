//! Every way in which a next hop fails, at every step: what becomes of the mail, and that nothing is lost or
//! doubled. What is seen is the table of docs/next-hops.md.

use super::support::{
    faulty_hop::{Act, Fault, FaultyHop, Step},
    gateway::{Gateway, Home, root},
    next_hop::NextHop,
    smtp::Client,
    until,
};
use std::{collections::BTreeMap, fmt::Write, fs};

const SENDER: &str = "ann@client.test";
const STEPS: [(&str, Step); 6] = [
    ("greeting", Step::Greeting),
    ("EHLO", Step::Ehlo),
    ("MAIL", Step::Mail),
    ("RCPT", Step::Rcpt),
    ("DATA", Step::Data),
    ("end of data", Step::Dot),
];
/// Tried at each of `STEPS`.
const ACTS: [(&str, Act); 14] = [
    ("says nothing", Act::Silence),
    ("says it a byte at a time", Act::Trickle),
    ("closes the connection", Act::Close),
    ("resets the connection", Act::Reset),
    ("421 and closes", Act::SayAndClose("421 4.3.2 going down\r\n")),
    ("451", Act::Say("451 4.3.0 not now\r\n")),
    ("550", Act::Say("550 5.7.1 never\r\n")),
    ("354 out of turn", Act::Say("354 go on\r\n")),
    ("650, a code that is none", Act::Say("650 what\r\n")),
    ("something that is no reply", Act::Say("bananas\r\n")),
    ("a line that ends with LF alone", Act::Say("250 ok\n")),
    ("lines with different codes", Act::Say("250-yes\r\n550 no\r\n")),
    ("a line without end", Act::Flood("2500000000")),
    ("lines without end", Act::Flood("250-and more\r\n")),
];

/// A fault, and in whose domain.
struct Case {
    domain: String,
    hop: FaultyHop,
    /// Local parts.
    recipients: &'static [&'static str],
    /// It never becomes what the domain asks for.
    hopeless: bool,
}

impl Case {
    fn new(home: &Home, fault: Fault, tls: &str, recipients: &'static [&'static str], n: usize) -> Self {
        let (hop, domain) = (FaultyHop::start(fault), format!("case-{n}.example"));
        let scheme = if fault.lmtp { "lmtp" } else { "smtp" };
        let file = format!("next-hop = \"{scheme}://{}\"\naccept = \"always\"\ntls = \"{tls}\"\n", hop.address);
        home.domain(&domain, &file);
        Self { domain, hop, recipients, hopeless: tls == "required" }
    }

    fn addresses(&self) -> impl Iterator<Item = String> {
        self.recipients.iter().map(|local| format!("{local}@{}", self.domain))
    }

    fn send(&self, gateway: &Gateway<'_>, content: &str) {
        let mut client = Client::connect(gateway.smtp);
        assert!(client.command(&format!("MAIL FROM:<{SENDER}>")).starts_with("250 "));
        for address in self.addresses() {
            assert!(client.command(&format!("RCPT TO:<{address}>")).starts_with("250 "));
        }
        assert!(client.command("DATA").starts_with("354 "));
        assert!(client.command(&format!("{content}\r\n.")).starts_with("250 "));
    }

    /// One word for each recipient; none while an attempt is to come.
    fn outcome(&self, listed: &BTreeMap<String, String>, told: &str) -> Option<String> {
        let each = self.addresses().map(|address| match listed.get(&address).map(String::as_str) {
            Some(state @ ("deferred" | "held")) => Some(state.to_owned()),
            Some(_) => None,
            None if told.contains(&format!("Final-Recipient: rfc822; {address}\r\n")) => Some("failed".to_owned()),
            None => Some("delivered".to_owned()),
        });
        Some(each.collect::<Option<Vec<_>>>()?.join(", "))
    }
}

fn listed(gateway: &Gateway<'_>) -> BTreeMap<String, String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    gateway
        .listed(&["--limit", "1000"])
        .iter()
        .map(|entry| (text(&entry["recipient"]), text(&entry["state"])))
        .collect()
}

fn told(notified: &NextHop) -> String {
    notified.mails().iter().map(|mail| mail.text()).collect()
}

fn quick_home(notified: &NextHop) -> Home {
    Home::new(&format!(
        "max-recipients = 10\ndsn-next-hop = \"{}\"\n[timeouts]\nconnect = \"3 s\"\ngreeting = \"3 s\"\ncommand = \"3 s\"\ndata-block = \"3 s\"\nend-of-data = \"3 s\"\n",
        notified.address
    ))
}

/// With what it is called in the table.
fn special(home: &Home, first: usize) -> Vec<(&'static str, Case)> {
    let at = |step, act| Fault { step, act, lmtp: false };
    let clear = "220 go on\r\n250 2.0.0 injected\r\n";
    let cases: Vec<(&'static str, Fault, &str, &'static [&'static str])> = vec![
        ("refuses the connection", at(Step::Greeting, Act::Refuse), "none", &["bob"]),
        ("answers STARTTLS with 454", at(Step::StartTls, Act::Say("454 4.7.0 no\r\n")), "opportunistic", &["bob"]),
        ("the same, `tls = \"required\"`", at(Step::StartTls, Act::Say("454 4.7.0 no\r\n")), "required", &["bob"]),
        ("sends garbage as its handshake", at(Step::Handshake, Act::Say("garbage")), "opportunistic", &["bob"]),
        ("the same, `tls = \"required\"`", at(Step::Handshake, Act::Say("garbage")), "required", &["bob"]),
        ("says nothing in the handshake", at(Step::Handshake, Act::Silence), "opportunistic", &["bob"]),
        ("the same, `tls = \"required\"`", at(Step::Handshake, Act::Silence), "required", &["bob"]),
        ("closes in the handshake", at(Step::Handshake, Act::Close), "opportunistic", &["bob"]),
        ("sends clear text behind its 220 to STARTTLS", at(Step::StartTls, Act::Say(clear)), "opportunistic", &["bob"]),
        (
            "takes one recipient, refuses one, puts one off",
            at(Step::Rcpt, Act::ByRecipient),
            "none",
            &["bob", "no", "later"],
        ),
        (
            "the same behind the dot, with LMTP",
            Fault { lmtp: true, ..at(Step::Dot, Act::ByRecipient) },
            "none",
            &["bob", "no", "later"],
        ),
        ("reads the data a byte at a time", at(Step::Content, Act::Trickle), "none", &["bob"]),
    ];
    let each = cases.into_iter().enumerate();
    each.map(|(n, (name, fault, tls, recipients))| (name, Case::new(home, fault, tls, recipients, first + n))).collect()
}

#[test]
fn whatever_a_next_hop_does_no_mail_is_lost_and_only_a_silence_after_the_dot_doubles_it() {
    let notified = NextHop::start();
    let home = quick_home(&notified);
    let mut grid = Vec::new();
    for (_, act) in ACTS {
        for (_, step) in STEPS {
            grid.push(Case::new(&home, Fault { step, act, lmtp: false }, "none", &["bob"], grid.len()));
        }
    }
    let special = special(&home, grid.len());
    let gateway = home.start();
    // More than fits the kernel's buffers.
    let large = format!("Subject: large\r\n\r\n{}.", format!("{}\r\n", "0123456789".repeat(7)).repeat(90_000));
    for case in &grid {
        case.send(&gateway, "Subject: a fault\r\n\r\nHello.");
    }
    for (name, case) in &special {
        let content = if name.starts_with("reads") { &large } else { "Subject: a fault\r\n\r\nHello." };
        case.send(&gateway, content);
    }

    let all: Vec<&Case> = grid.iter().chain(special.iter().map(|(_, case)| case)).collect();
    let seen: Vec<String> = until("each mail to have met its fault", || {
        let (listed, told) = (listed(&gateway), told(&notified));
        all.iter().map(|case| case.outcome(&listed, &told)).collect()
    });
    let failed: usize = seen.iter().map(|seen| seen.matches("failed").count()).sum();
    assert_eq!(notified.count(), failed, "the sender is told of each failure, and of nothing else");

    all.iter().filter(|case| !case.hopeless).for_each(|case| case.hop.heal());
    let hopeless: Vec<String> = all.iter().filter(|case| case.hopeless).flat_map(|case| case.addresses()).collect();
    until("the queue to drain once the faults have ended", || {
        home.output(&["queue", "retry"]);
        let left = listed(&gateway);
        left.keys().all(|address| hopeless.contains(address)).then_some(())
    });
    for (case, seen) in all.iter().zip(&seen) {
        let due = case.recipients.len() - seen.matches("failed").count();
        let (taken, domain) = (case.hop.taken(), &case.domain);
        if case.hopeless {
            assert_eq!((taken, seen.as_str()), (0, "held"), "{domain}");
        } else {
            // A second copy only where the first one's fate was unknown, and never a third.
            let doubled = taken == 2 * due && case.hop.fails_after_the_dot();
            assert!(taken == due || doubled, "{domain}: {seen}, and {taken} of {due} were taken");
        }
    }
    compare(&table(&grid, &special, &seen));
    gateway.stop();
}

fn table(grid: &[Case], special: &[(&str, Case)], seen: &[String]) -> String {
    let cell = |case: &Case, seen: &str| {
        let twice = case.hop.taken() > case.recipients.len();
        if twice { format!("{seen}, twice") } else { seen.to_owned() }
    };
    let mut out = "| the next hop | ".to_owned() + &STEPS.map(|(name, _)| name).join(" | ") + " |\n|";
    out += &" --- |".repeat(STEPS.len() + 1);
    out.push('\n');
    for (row, ((name, _), cases)) in ACTS.iter().zip(grid.chunks(STEPS.len())).enumerate() {
        let cells = cases.iter().zip(&seen[row * STEPS.len()..]).map(|(case, seen)| cell(case, seen));
        let _ = writeln!(out, "| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    out += "\n| the next hop | the mail |\n| --- | --- |\n";
    for ((name, case), seen) in special.iter().zip(&seen[grid.len()..]) {
        let _ = writeln!(out, "| {name} | {} |", cell(case, seen));
    }
    out
}

/// With `BLESS=1` in the environment, what is seen now is written as what is documented.
fn compare(table: &str) {
    let page = root().join("docs/next-hops.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once("<!-- faults -->\n").expect("the page has a place for the table");
    let (documented, after) = rest.split_once("<!-- end of faults -->").expect("the place has an end");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&page, format!("{before}<!-- faults -->\n{table}<!-- end of faults -->{after}")).unwrap();
    } else {
        assert!(documented == table, "{} does not say what is seen:\n{table}", page.display());
    }
}

#[test]
fn a_next_hop_that_trickles_keeps_its_own_domains_mail_and_no_other() {
    let (notified, lively) = (NextHop::start(), NextHop::start());
    let home = quick_home(&notified);
    let trickles = |step, n| Case::new(&home, Fault { step, act: Act::Trickle, lmtp: false }, "none", &["bob"], n);
    let slow = [trickles(Step::Rcpt, 0), trickles(Step::Mail, 1)];
    home.domain("lively.example", &format!("next-hop = \"{}\"\naccept = \"always\"\n", lively.address));
    let gateway = home.start();
    for case in &slow {
        for _ in 0..50 {
            case.send(&gateway, "Subject: slow\r\n\r\nHello.");
        }
    }
    let mut client = Client::connect(gateway.smtp);
    for _ in 0..50 {
        assert!(client.mail(SENDER, "bob@lively.example", "Subject: quick\r\n\r\nHello.").starts_with("250 "));
    }
    lively.wait(50);
    let counts = gateway.queue(&[])["counts"].clone();
    assert_eq!(counts["recipients"], 100, "the trickling next hops have all theirs: {counts}");
    for address in slow.iter().flat_map(Case::addresses) {
        gateway.wait_for(&address, "deferred");
    }
    assert!(slow.iter().all(|case| case.hop.taken() == 0));

    slow.iter().for_each(|case| case.hop.heal());
    until("the slow mail to go once its next hops are quick", || {
        home.output(&["queue", "retry"]);
        (gateway.waiting() == 0).then_some(())
    });
    assert!(slow.iter().all(|case| case.hop.taken() == 50), "each mail once");
    gateway.stop();
}
