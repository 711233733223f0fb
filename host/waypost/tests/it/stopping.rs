//! SIGTERM: the wait for what is under way has an end, and a second one is that end at once. Nothing is lost by either.

use super::support::{
    gateway::Gateway,
    load::home,
    next_hop::{Behaviour, NextHop, free_address},
    smtp::{Client, send},
    until,
};
use std::time::{Duration, Instant};

/// A next hop that is being waited for, and a client in the middle of its data.
fn both_under_way(gateway: &Gateway<'_>, silent: &NextHop) -> Client {
    assert!(send(gateway.smtp, "ann@client.test", "bob@example.org", "first").starts_with("250 "));
    until("an attempt", || (!silent.connections.lock().unwrap().is_empty()).then_some(()));
    let mut client = Client::connect(gateway.smtp);
    for (line, reply) in
        [("MAIL FROM:<ann@client.test>", "250 "), ("RCPT TO:<bob@example.org>", "250 "), ("DATA", "354 ")]
    {
        assert!(client.command(line).starts_with(reply));
    }
    client.send(b"Subject: half\r\n\r\nHel").unwrap();
    client
}

/// Starts with a next hop that says nothing, and stops with both a session and an attempt under way.
fn stop_with(stop: impl FnOnce(Gateway<'_>)) {
    let address = free_address();
    let silent = NextHop::start_at(address, Behaviour { silent: true, ..Behaviour::default() });
    let home = home(address);
    let gateway = home.start();
    let client = both_under_way(&gateway, &silent);
    gateway.terminate();
    until("the end to begin", || home.log().contains("stopping").then_some(()));
    stop(gateway);
    drop(client);
    silent.stop();
    let next_hop = NextHop::start_at(address, Behaviour::default());
    let gateway = home.start();
    next_hop.wait(1);
    gateway.wait_until_empty();
    assert_eq!(next_hop.count(), 1, "what was acknowledged, once, and no half of another");
    gateway.stop();
}

#[test]
fn a_stop_waits_for_what_is_under_way_within_bounds() {
    let begun = Instant::now();
    stop_with(|gateway| gateway.wait());
    // 20 s for sessions, then 20 s for attempts.
    assert!(begun.elapsed() < Duration::from_secs(55), "{:?}", begun.elapsed());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    stop_with(|gateway| {
        let begun = Instant::now();
        gateway.terminate();
        gateway.wait();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    });
}
