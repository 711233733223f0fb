//! The promises of [`Policy`], with a store in memory that counts its calls and forgets at the stated time.

use super::*;
use std::collections::BTreeMap;
use waypost_sdk::config::parse;

#[derive(Default)]
struct Memory {
    now: u64,
    entries: BTreeMap<String, (Vec<u8>, u64)>,
    gets: usize,
    writes: usize,
    broken: bool,
}

impl Memory {
    fn live(&self, key: &str) -> Option<Vec<u8>> {
        self.entries.get(key).filter(|(_, until)| self.now < *until).map(|(value, _)| value.clone())
    }
}

impl Store for Memory {
    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, String> {
        self.gets += 1;
        if self.broken { Err("broken".to_owned()) } else { Ok(self.live(key)) }
    }
    fn set(&mut self, key: &str, value: &[u8], ttl: u32) -> Result<(), String> {
        self.writes += 1;
        self.entries.insert(key.to_owned(), (value.to_vec(), self.now + u64::from(ttl)));
        Ok(())
    }
    fn add(&mut self, key: &str, value: &[u8], ttl: u32) -> Result<bool, String> {
        let is_new = self.live(key).is_none();
        if is_new {
            self.set(key, value, ttl)?;
        }
        Ok(is_new)
    }
}

/// A policy with its store, at a time that the test moves.
struct World {
    policy: Policy,
    store: Memory,
}

const START: u64 = 1_800_000_000;
const DAY: u64 = 86_400;
const HAM: Contact<'_> = Contact {
    ip: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    authenticated: false,
    sender: Some("ann@x.org"),
    recipient: "bob@example.org",
};

impl World {
    fn new(json: &str) -> Self {
        Self { policy: policy(json).unwrap(), store: Memory { now: START, ..Memory::default() } }
    }
    fn ask(&mut self, contact: Contact<'_>) -> Decision {
        (self.store.gets, self.store.writes) = (0, 0);
        self.policy.decide(&contact, self.store.now, &mut self.store).unwrap()
    }
    fn after(&mut self, seconds: u64) -> &mut Self {
        self.store.now += seconds;
        self
    }
}

fn policy(json: &str) -> Result<Policy, String> {
    Policy::new(parse(json, Settings::EXAMPLE)?)
}

#[test]
fn a_stranger_waits_once_and_is_then_known() {
    let mut world = World::new(r#"{"delay":"5 min"}"#);
    assert_eq!(world.ask(HAM), Decision::Wait(300));
    assert_eq!(world.after(100).ask(HAM), Decision::Wait(200));
    assert_eq!(world.after(199).ask(HAM), Decision::Wait(1));
    assert_eq!(world.after(1).ask(HAM), Decision::Pass);
    assert_eq!(world.after(1).ask(HAM), Decision::Pass);
}

#[test]
fn trying_again_and_again_does_not_make_the_wait_longer() {
    let mut world = World::new(r#"{"delay":"5 min"}"#);
    for waited in 0..300 {
        assert_eq!(world.ask(HAM), Decision::Wait(300 - waited));
        world.after(1);
    }
    assert_eq!(world.ask(HAM), Decision::Pass);
}

#[test]
fn who_comes_back_too_late_waits_again() {
    let mut world = World::new(r#"{"delay":"5 min","window":"1 h"}"#);
    world.ask(HAM);
    assert_eq!(world.after(3600).ask(HAM), Decision::Wait(300));
}

#[test]
fn another_sender_recipient_or_network_is_another_stranger() {
    let mut world = World::new(r#"{"delay":"5 min"}"#);
    world.ask(HAM);
    world.after(300).ask(HAM);
    for stranger in [
        Contact { sender: Some("eve@x.org"), ..HAM },
        Contact { recipient: "eve@example.org", ..HAM },
        Contact { ip: "198.51.100.1".parse().unwrap(), ..HAM },
    ] {
        assert_eq!(world.ask(stranger), Decision::Wait(300), "{stranger:?}");
    }
    assert_eq!(world.ask(Contact { ip: "192.0.2.200".parse().unwrap(), ..HAM }), Decision::Pass);
}

#[test]
fn a_known_contact_costs_one_read_and_seldom_a_write() {
    let mut world = World::new(r#"{"delay":"5 min","keep":"36 d"}"#);
    world.ask(HAM);
    world.after(300).ask(HAM);
    for _ in 0..100 {
        assert_eq!(world.after(60).ask(HAM), Decision::Pass);
        assert_eq!((world.store.gets, world.store.writes), (1, 0));
    }
    assert_eq!(world.after(9 * DAY).ask(HAM), Decision::Pass);
    assert_eq!((world.store.gets, world.store.writes), (1, 1));
}

#[test]
fn who_writes_now_and_then_stays_known_and_who_stops_is_forgotten() {
    let mut world = World::new(r#"{"delay":"5 min","keep":"36 d","auto-whitelist-after":0}"#);
    world.ask(HAM);
    world.after(300).ask(HAM);
    for _ in 0..20 {
        assert_eq!(world.after(26 * DAY).ask(HAM), Decision::Pass);
    }
    assert_eq!(world.after(36 * DAY).ask(HAM), Decision::Wait(300));
}

#[test]
fn without_a_delay_it_learns_and_nobody_waits() {
    let mut world = World::new("{}");
    assert_eq!(world.ask(HAM), Decision::Pass);
    // Turned on later, it knows whom it has seen.
    world.policy = policy(r#"{"delay":"5 min"}"#).unwrap();
    assert_eq!(world.after(60).ask(HAM), Decision::Pass);
    assert_eq!(world.ask(Contact { sender: Some("eve@x.org"), ..HAM }), Decision::Wait(300));
}

#[test]
fn a_network_whose_mails_came_back_waits_no_more() {
    let mut world = World::new(r#"{"delay":"5 min","auto-whitelist-after":3}"#);
    let senders = ["a@x.org", "b@x.org", "c@x.org", "d@x.org"];
    for sender in &senders[..3] {
        let contact = Contact { sender: Some(sender), ..HAM };
        assert_eq!(world.ask(contact), Decision::Wait(300));
        assert_eq!(world.after(300).ask(contact), Decision::Pass);
        // Only the first return of a triplet counts.
        assert_eq!(world.after(1).ask(contact), Decision::Pass);
    }
    assert_eq!(world.ask(Contact { sender: Some(senders[3]), ..HAM }), Decision::Pass);
    let elsewhere = Contact { ip: "198.51.100.1".parse().unwrap(), sender: Some(senders[3]), ..HAM };
    assert_eq!(world.ask(elsewhere), Decision::Wait(300));
    // Trust is kept up by mail, and lost without it.
    assert_eq!(world.after(30 * DAY).ask(Contact { sender: Some("e@x.org"), ..HAM }), Decision::Pass);
    assert_eq!(world.after(30 * DAY).ask(Contact { sender: Some("f@x.org"), ..HAM }), Decision::Pass);
    assert_eq!(world.after(40 * DAY).ask(Contact { sender: Some("g@x.org"), ..HAM }), Decision::Wait(300));
}

#[test]
fn returns_are_not_counted_where_that_is_off() {
    let mut world = World::new(r#"{"delay":"5 min","auto-whitelist-after":0}"#);
    for n in 0..10 {
        let sender = format!("{}@x.org", ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"][n]);
        let contact = Contact { sender: Some(&sender), ..HAM };
        assert_eq!(world.ask(contact), Decision::Wait(300));
        assert_eq!(world.store.gets, 1);
        assert_eq!(world.after(300).ask(contact), Decision::Pass);
    }
}

#[test]
fn exemptions_never_wait_and_never_touch_the_store() {
    let json = r#"{"delay":"5 min","whitelist":["198.51.100.0/24","2001:db8::/32","203.0.113.7","vip@y.org","@z.org","*.w.org"]}"#;
    let mut world = World::new(json);
    for contact in [
        Contact { authenticated: true, ..HAM },
        Contact { recipient: "Postmaster@example.org", ..HAM },
        Contact { sender: None, ..HAM },
        Contact { ip: "198.51.100.99".parse().unwrap(), ..HAM },
        Contact { ip: "2001:db8:5::1".parse().unwrap(), ..HAM },
        Contact { ip: "203.0.113.7".parse().unwrap(), ..HAM },
        Contact { sender: Some("VIP@y.org"), ..HAM },
        Contact { sender: Some("any@z.org"), ..HAM },
        Contact { sender: Some("any@a.w.org"), ..HAM },
    ] {
        assert_eq!(world.ask(contact), Decision::Pass, "{contact:?}");
        assert_eq!((world.store.gets, world.store.writes), (0, 0), "{contact:?}");
    }
    assert_eq!(world.ask(Contact { ip: "203.0.113.8".parse().unwrap(), ..HAM }), Decision::Wait(300));
}

#[test]
fn the_null_reverse_path_waits_where_that_is_asked_for() {
    let mut world = World::new(r#"{"delay":"5 min","null-sender":"delay"}"#);
    let bounce = Contact { sender: None, ..HAM };
    assert_eq!(world.ask(bounce), Decision::Wait(300));
    assert_eq!(world.after(300).ask(bounce), Decision::Pass);
}

#[test]
fn a_clock_that_is_put_back_makes_nobody_wait_for_days() {
    let mut world = World::new(r#"{"delay":"5 min"}"#);
    world.ask(HAM);
    world.store.now -= 3 * DAY;
    assert_eq!(world.ask(HAM), Decision::Wait(300));
    assert_eq!(world.after(300).ask(HAM), Decision::Pass);
    world.store.now -= 30 * DAY;
    assert_eq!(world.ask(HAM), Decision::Pass);
}

#[test]
fn a_foreign_record_is_taken_for_a_stranger_and_a_broken_store_is_an_error() {
    let mut world = World::new(r#"{"delay":"5 min"}"#);
    let key = "triplet 192.0.2.0/24 ann@x.org bob@example.org";
    world.store.set(key, b"v2:something", 600).unwrap();
    assert_eq!(world.ask(HAM), Decision::Wait(300));
    world.store.broken = true;
    assert_eq!(world.policy.decide(&HAM, START, &mut world.store), Err("broken".to_owned()));
}

#[test]
fn the_reply_says_when_to_come_back() {
    assert_eq!(Decision::Pass.verdict(), Verdict::Pass);
    for (seconds, text) in [(1, "1 s"), (119, "119 s"), (120, "2 min"), (121, "3 min"), (300, "5 min")] {
        let text = format!("[WP-GREY] Please try again in {text}");
        assert_eq!(Decision::Wait(seconds).verdict(), Verdict::tempfail(451, "4.7.1", text));
    }
}

#[test]
fn a_bad_configuration_is_refused_with_its_key_and_an_example() {
    for (json, parts) in [
        (r#"{"dealy":"5 min"}"#, ["`dealy` is not a key here", "did you mean `delay`?", "delay = \"5 min\""]),
        (r#"{"delay":300}"#, ["`delay`", "a duration in quotes", "for instance: delay = \"5 min\""]),
        (r#"{"delay":"soon"}"#, ["`delay`", "\"soon\" is not a duration", "for instance"]),
        (r#"{"delay":"2 d"}"#, ["`delay`", "less than `window`", "for instance"]),
        (r#"{"window":"5 s"}"#, ["`window`", "one minute to ten years", "window = \"2 d\""]),
        (r#"{"keep":"9000 d"}"#, ["`keep`", "one minute to ten years", "keep = \"36 d\""]),
        (r#"{"whitelist":["192.0.2.1/24"]}"#, ["`whitelist[0]`", "did you mean \"192.0.2.0/24\"", "for instance"]),
        (r#"{"whitelist":["a@b.c","nobody"]}"#, ["`whitelist[1]`", "is not a sender", "or a network"]),
        (
            r#"{"auto-whitelist-after":-1}"#,
            ["`auto-whitelist-after`", "whole number (not negative), found -1", "auto-whitelist-after = 5"],
        ),
        (r#"{"null-sender":"wait"}"#, ["`null-sender`", "\"pass\", \"delay\"", "null-sender = \"pass\""]),
    ] {
        let message = policy(json).map(drop).unwrap_err();
        for part in parts {
            assert!(message.contains(part), "{json}: {message}");
        }
    }
}

#[test]
fn the_examples_in_readme_and_messages_are_valid() {
    let readme = include_str!("../README.md");
    let block = readme.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let file: serde_json::Value = toml::from_str(block).unwrap();
    let example: serde_json::Value = toml::from_str(Settings::EXAMPLE).unwrap();
    for table in [&file["config"]["greylist"], &example] {
        policy(&table.to_string()).map(drop).unwrap();
    }
}
