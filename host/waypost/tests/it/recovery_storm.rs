//! Twenty thousand mails wait for one next hop, and it comes back: other domains don't notice, and each arrives once.

use super::support::{
    gateway::{Gateway, Home},
    next_hop::{Behaviour, NextHop, free_address},
    smtp::Client,
    tools::{checked, tool},
    until, until_within,
};
use std::time::{Duration, Instant};

const QUEUED: usize = 20_000;
const SENT: usize = 200;

/// The middle of how long a mail of the other domain takes from MAIL to its 250.
fn median(gateway: &Gateway<'_>) -> Duration {
    let mut client = Client::connect(gateway.smtp);
    let one = |_| {
        let begun = Instant::now();
        let reply = client.mail("ann@client.test", "bob@good.example", "Subject: x\r\n\r\nHello.");
        assert!(reply.starts_with("250 "), "{reply}");
        begun.elapsed()
    };
    let mut times: Vec<Duration> = (0..SENT).map(one).collect();
    times.sort_unstable();
    times[SENT / 2]
}

fn queue(gateway: &Gateway<'_>) {
    let source = tool("smtp-source")
        .args([
            "-d",
            "-s",
            "10",
            "-m",
            &QUEUED.to_string(),
            "-l",
            "512",
            "-f",
            "ann@client.test",
            "-t",
            "x@dead.example",
        ])
        .arg(gateway.smtp.to_string())
        .output();
    checked("smtp-source", source.expect("smtp-source starts"));
    until_within(Duration::from_secs(120), "all to be held", &mut || {
        (gateway.queue(&["--limit", "1"])["counts"]["held"] == QUEUED).then_some(())
    });
}

#[test]
fn a_domain_with_a_dead_next_hop_and_its_return_are_not_noticed_by_others() {
    let (dead, good) = (free_address(), NextHop::start());
    let home = Home::new("");
    for (name, hop) in [("dead", dead), ("good", good.address)] {
        home.domain(
            &format!("{name}.example"),
            &format!("next-hop = \"{hop}\"\naccept = \"always\"\ntls = \"none\"\n"),
        );
    }
    let gateway = home.start();
    let alone = median(&gateway);
    queue(&gateway);
    let beside = median(&gateway);
    let back = NextHop::start_at(dead, Behaviour::default());
    until("the return to be noticed", || (back.count() > 0).then_some(()));
    let storm = median(&gateway);
    println!("alone {alone:?}, beside a backlog {beside:?}, while it drains {storm:?}");
    let bound = 10 * alone + Duration::from_millis(50);
    assert!(beside < bound && storm < bound, "alone {alone:?}, beside {beside:?}, while it drains {storm:?}");
    until_within(Duration::from_secs(300), "all to arrive", &mut || (back.count() >= QUEUED).then_some(()));
    good.wait(3 * SENT);
    gateway.wait_until_empty();
    assert_eq!((back.count(), good.count()), (QUEUED, 3 * SENT), "each once");
    gateway.stop();
}
