//! The gateway dies at each fail point of the queue that it passes, under load, and is started again: everything that was
//! answered 250 arrives, whole, and twice only where a death fell between the next hop's reply and the outcome's record.

use super::support::{
    admin::{admin, get, metrics},
    gateway::{Gateway, Home},
    load::{Load, check, home, wait_until_empty},
    next_hop::NextHop,
    smtp::Client,
    until,
};
use queue::fail_point::FailPoint;

const SESSIONS: usize = 4;
/// Of the gateway to one next hop, at most.
const CONNECTIONS: usize = 20;
/// Acknowledged after the last death.
const MORE: usize = 20;

/// When it dies.
enum Moment {
    /// At this passing, under load; before it, these faults.
    Running { faults: &'static str, passing: u32 },
    /// In the start after another death.
    Starting { death: &'static str },
    /// When it is told to stop.
    Stopping,
    /// It takes what a gateway seldom comes by: mails for 64 MiB, a long log, a full disk, damage, an old format. There
    /// the queue's own test comes by, which visits every point.
    Rare,
}

fn moment(point: FailPoint) -> Moment {
    match point {
        FailPoint::DatabaseCreated | FailPoint::SegmentCreated | FailPoint::NameSynced | FailPoint::BallastMade => {
            Moment::Running { faults: "", passing: 1 }
        }
        FailPoint::BodyAppended
        | FailPoint::BodiesWritten
        | FailPoint::SegmentSynced
        | FailPoint::Committing
        | FailPoint::Committed
        | FailPoint::Durable
        | FailPoint::Answered
        | FailPoint::Settling => Moment::Running { faults: "", passing: 25 },
        FailPoint::Poisoned | FailPoint::Reopened | FailPoint::StraysRemoved => {
            Moment::Running { faults: "segment-synced:20=eio,", passing: 1 }
        }
        FailPoint::Locked | FailPoint::Scanned | FailPoint::BodiesChecked | FailPoint::Opened => {
            Moment::Starting { death: "durable:30" }
        }
        // The segment's first mail was not committed.
        FailPoint::StartUnlinked => Moment::Starting { death: "bodies-written" },
        FailPoint::Closing | FailPoint::Closed => Moment::Stopping,
        FailPoint::Migrating
        | FailPoint::Migrated
        | FailPoint::Salvaging
        | FailPoint::Salvaged
        | FailPoint::SettingAside
        | FailPoint::SetAsideHalf
        | FailPoint::SetAside
        | FailPoint::SegmentSealed
        | FailPoint::Unlinking
        | FailPoint::Unlinked
        | FailPoint::Checkpointing
        | FailPoint::Checkpointed
        | FailPoint::Moving
        | FailPoint::Moved
        | FailPoint::BallastGivenUp
        | FailPoint::Trial => Moment::Rare,
    }
}

/// The load goes on over all deaths.
struct Story<'a> {
    home: &'a Home,
    load: Option<Load>,
    deaths: usize,
}

impl Story<'_> {
    fn live_until(&mut self, fail_points: &str) {
        if let Some(gateway) = self.home.start_to_die(fail_points) {
            self.send_to(&gateway);
            gateway.wait_for_kill();
        }
        self.died();
    }

    fn stop_until(&mut self, fail_points: &str) {
        let gateway = self.home.start_to_die(fail_points).expect("it lives until it is told to stop");
        self.send_to(&gateway);
        self.load.as_ref().expect("a load").wait_for(MORE);
        gateway.terminate();
        gateway.wait_for_kill();
        self.died();
    }

    fn send_to(&mut self, gateway: &Gateway<'_>) {
        let load = self.load.get_or_insert_with(|| Load::start(gateway.smtp, usize::MAX, SESSIONS));
        load.gateway_is_at(Some(gateway.smtp));
    }

    fn died(&mut self) {
        self.deaths += 1;
        if let Some(load) = &self.load {
            load.gateway_is_at(None);
        }
    }

    /// A whole life, to the end of all mail.
    fn end(mut self, next_hop: &NextHop, point: &str) {
        let gateway = self.home.start();
        self.send_to(&gateway);
        let load = self.load.take().expect("a load");
        load.wait_for(load.acknowledged() + MORE);
        let acknowledged = load.finish();
        let arrived = wait_until_empty(&gateway, next_hop, &acknowledged);
        let duplicates = check(&acknowledged, &arrived);
        // At the most what was on its way: on each connection one, and what waited for the writer.
        let bound = self.deaths * (CONNECTIONS + 2 * SESSIONS);
        assert!(duplicates <= bound, "{point}: {duplicates} duplicates, of {bound} that were on their way");
        gateway.stop();
    }
}

#[test]
fn a_gateway_that_dies_at_any_fail_point_loses_nothing_that_it_acknowledged() {
    let mut visited = 0;
    for point in FailPoint::ALL {
        let next_hop = NextHop::start();
        let home = home(next_hop.address);
        let (mut story, name) = (Story { home: &home, load: None, deaths: 0 }, point.name());
        match moment(*point) {
            Moment::Rare => continue,
            Moment::Running { faults, passing } => story.live_until(&format!("{faults}{name}:{passing}")),
            Moment::Starting { death } => {
                story.live_until(death);
                story.live_until(name);
            }
            Moment::Stopping => story.stop_until(name),
        }
        story.end(&next_hop, name);
        visited += 1;
    }
    assert!(visited > 20, "{visited} of {} are visited", FailPoint::ALL.len());
}

#[test]
fn a_failed_sync_is_told_with_its_reason_and_since_when_until_the_files_are_opened_anew() {
    let next_hop = NextHop::start();
    let home = home(next_hop.address);
    // The first opening is that of the start; the next ones fail too.
    let faults = "segment-synced=eio,opened:2=eio,opened:3=eio,opened:4=eio";
    let gateway = home.start_with_faults(faults).expect("it starts");
    let mail = |client: &mut Client| client.mail("ann@client.test", "bob@example.org", "X-Load: x\r\n\r\nx");
    let mut client = Client::connect(gateway.smtp);
    assert!(mail(&mut client).starts_with("451 4.3.0 [WP-STORE]"));
    assert!(client.command("MAIL FROM:<ann@client.test>").starts_with("451 4.3.0 [WP-STORE]"));
    let (address, token) = admin(&home);
    let status = || -> serde_json::Value {
        let answer = get(address, "/api/status", Some(&token));
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON")
    };
    let store = status()["store"].clone();
    assert_eq!(store["health"], "unhealthy");
    assert!(store["reason"].as_str().is_some_and(|reason| reason.contains("os error 5")), "{store}");
    assert!(store["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{store}");
    let told = metrics(&home);
    assert!(told.contains("waypost_queue_health{state=\"unhealthy\"} 1"));
    assert!(!told.contains("waypost_queue_unhealthy_since_seconds 0\n"));
    until("the files to be opened anew", || (status()["store"]["health"] == "healthy").then_some(()));
    assert!(metrics(&home).contains("waypost_queue_unhealthy_since_seconds 0\n"));
    assert!(mail(&mut Client::connect(gateway.smtp)).starts_with("250 "));
    next_hop.wait(1);
    gateway.wait_until_empty();
    assert_eq!(next_hop.count(), 1, "what was answered 451 is not delivered");
    gateway.stop();
}
