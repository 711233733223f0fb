//! Promises of the limits, with the clock standing still but where a test moves it.

use super::*;
use crate::config::Limits as OfListener;
use std::sync::atomic::{AtomicU64, Ordering};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One listener, and a clock that stands still.
struct Rig {
    limits: Arc<Limits>,
    now: Arc<AtomicU64>,
}

impl std::ops::Deref for Rig {
    type Target = Arc<Limits>;
    fn deref(&self) -> &Arc<Limits> {
        &self.limits
    }
}

fn limits(change: impl FnOnce(&mut Settings, &mut OfListener)) -> Rig {
    let (mut settings, mut listener) = (Settings::default(), OfListener::default());
    settings.everybody = at_once(1000);
    change(&mut settings, &mut listener);
    settings.listeners.push(listener);
    let now = Arc::new(AtomicU64::new(1_800_000_000_000));
    let clock = now.clone();
    let clock = Clock::new(move || mail::Timestamp::from_millis(clock.load(Ordering::Relaxed)));
    Rig { limits: Limits::with(settings, clock), now }
}

fn enter(limits: &Arc<Limits>, address: &str) -> Result<Place, String> {
    limits.enter(0, Some(ip(address))).map_err(|refusal| refusal.reply().to_string())
}

fn refused(limits: &Arc<Limits>, address: &str) -> String {
    enter(limits, address).err().unwrap_or_default()
}

impl Rig {
    fn pass(&self, seconds: u64) {
        self.now.fetch_add(1000 * seconds, Ordering::Relaxed);
    }
}

#[test]
fn a_place_is_free_again_when_its_connection_ends() {
    let limits = limits(|settings, _| (settings.everybody, settings.address) = (at_once(2), at_once(1)));
    let first = enter(&limits, "127.0.0.1").unwrap();
    assert_eq!(refused(&limits, "127.0.0.1"), "421 4.7.0 [WP-CROWDED] Too many connections from your address");
    let _second = enter(&limits, "127.0.0.2").unwrap();
    assert_eq!(refused(&limits, "127.0.0.3"), "421 4.3.2 [WP-CROWDED] Too many connections; try again later");
    drop(first);
    assert!(enter(&limits, "127.0.0.3").is_ok());
    assert_eq!(limits.refusals(), [("open", "gateway", 1), ("open", "address", 1)]);
}

#[test]
fn a_network_cannot_take_more_than_its_share_with_many_addresses() {
    let limits = limits(|settings, _| settings.network = at_once(3));
    for network in ["192.0.2.", "2001:db8::"] {
        let open: Vec<_> = (1..=3).map(|n| enter(&limits, &format!("{network}{n}")).unwrap()).collect();
        assert!(refused(&limits, &format!("{network}9")).ends_with("Too many connections from your network"));
        drop(open);
        assert!(enter(&limits, &format!("{network}9")).is_ok());
    }
}

#[test]
fn who_has_many_networks_of_ipv6_has_four_times_the_share_of_one_and_no_more() {
    let limits = limits(|settings, listener| {
        settings.network = at_once(3);
        listener.per_network.messages_per_minute = Some(1);
    });
    let enter = |n: u32| enter(&limits, &format!("2001:db8:7:{n:x}::1"));
    let open: Vec<_> = (0..12).map(|n| enter(n).unwrap()).collect();
    assert!(enter(12).err().unwrap().ends_with("Too many connections from your network"));
    assert!(open[..4].iter().all(|place| place.message().is_ok()) && open[4].message().is_err());
    let other = limits.enter(0, Some(ip("2001:db8:8::1"))).unwrap();
    assert!(other.message().is_ok(), "another site");
    drop(open);
    assert!(enter(12).is_ok());
}

#[test]
fn who_has_too_many_connections_by_the_minute_uses_up_nobody_elses() {
    let limits = limits(|_, listener| {
        listener.per_address.connections_per_minute = Some(2);
        listener.per_listener.connections_per_minute = Some(4);
    });
    for _ in 0..2 {
        assert!(enter(&limits, "192.0.2.1").is_ok());
    }
    for _ in 0..100 {
        assert!(
            refused(&limits, "192.0.2.1").starts_with("421 4.7.0 [WP-RATE] Too many connections from your address")
        );
    }
    assert!(enter(&limits, "192.0.2.2").is_ok() && enter(&limits, "192.0.2.3").is_ok());
    assert_eq!(
        refused(&limits, "192.0.2.4"),
        "421 4.7.0 [WP-RATE] Too many connections within a minute; try again later"
    );
    limits.pass(120);
    assert!(enter(&limits, "192.0.2.1").is_ok());
}

#[test]
fn messages_and_recipients_are_limited_by_the_minute_in_each_scope() {
    let limits = limits(|_, listener| {
        listener.per_address.messages_per_minute = Some(2);
        listener.per_network.recipients_per_minute = Some(3);
    });
    let (one, neighbour, other) = ("192.0.2.1", "192.0.2.2", "198.51.100.1");
    let [one, neighbour, other] = [one, neighbour, other].map(|address| enter(&limits, address).unwrap());
    assert!(one.message().is_ok() && one.message().is_ok());
    let refusal = one.message().unwrap_err().reply().to_string();
    assert!(refusal.starts_with("451 4.7.0 [WP-RATE] Too many messages from your address"), "{refusal}");
    assert!(neighbour.message().is_ok());
    assert!(one.recipient().is_ok() && neighbour.recipient().is_ok() && one.recipient().is_ok());
    let refusal = neighbour.recipient().unwrap_err().reply().to_string();
    assert!(refusal.starts_with("452 4.5.3 [WP-RATE] Too many recipients from your network"), "{refusal}");
    assert!(other.recipient().is_ok());
    limits.pass(120);
    assert!(one.message().is_ok() && neighbour.recipient().is_ok());
}

#[test]
fn who_has_made_too_many_errors_is_not_let_in_again_until_they_fade() {
    let limits = limits(|_, listener| listener.per_address.errors_per_minute = Some(10));
    let place = enter(&limits, "192.0.2.1").unwrap();
    assert!(place.errors(10).is_ok());
    assert!(refused(&limits, "192.0.2.1").starts_with("421 4.7.0 [WP-RATE] Too many errors"));
    assert!(place.errors(1).is_err() && enter(&limits, "192.0.2.2").is_ok());
    limits.pass(90);
    assert!(enter(&limits, "192.0.2.1").is_ok());
}

#[test]
fn a_connection_that_is_somebody_elses_counts_there_and_not_where_it_came_from() {
    let limits = limits(|settings, listener| {
        settings.address = at_once(1);
        listener.per_listener.connections_per_minute = Some(3);
    });
    // A balancer has many connections, whose clients are known only later.
    let mut behind: Vec<_> = (0..3).map(|_| limits.enter(0, None).unwrap()).collect();
    assert!(behind[0].belongs_to(ip("192.0.2.1")).is_ok());
    assert!(behind[1].belongs_to(ip("192.0.2.1")).is_err());
    assert!(behind[1].belongs_to(ip("192.0.2.2")).is_ok());
    assert!(refused(&limits, "192.0.2.2").contains("[WP-CROWDED]"));
    // Told again: it moves.
    assert!(behind[1].belongs_to(ip("192.0.2.3")).is_ok());
    assert!(behind[2].belongs_to(ip("192.0.2.2")).is_ok());
    assert!(refused(&limits, "192.0.2.9").contains("[WP-RATE]"), "each counted once for the listener");
    assert_eq!(limits.open(), 3);
    drop(behind);
    assert_eq!(limits.open(), 0);
}

#[test]
fn new_settings_hold_for_the_next_client_and_send_nobody_away() {
    let limits = limits(|settings, _| settings.address = at_once(2));
    let _open = [enter(&limits, "192.0.2.1").unwrap(), enter(&limits, "192.0.2.1").unwrap()];
    limits.settings.write().unwrap().address = at_once(1);
    assert!(refused(&limits, "192.0.2.1").contains("[WP-CROWDED]"));
    limits.settings.write().unwrap().address = at_once(3);
    assert!(enter(&limits, "192.0.2.1").is_ok());
    assert_eq!(limits.open(), 2);
}

#[test]
fn it_is_crowded_when_four_of_five_places_are_taken() {
    let limits = limits(|settings, _| settings.everybody = at_once(10));
    let mut open: Vec<_> = (0..7).map(|_| enter(&limits, "192.0.2.1").unwrap()).collect();
    assert!(!limits.is_crowded());
    open.push(enter(&limits, "192.0.2.1").unwrap());
    assert!(limits.is_crowded());
}
