//! The power goes after any system call of a real process: everything that it had answered is there, whole, and nothing
//! that it had settled is back. The same disk loses mail where any one kind of sync is left out.

use super::fail_points::Said;
use super::quick_dir;
use super::trace::{self, Event};
use super::volatile_disk::{Unsynced, VolatileDisk};
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// Enough for several segments, for moves between them, and for a checkpoint at the end.
const MAILS: u32 = 40;

struct Recorded {
    dir: tempfile::TempDir,
    events: Vec<Event>,
}

fn record(faults: &str) -> Recorded {
    let (dir, logs) = (quick_dir(), quick_dir());
    // Not recorded: eight megabytes of nothing.
    fs::write(dir.path().join("ballast"), "").unwrap();
    let log = logs.path().join("log");
    let mut command = trace::traced(&std::env::current_exe().unwrap(), &log);
    super::fail_points::child(&mut command, dir.path(), faults, MAILS).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().expect("strace: `cargo xtask setup` installs it");
    assert!(status.success(), "{status}");
    let events = trace::read(&fs::read_to_string(log).unwrap(), dir.path());
    Recorded { dir, events }
}

impl Recorded {
    /// Cuts the power at every `step`-th event, and hands over what is found and what had been said.
    fn cuts(
        &self,
        step: usize,
        honest: impl Fn(&Path) -> bool,
    ) -> impl Iterator<Item = (tempfile::TempDir, Said, String)> {
        let (mut disk, mut said) = (VolatileDisk::default(), Said::default());
        let root = self.dir.path();
        self.events.iter().enumerate().flat_map(move |(now, event)| {
            match event {
                Event::Said(text) => text.lines().for_each(|line| said.hear(line)),
                Event::Synced { path, .. } if !honest(path) => {}
                event => disk.apply(now, event),
            }
            let kinds = [Unsynced::Gone, Unsynced::There, Unsynced::InPart(now as u64), Unsynced::InPart(!now as u64)];
            // All kinds come by in turn.
            let kind = kinds[now / step % kinds.len()];
            now.is_multiple_of(step).then(|| {
                let found = quick_dir();
                disk.after_power_loss(kind, root, found.path());
                fs::write(found.path().join("ballast"), "").unwrap();
                (found, said.clone(), format!("event {now}, {kind:?}: {}", name(event)))
            })
        })
    }
}

fn name(event: &Event) -> String {
    match event {
        Event::Write { path, at, bytes } => format!("{} bytes to {} at {at}", bytes.len(), path.display()),
        other => format!("{other:?}"),
    }
}

async fn nothing_is_lost(recorded: &Recorded) {
    let mut cuts = 0;
    for (found, said, context) in recorded.cuts(1, |_| true) {
        said.check(found.path(), &context).await;
        assert!(!found.path().join("set-aside-1").exists(), "{context}: taken for damage");
        cuts += 1;
    }
    assert!(cuts > 500, "the process did too little: {cuts} events");
}

#[tokio::test]
async fn power_that_goes_after_any_call_loses_nothing_that_was_answered() {
    nothing_is_lost(&record("")).await;
}

#[tokio::test]
async fn power_that_goes_while_a_failed_sync_is_recovered_from_loses_nothing_that_was_answered() {
    nothing_is_lost(&record("segment-synced:9=eio,committing:40=eio")).await;
}

#[tokio::test]
async fn a_queue_that_leaves_out_any_one_sync_loses_mail_in_this_test() {
    let recorded = record("");
    let root = recorded.dir.path();
    type OfPath<'a> = &'a dyn Fn(&Path) -> bool;
    let left_out: [(&str, OfPath<'_>); 4] = [
        ("of segments", &|path| path.extension().is_some_and(|end| end == "seg")),
        ("of the database and its log", &|path| path.to_string_lossy().contains("queue.sqlite")),
        ("of the segments' names", &|path| path.ends_with("segments")),
        ("of the names in the directory", &|path| path == root),
    ];
    for (which, is_left_out) in left_out {
        let mut lost = false;
        for (found, said, _) in recorded.cuts(4, |path| !is_left_out(path)) {
            lost |= said.lost(found.path()).await > 0;
            if lost {
                break;
            }
        }
        assert!(lost, "without the sync {which} nothing is lost: this test finds nothing");
    }
}
