//! The disk says EIO once, or is slow, under load: new mail is put off, nothing is lost or doubled, and all goes on by itself.

use super::support::{
    admin::metrics,
    gateway::{Gateway, Home},
    load::{Load, check, home, wait_until_empty},
    next_hop::NextHop,
    smtp::Client,
    tracer::Tracer,
    until,
};
use std::time::{Duration, Instant};

const SESSIONS: usize = 4;
/// Of the gateway to one next hop, at most.
const CONNECTIONS: usize = 20;
const UNHEALTHY: &str = "waypost_queue_health{state=\"unhealthy\"} 1";
const HEALTHY: &str = "waypost_queue_health{state=\"healthy\"} 1";
/// Of each sync, in microseconds.
const DELAY: u64 = 400_000;

fn failures(home: &Home) -> usize {
    home.log().matches("queue failed: new mail is refused").count()
}

/// The next call fails; until the gateway has said that it is well again.
fn fail_once(home: &Home, gateway: &Gateway<'_>, thread: &str, faults: &[&str]) {
    let before = failures(home);
    let tracer = Tracer::attach(gateway, thread, faults);
    until(&format!("{faults:?} to be noticed"), || (failures(home) > before).then_some(()));
    until("metrics to say so", || metrics(home).contains(UNHEALTHY).then_some(()));
    until("the store to be opened anew", || metrics(home).contains(HEALTHY).then_some(()));
    drop(tracer);
}

#[test]
fn an_error_of_any_write_or_sync_puts_new_mail_off_is_told_and_loses_and_doubles_nothing() {
    let next_hop = NextHop::start();
    let home = home(next_hop.address);
    let gateway = home.start();
    let load = Load::start(gateway.smtp, usize::MAX, SESSIONS);
    let faults: [(&str, &[&str]); 4] = [
        ("queue-writer", &["fsync:error=EIO:when=1"]),
        ("queue-writer", &["pwrite64:error=EIO:when=1"]),
        ("queue-sync", &["fdatasync:error=EIO:when=1"]),
        // What is opened anew cannot be opened at first.
        ("queue-writer", &["fsync:error=EIO:when=1", "openat:error=EIO:when=1..2"]),
    ];
    for (thread, calls) in faults {
        load.wait_for(load.acknowledged() + 50);
        fail_once(&home, &gateway, thread, calls);
    }
    let opened_in_vain = home.log().contains("queue still cannot be opened") || failures(&home) > faults.len();
    assert!(opened_in_vain, "that it could not be opened was not seen");
    load.wait_for(load.acknowledged() + 50);
    let refusals = load.refusals();
    assert!(
        !refusals.is_empty() && refusals.iter().all(|reply| reply.starts_with("451 4.3.0 [WP-STORE]")),
        "{refusals:?}"
    );
    let acknowledged = load.finish();
    let arrived = wait_until_empty(&gateway, &next_hop, &acknowledged);
    assert_eq!(check(&acknowledged, &arrived), 0, "duplicates");
    gateway.stop();
}

#[test]
fn a_queue_that_has_lost_its_writer_ends_the_process_and_the_next_loses_nothing() {
    let next_hop = NextHop::start();
    let home = home(next_hop.address);
    let gateway = home.start();
    let load = Load::start(gateway.smtp, usize::MAX, SESSIONS);
    load.wait_for(50);
    // Not even the runtime can be woken: there is nothing to go on with.
    let tracer = Tracer::attach(&gateway, "queue-writer", &["write:error=EIO:when=1+"]);
    gateway.wait_for_abort();
    drop(tracer);
    load.gateway_is_at(None);
    let gateway = home.start();
    load.gateway_is_at(Some(gateway.smtp));
    load.wait_for(load.acknowledged() + 50);
    let acknowledged = load.finish();
    let arrived = wait_until_empty(&gateway, &next_hop, &acknowledged);
    // At the most what was on its way: on each connection one, and what waited for the writer.
    let duplicates = check(&acknowledged, &arrived);
    assert!(duplicates <= CONNECTIONS + 2 * SESSIONS, "{duplicates} duplicates");
    gateway.stop();
}

#[test]
fn a_slow_disk_keeps_mails_waiting_and_nobody_else_and_loses_nothing() {
    let next_hop = NextHop::start();
    let home = home(next_hop.address);
    let gateway = home.start();
    let load = Load::start(gateway.smtp, usize::MAX, SESSIONS);
    load.wait_for(50);
    let tracers = [("queue-sync", "fdatasync"), ("queue-writer", "fsync")]
        .map(|(thread, call)| Tracer::attach(&gateway, thread, &[&format!("{call}:delay_exit={DELAY}")]));
    let slow_since = (Instant::now(), load.acknowledged());
    let mut replies = commands(&gateway, 24);
    replies.sort_unstable();
    let median = replies[replies.len() / 2];
    assert!(median < Duration::from_micros(DELAY) / 4, "a command takes {median:?}");
    load.wait_for(slow_since.1 + 4 * SESSIONS);
    // Sessions that send at the same time wait for one sync, not for one another's.
    let each = slow_since.0.elapsed() / 4;
    assert!(each >= Duration::from_micros(DELAY), "the disk was not slow: {each:?}");
    assert!(each < 10 * Duration::from_micros(DELAY), "a mail takes {each:?}");
    assert!(metrics(&home).contains(HEALTHY));
    drop(tracers);
    let acknowledged = load.finish();
    let arrived = wait_until_empty(&gateway, &next_hop, &acknowledged);
    assert_eq!(check(&acknowledged, &arrived), 0, "duplicates");
    gateway.stop();
}

/// How long each took of a session that needs no disk.
fn commands(gateway: &Gateway<'_>, count: usize) -> Vec<Duration> {
    let mut client = Client::connect(gateway.smtp);
    let lines = ["MAIL FROM:<ann@client.test>", "RCPT TO:<bob@example.org>", "RSET"];
    let timed = lines.iter().cycle().take(count).map(|line| {
        let begun = Instant::now();
        let reply = client.command(line);
        assert!(reply.starts_with("250 "), "{line}: {reply}");
        begun.elapsed()
    });
    timed.collect()
}
