//! Places where a test may let the process die, or an operation fail: one for each state of `DESIGN.md`.
//!
//! `WAYPOST_FAIL_POINT=name[:n][=kill|eio|enospc],…` picks the n-th passing of a point, the first where n is left out.
//! Only builds with debug assertions look at it; in others every point is a constant that does nothing.

use std::io;

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FailPoint { $($(#[$doc])* $point,)* }

        impl FailPoint {
            pub const ALL: &[Self] = &[$(Self::$point,)*];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$point => $name,)* }
            }
        }
    };
}

points! {
    Locked = "locked",
    DatabaseCreated = "database-created",
    Migrating = "migrating",
    Migrated = "migrated",
    Salvaging = "salvaging",
    Salvaged = "salvaged",
    SettingAside = "setting-aside",
    SetAsideHalf = "set-aside-half",
    SetAside = "set-aside",
    Scanned = "scanned",
    BodiesChecked = "bodies-checked",
    Opened = "opened",
    StartUnlinked = "start-unlinked",
    SegmentCreated = "segment-created",
    BodyAppended = "body-appended",
    SegmentSealed = "segment-sealed",
    BodiesWritten = "bodies-written",
    SegmentSynced = "segment-synced",
    NameSynced = "name-synced",
    Committing = "committing",
    Committed = "committed",
    Durable = "durable",
    Answered = "answered",
    Settling = "settling",
    Unlinking = "unlinking",
    Unlinked = "unlinked",
    Checkpointing = "checkpointing",
    Checkpointed = "checkpointed",
    Moving = "moving",
    Moved = "moved",
    BallastGivenUp = "ballast-given-up",
    BallastMade = "ballast-made",
    Trial = "trial",
    Poisoned = "poisoned",
    Reopened = "reopened",
    StraysRemoved = "strays-removed",
    Closing = "closing",
    Closed = "closed",
}

/// Dies here if a test says so.
#[cfg(debug_assertions)]
pub fn reached(point: FailPoint) {
    let _ = armed::pass(point);
}

/// As `reached`, and may fail in place of what follows.
#[cfg(debug_assertions)]
pub fn may_fail(point: FailPoint) -> io::Result<()> {
    armed::pass(point)
}

#[cfg(not(debug_assertions))]
pub const fn reached(_: FailPoint) {}
#[cfg(not(debug_assertions))]
pub const fn may_fail(_: FailPoint) -> io::Result<()> {
    Ok(())
}

/// What the compiler can evaluate reads no environment and ends no process: each build without debug assertions proves it.
#[cfg(not(debug_assertions))]
const _: (io::Result<()>, ()) = (may_fail(FailPoint::Locked), reached(FailPoint::Locked));

#[cfg(debug_assertions)]
mod armed {
    use super::FailPoint;
    use std::io;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    const VARIABLE: &str = "WAYPOST_FAIL_POINT";

    /// The environment is the process's own, and so is what it asks for.
    static PLAN: OnceLock<Vec<Planned>> = OnceLock::new();

    struct Planned {
        point: FailPoint,
        at: u64,
        act: Act,
        passed: AtomicU64,
    }

    #[derive(Clone, Copy)]
    enum Act {
        Kill,
        Fail(rustix::io::Errno),
    }

    pub(super) fn pass(point: FailPoint) -> io::Result<()> {
        let plan = PLAN.get_or_init(|| match std::env::var(VARIABLE) {
            Ok(text) => read(&text).unwrap_or_else(|part| {
                eprintln!("{VARIABLE}: {part:?} is no fail point");
                std::process::exit(2)
            }),
            Err(_) => Vec::new(),
        });
        for planned in plan.iter().filter(|planned| planned.point == point) {
            if planned.passed.fetch_add(1, Ordering::SeqCst) + 1 == planned.at {
                match planned.act {
                    Act::Kill => die(),
                    Act::Fail(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// As `kill -9`: nothing is flushed, dropped or unwound.
    fn die() -> ! {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }

    fn read(text: &str) -> Result<Vec<Planned>, &str> {
        text.split(',').map(|part| one(part).ok_or(part)).collect()
    }

    fn one(part: &str) -> Option<Planned> {
        let (place, act) = part.split_once('=').unwrap_or((part, "kill"));
        let (name, at) = place.split_once(':').unwrap_or((place, "1"));
        let act = match act {
            "kill" => Act::Kill,
            "eio" => Act::Fail(rustix::io::Errno::IO),
            "enospc" => Act::Fail(rustix::io::Errno::NOSPC),
            _ => return None,
        };
        let point = FailPoint::ALL.iter().copied().find(|point| point.name() == name)?;
        Some(Planned { point, at: at.parse().ok().filter(|at| *at > 0)?, act, passed: AtomicU64::new(0) })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_plan_names_points_passings_and_what_happens() {
            let plan = read("locked,committing:3=enospc,segment-synced=eio").unwrap();
            let seen: Vec<_> = plan.iter().map(|planned| (planned.point, planned.at)).collect();
            assert_eq!(seen, [(FailPoint::Locked, 1), (FailPoint::Committing, 3), (FailPoint::SegmentSynced, 1)]);
            for wrong in ["", "nowhere", "locked:0", "locked:x", "locked=boom", "locked,"] {
                assert!(read(wrong).is_err(), "{wrong}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FailPoint;
    use std::collections::BTreeSet;

    #[test]
    fn the_design_names_every_fail_point_and_no_other() {
        let design = include_str!("../DESIGN.md");
        let rows = design.split("## Fail points").nth(1).unwrap().split("\n## ").next().unwrap();
        let listed: Vec<&str> =
            rows.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name)).collect();
        let known: Vec<&str> = FailPoint::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(listed, known, "in the order of the code");
        assert_eq!(known.iter().collect::<BTreeSet<_>>().len(), known.len());
    }
}
