//! A real process that dies at each fail point, some of them in recovery from another death: nothing that was answered is
//! lost or changed, and nothing that was settled comes back.

use super::{NOW, body, delivered, id, new_mail, quick_dir, settlement};
use queue::fail_point::FailPoint;
use queue::{EnqueueError, Filter, Health, Options, Queue};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const DIR: &str = "QUEUE_FAIL_POINT_TEST_DIR";
const MAILS: &str = "QUEUE_FAIL_POINT_TEST_MAILS";
const POINT: &str = "WAYPOST_FAIL_POINT";

/// What the process finds.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    /// What another death has left.
    Death(&'static str),
    /// The same, and one record of it is wrong.
    Damage,
    Format1,
}

/// Where the process dies, what must have gone wrong before, and what it found.
const DEATHS: &[(FailPoint, &str, Before)] = &[
    (FailPoint::Locked, "", Before::Death("answered:40")),
    (FailPoint::DatabaseCreated, "", Before::Nothing),
    (FailPoint::Migrating, "", Before::Format1),
    (FailPoint::Migrated, "", Before::Format1),
    (FailPoint::Salvaging, "", Before::Damage),
    (FailPoint::Salvaged, "", Before::Damage),
    (FailPoint::SettingAside, "", Before::Damage),
    (FailPoint::SetAsideHalf, "", Before::Damage),
    (FailPoint::SetAside, "", Before::Damage),
    (FailPoint::Scanned, "", Before::Death("answered:40")),
    (FailPoint::BodiesChecked, "", Before::Death("durable:33")),
    (FailPoint::Opened, "", Before::Death("committed:21")),
    (FailPoint::StartUnlinked, "", Before::Death("unlinking:2")),
    (FailPoint::SegmentCreated, "", Before::Nothing),
    (FailPoint::BodyAppended, "", Before::Nothing),
    (FailPoint::SegmentSealed, "", Before::Nothing),
    (FailPoint::BodiesWritten, "", Before::Nothing),
    (FailPoint::SegmentSynced, "", Before::Nothing),
    (FailPoint::NameSynced, "", Before::Nothing),
    (FailPoint::Committing, "", Before::Nothing),
    (FailPoint::Committed, "", Before::Nothing),
    (FailPoint::Durable, "", Before::Nothing),
    (FailPoint::Answered, "", Before::Nothing),
    (FailPoint::Settling, "", Before::Nothing),
    (FailPoint::Unlinking, "", Before::Nothing),
    (FailPoint::Unlinked, "", Before::Nothing),
    (FailPoint::Checkpointing, "", Before::Nothing),
    (FailPoint::Checkpointed, "", Before::Nothing),
    (FailPoint::Moving, "", Before::Nothing),
    (FailPoint::Moved, "", Before::Nothing),
    // The first mail stays, then mails and outcomes take turns.
    (FailPoint::BallastGivenUp, "committing:5=enospc", Before::Nothing),
    (FailPoint::BallastMade, "", Before::Nothing),
    (FailPoint::Trial, "body-appended:3=enospc", Before::Nothing),
    (FailPoint::Poisoned, "segment-synced:15=eio", Before::Nothing),
    (FailPoint::Reopened, "segment-synced:15=eio", Before::Nothing),
    (FailPoint::StraysRemoved, "segment-synced:15=eio", Before::Nothing),
    (FailPoint::Closing, "", Before::Nothing),
    (FailPoint::Closed, "", Before::Nothing),
];
/// Passings of a point after which the process dies, where it passes so often.
const PASSINGS: [u32; 3] = [1, 4, 19];

/// What the process has said.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    safe: BTreeSet<u128>,
    /// An outcome was handed over.
    asked: BTreeSet<u128>,
    done: BTreeSet<u128>,
}

fn options() -> Options {
    Options {
        segment_size: 8192,
        reopen_interval: Duration::from_millis(2),
        move_interval: Duration::from_millis(1),
        ..Options::default()
    }
}

/// Not a test by itself: what the process that dies runs.
#[tokio::test]
async fn child_that_dies() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let mails: u128 = std::env::var(MAILS).unwrap().parse().unwrap();
    let (queue, _) = Queue::open(dir.as_ref(), options(), NOW).unwrap();
    let first = queue.fact("last").unwrap().map_or(1000, |last| number(&last) + 1);
    for n in first..first + mails {
        queue.set_fact("last", Some(n.to_string().as_bytes())).unwrap();
        let claim = match queue.enqueue(new_mail(id(n), 1)).await {
            Ok(claim) => claim,
            Err(EnqueueError::Full | EnqueueError::Unhealthy(_)) => {
                healthy(&queue).await;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        println!("\nsafe {n}");
        // Those that stay keep their segments from going, until their bodies are moved.
        match n % 8 {
            0 => queue.unclaim(claim),
            _ => settle(&queue, n, claim).await,
        }
    }
    queue.close().await;
}

async fn settle(queue: &Queue, n: u128, claim: queue::Claim) {
    println!("\nasked {n}");
    queue.settle(settlement(claim, vec![(0, delivered())])).await.unwrap();
    println!("\ndone {n}");
}

async fn healthy(queue: &Queue) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while queue.health() != Health::Healthy {
        assert!(Instant::now() < deadline, "{:?}", queue.health());
        tokio::task::yield_now().await;
    }
}

fn number(fact: &[u8]) -> u128 {
    std::str::from_utf8(fact).unwrap().parse().unwrap()
}

/// The process that dies, run by `command`, which may be what traces it.
pub(super) fn child<'a>(command: &'a mut Command, dir: &Path, plan: &str, mails: u32) -> &'a mut Command {
    command.args(["--exact", "fail_points::child_that_dies", "--nocapture"]);
    command.env(DIR, dir).env(MAILS, mails.to_string());
    if !plan.is_empty() {
        command.env(POINT, plan);
    }
    command
}

impl Said {
    /// Runs the process to its end; whether it was killed.
    fn listen(&mut self, dir: &Path, plan: &str, mails: u32) -> bool {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let command = child(&mut command, dir, plan, mails).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines.map_while(Result::ok).for_each(|line| self.hear(&line));
        let status = child.wait().unwrap();
        assert!(status.success() || status.signal() == Some(9), "{plan}: {status}");
        status.signal() == Some(9)
    }

    pub(super) fn hear(&mut self, line: &str) {
        let Some((word, Ok(n))) = line.split_once(' ').map(|(word, n)| (word, n.parse())) else { return };
        match word {
            "safe" => self.safe.insert(n),
            "asked" => self.asked.insert(n),
            "done" => self.done.insert(n),
            _ => false,
        };
    }

    /// Opens what is left, delivers it, and compares.
    pub(super) async fn check(&self, dir: &Path, context: &str) {
        let (queue, _) = Queue::open(dir, options(), NOW).unwrap();
        assert!(self.safe.iter().next_back() <= queue.fact("last").unwrap().map(|n| number(&n)).as_ref(), "{context}");
        let mut whole = BTreeSet::new();
        for claim in all(&queue).await {
            assert_eq!(claim.content.load().unwrap(), body(claim.mail.id), "{context}");
            let n = claim.mail.id.as_u128();
            assert!(!self.done.contains(&n), "{context}: {n} was settled and is back");
            whole.insert(n);
            queue.settle(settlement(claim, vec![(0, delivered())])).await.unwrap();
        }
        let lost: Vec<_> = self.safe.difference(&self.asked).filter(|n| !whole.contains(n)).collect();
        assert!(lost.is_empty(), "{context}: {lost:?} are lost");
        // A mail whose body is not there was never answered.
        for held in queue.list(&Filter::default(), 100).await {
            assert!(!self.safe.contains(&held.mail.id.as_u128()), "{context}: {} is held", held.mail.id);
        }
        queue.close().await;
    }

    /// How many of those that were answered and not handed over are not there whole.
    pub(super) async fn lost(&self, dir: &Path) -> usize {
        let Ok((queue, _)) = Queue::open(dir, options(), NOW) else { return self.safe.len() };
        let claims = all(&queue).await;
        let whole: BTreeSet<_> =
            claims.iter().filter(|claim| claim.content.load().is_ok()).map(|claim| claim.mail.id.as_u128()).collect();
        self.safe.difference(&self.asked).filter(|n| !whole.contains(n)).count()
    }
}

async fn all(queue: &Queue) -> Vec<queue::Claim> {
    let far = NOW.plus(Duration::from_secs(1 << 40));
    queue.claim(&"a.example".parse().unwrap(), far, 10_000).await
}

/// False where the point is not passed so often.
async fn dies(point: FailPoint, passing: u32, faults: &str, before: Before) -> bool {
    let (dir, mut said) = (quick_dir(), Said::default());
    match before {
        Before::Nothing => {}
        Before::Death(plan) => assert!(said.listen(dir.path(), plan, 60), "{plan} is not reached"),
        Before::Damage => {
            assert!(said.listen(dir.path(), "answered:40", 60));
            let db = rusqlite::Connection::open(dir.path().join("queue.sqlite")).unwrap();
            let damaged = db.query_row("SELECT id FROM mail ORDER BY seq LIMIT 1", [], |row| row.get(0));
            said.safe.remove(&u128::from_be_bytes(damaged.unwrap()));
            db.execute("UPDATE mail SET expires = 7 WHERE seq = (SELECT min(seq) FROM mail)", []).unwrap();
        }
        Before::Format1 => super::old_formats::lay_out(dir.path()),
    }
    let plan = format!("{faults}{}{}:{passing}", if faults.is_empty() { "" } else { "," }, point.name());
    // Enough for the log to be due for a checkpoint.
    let mails = if point.name().starts_with("checkpoint") { 700 } else { 60 };
    let died = said.listen(dir.path(), &plan, mails);
    if matches!(before, Before::Format1) {
        super::old_formats::check(dir.path()).await;
    } else {
        said.check(dir.path(), &format!("{plan} after {before:?}")).await;
    }
    died
}

#[tokio::test]
async fn a_process_that_dies_at_any_fail_point_has_lost_nothing_that_it_answered() {
    let visited: Vec<FailPoint> = DEATHS.iter().map(|(point, _, _)| *point).collect();
    assert_eq!(visited, FailPoint::ALL, "each point, in its order");
    for (point, faults, before) in DEATHS {
        for passing in PASSINGS {
            let died = dies(*point, passing, faults, *before).await;
            assert!(died || passing > 1, "{} is not reached", point.name());
            if !died {
                break;
            }
        }
    }
}
