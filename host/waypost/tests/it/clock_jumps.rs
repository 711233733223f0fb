//! The system's clock is set by a day while mail waits: none is returned for it, and none waits a day longer.

use super::support::{
    gateway::{Gateway, Home, binary},
    next_hop::{Behaviour, NextHop, free_address},
    smtp::send,
    until,
};
use std::{fs, process::Command};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
const MAILS: usize = 5;

/// A gateway whose clock is as the file says. What counts time without a date goes on as ever.
fn start(home: &Home) -> Gateway<'_> {
    let library = library();
    let mut command = Command::new(binary());
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", home.path("clock"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    home.start_by(command)
}

fn library() -> &'static str {
    assert!(fs::exists(LIBRARY).expect("asked"), "{LIBRARY} is missing: run `cargo xtask setup` as root");
    LIBRARY
}

/// `+1d`, `-1d`, `+0`. Whole or not at all.
fn set_clock(home: &Home, offset: &str) {
    home.write("clock.new", offset);
    fs::rename(home.path("clock.new"), home.path("clock")).expect("renamed");
}

/// The date that the gateway puts on a mail, in hours.
fn hour(gateway: &Gateway<'_>, reached: &NextHop) -> i64 {
    let before = reached.count();
    assert!(send(gateway.smtp, "ann@client.test", "bob@reached.example", "x").starts_with("250 "));
    let mail = reached.wait(before + 1).remove(before);
    let text = mail.text();
    let date = text.split("Subject:").next().unwrap().rsplit(';').next().unwrap().trim().to_owned();
    let output = Command::new("date").args(["-d", &date, "+%s"]).output().expect("date runs");
    String::from_utf8_lossy(&output.stdout).trim().parse::<i64>().expect(&date) / 3600
}

fn send_each(gateway: &Gateway<'_>, count: usize) {
    for domain in ["away.example", "busy.example"] {
        for n in 0..count {
            assert!(send(gateway.smtp, "ann@client.test", &format!("r{n}@{domain}"), "x").starts_with("250 "));
        }
    }
}

fn wait_for_states(gateway: &Gateway<'_>, each: usize) {
    for (domain, state) in [("away.example", "held"), ("busy.example", "deferred")] {
        until(&format!("{each} mails of {domain} to be {state}"), || {
            (gateway.listed(&["--domain", domain, "--state", state]).len() == each).then_some(())
        });
    }
}

#[test]
fn a_clock_that_jumps_a_day_ahead_returns_nothing_and_one_that_jumps_back_delays_nothing() {
    let (away, busy_at) = (free_address(), free_address());
    let (reached, notified) = (NextHop::start(), NextHop::start());
    let later = ("RCPT".to_owned(), "451 4.2.1 later".to_owned());
    let busy = NextHop::start_at(busy_at, Behaviour { replies: vec![later], ..Behaviour::default() });
    let home = Home::new(&format!("dsn-next-hop = \"{}\"\n", notified.address));
    for (name, hop) in [("away", away), ("busy", busy_at), ("reached", reached.address)] {
        let text = format!("next-hop = \"{hop}\"\naccept = \"always\"\nretention = \"12 h\"\n");
        home.domain(&format!("{name}.example"), &text);
    }
    set_clock(&home, "+0");
    let gateway = start(&home);
    send_each(&gateway, MAILS);
    wait_for_states(&gateway, MAILS);
    let now = hour(&gateway, &reached);

    set_clock(&home, "+1d");
    assert!((23..=25).contains(&(hour(&gateway, &reached) - now)), "the clock has not jumped");
    // Each is looked at again, its end included.
    home.output(&["queue", "retry"]);
    send_each(&gateway, 1);
    wait_for_states(&gateway, MAILS + 1);
    set_clock(&home, "-1d");
    assert!((-25..=-23).contains(&(hour(&gateway, &reached) - now)), "the clock has not jumped back");
    send_each(&gateway, 1);
    wait_for_states(&gateway, MAILS + 2);
    let due: Vec<String> = gateway
        .listed(&["--domain", "busy.example"])
        .iter()
        .map(|entry| entry["due-at"].as_str().unwrap().split(':').next().unwrap().to_owned())
        .collect();
    assert!(
        due.iter().all(|hour| hour[..10] == due[0][..10]) || due.iter().any(|hour| hour.ends_with("T00")),
        "{due:?}"
    );
    assert_eq!(notified.count(), 0, "a mail was returned");

    // What was put off before the clock went back does not wait a day for it, though only a new process runs now.
    gateway.stop();
    busy.stop();
    let (away, busy) =
        (NextHop::start_at(away, Behaviour::default()), NextHop::start_at(busy_at, Behaviour::default()));
    let gateway = start(&home);
    away.wait(MAILS + 2);
    busy.wait(MAILS + 1);
    assert_eq!(notified.count(), 0, "a mail was returned");
    assert_eq!(away.count(), MAILS + 2, "each once");
    gateway.stop();
}
