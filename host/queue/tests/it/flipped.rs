//! Every file of a small queue with wrong bits, wrong sectors and missing ends: it starts, what is not touched is
//! delivered, and what is not delivered is still there to look at.

use super::{NOW, body, copy_dir, delivered, id, new_mail, quick_dir, settlement};
use queue::{Filter, OpenError, Options, Queue, State};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MAILS: u128 = 30;
/// Of mails: what one wrong bit may cost. A page of the database holds about a dozen.
const NEIGHBOURS: usize = 16;

fn open(dir: &Path) -> Result<(Queue, queue::Recovered), OpenError> {
    Queue::open(dir, Options { segment_size: 16 << 10, ..Options::default() }, NOW)
}

/// With rows, facts and gone mails; `closed`, or as a kill leaves it.
async fn spool(closed: bool) -> tempfile::TempDir {
    let (live, copy) = (quick_dir(), quick_dir());
    let (queue, _) = open(live.path()).unwrap();
    for n in 1..=MAILS {
        queue.unclaim(queue.enqueue(new_mail(id(n), 2)).await.unwrap());
        queue.set_fact(&format!("fact {n}"), Some(&[7; 100])).unwrap();
    }
    for n in 101..=110 {
        let claim = queue.enqueue(new_mail(id(n), 1)).await.unwrap();
        queue.settle(settlement(claim, vec![(0, delivered())])).await.unwrap();
    }
    // A third has rows.
    for n in (3..=MAILS).step_by(3) {
        let filter = Filter { id: Some(id(n)), ..Filter::default() };
        assert_eq!(queue.hold(&filter, "for a while").await, 2);
    }
    queue.facts_written().await;
    if closed {
        queue.clone().close().await;
    }
    copy_dir(live.path(), copy.path());
    // Before its directory goes.
    queue.close().await;
    // Eight megabytes of nothing would only be copied.
    fs::remove_file(copy.path().join("ballast")).unwrap();
    copy
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let segments = fs::read_dir(dir.join("segments")).unwrap().map(|entry| entry.unwrap().path());
    let names = ["queue.sqlite", "queue.sqlite-wal", "queue.sqlite-shm", "lock"].map(|name| dir.join(name));
    let mut files: Vec<_> = names.into_iter().chain(segments).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// What was found of the mails.
struct Found {
    whole: BTreeSet<u128>,
    held: usize,
    set_aside: Option<PathBuf>,
}

/// `earlier`: as it was before, what has gone since included.
async fn look(dir: &Path, context: &str, earlier: bool) -> Option<Found> {
    let (queue, recovered) = match open(dir) {
        Ok(opened) => opened,
        // A wrong number may look like one of a later version.
        Err(OpenError::Newer { .. }) => return None,
        Err(error) => panic!("{context}: {error}"),
    };
    for filter in [State::Held, State::Queued].map(|state| Filter { state: Some(state), ..Filter::default() }) {
        let reason =
            |listing: &queue::Listing| listing.recipients.iter().any(|r| r.reason.as_deref() == Some("for a while"));
        for listing in queue.list(&filter, 1000).await.iter().filter(|listing| reason(listing)) {
            queue.release(&Filter { id: Some(listing.mail.id), ..Filter::default() }).await;
        }
    }
    let (mut whole, far) = (BTreeSet::new(), NOW.plus(Duration::from_secs(1 << 40)));
    for claim in queue.claim(&"a.example".parse().unwrap(), far, 1000).await {
        if let Ok(content) = claim.content.load() {
            assert_eq!(content, body(claim.mail.id), "{context}");
            if claim.mail.id > id(MAILS) {
                assert!(earlier, "{context}: what was settled is back");
                continue;
            }
            assert_eq!(claim.mail.envelope, new_mail(claim.mail.id, 2).envelope, "{context}");
            whole.insert(claim.mail.id.as_u128());
        }
    }
    let set_aside = recovered.set_aside_store;
    let held = async || queue.list(&Filter { state: Some(State::Held), ..Filter::default() }, 1000).await.len();
    // What turned out damaged when it was read is held by the next group.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while set_aside.is_none() && held().await + whole.len() < MAILS as usize && std::time::Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    let held = held().await;
    queue.close().await;
    Some(Found { whole, held, set_aside })
}

/// Everywhere under `dir`, the second names included.
fn all_bytes(dir: &Path, into: &mut Vec<u8>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => all_bytes(&entry.path(), into),
            false if entry.file_name() == "ballast" => {}
            false => into.extend(fs::read(entry.path()).unwrap()),
        }
    }
}

async fn check(dir: &Path, context: &str, cost: usize) {
    let earlier = context.contains("-wal");
    let limit = Duration::from_secs(20);
    let found = tokio::time::timeout(limit, look(dir, context, earlier)).await;
    let Some(found) = found.unwrap_or_else(|_| panic!("{context}: it does not heal")) else { return };
    let missing = MAILS as usize - found.whole.len();
    assert!(missing <= cost, "{context}: {missing} are not delivered, {} of them held", found.held);
    if missing > found.held {
        assert!(found.set_aside.is_some(), "{context}: {missing} vanished without a trace");
        let mut kept = Vec::new();
        all_bytes(dir, &mut kept);
        for n in (1..=MAILS).filter(|n| !found.whole.contains(n)) {
            let subject = format!("Subject: {}\r\n", id(n));
            assert!(
                kept.windows(subject.len()).any(|window| window == subject.as_bytes()),
                "{context}: {n} was deleted"
            );
        }
    }
}

async fn sweep(closed: bool) {
    let spool = spool(closed).await;
    let mut random = fastrand::Rng::with_seed(20_260_101);
    for file in files(spool.path()) {
        let name = file.strip_prefix(spool.path()).unwrap();
        let good = fs::read(&file).unwrap();
        // The first bytes say what the file is; of the rest some.
        let places: Vec<usize> = (0..good.len().min(100)).step_by(9).collect();
        let some: Vec<usize> = (0..14).map(|_| random.usize(0..good.len().max(1))).collect();
        for at in places.into_iter().chain(some).filter(|at| *at < good.len()) {
            let copy = quick_dir();
            copy_dir(spool.path(), copy.path());
            let mut bad = good.clone();
            bad[at] ^= 1 << random.u8(0..8);
            fs::write(copy.path().join(name), bad).unwrap();
            // From a wrong log nothing later than the wrong place can be told from what was never finished.
            // The first page of the database says where the others are.
            let of_all = name.ends_with("queue.sqlite-wal") || (name.ends_with("queue.sqlite") && at < 4096);
            let cost = if of_all { MAILS as usize } else { NEIGHBOURS };
            check(copy.path(), &format!("{}, closed {closed}, bit in byte {at}", name.display()), cost).await;
        }
        for sector in (0..good.len()).step_by(512).filter(|_| random.u8(0..8) == 0) {
            let copy = quick_dir();
            copy_dir(spool.path(), copy.path());
            let mut bad = good.clone();
            let end = (sector + 512).min(bad.len());
            bad[sector..end].fill(0);
            fs::write(copy.path().join(name), bad).unwrap();
            let context = format!("{}, closed {closed}, no sector {sector}", name.display());
            check(copy.path(), &context, MAILS as usize).await;
        }
    }
}

#[tokio::test]
async fn a_closed_queue_with_any_wrong_bit_starts_and_nothing_vanishes() {
    sweep(true).await;
}

#[tokio::test]
async fn a_killed_queue_with_any_wrong_bit_starts_and_nothing_vanishes() {
    sweep(false).await;
}

#[tokio::test]
async fn a_file_that_was_cut_costs_no_more_than_what_it_held() {
    for closed in [true, false] {
        let spool = spool(closed).await;
        for file in files(spool.path()) {
            let name = file.strip_prefix(spool.path()).unwrap();
            let length = fs::metadata(&file).unwrap().len();
            for keep in [0, 1, 99, length / 3, length / 2, length.saturating_sub(1)] {
                let copy = quick_dir();
                copy_dir(spool.path(), copy.path());
                fs::OpenOptions::new().write(true).open(copy.path().join(name)).unwrap().set_len(keep).unwrap();
                let context = format!("{}, closed {closed}, cut to {keep}", name.display());
                // A cut log is what a power failure leaves; the rest of the queue is as it was then.
                match name.ends_with("queue.sqlite-wal") {
                    true => drop(look(copy.path(), &context, true).await.unwrap()),
                    false => check(copy.path(), &context, MAILS as usize).await,
                }
            }
        }
    }
}
