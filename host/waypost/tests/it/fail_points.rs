//! The gateway dies at each fail point of the queue that it passes, under load, and is started again: everything that was
//! answered 250 arrives, whole, and twice only where a death fell between the next hop's reply and the outcome's record.

use super::support::{
    gateway::{Gateway, Home},
    load::{Load, check, home, wait_until_empty},
    next_hop::NextHop,
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
