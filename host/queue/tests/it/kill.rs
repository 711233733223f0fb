//! A real process, killed with SIGKILL while it writes.

use super::{id, ids, new_mail, open};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const DIR: &str = "QUEUE_KILL_TEST_DIR";

/// Not a test by itself: what the killed process runs. It says each mail that is safe, and never ends.
#[tokio::test]
async fn child_that_writes() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let (queue, _) = open(dir.as_ref());
    let next = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(1));
    let writers = (0..8).map(|_| {
        let (queue, next) = (queue.clone(), next.clone());
        tokio::spawn(async move {
            while next.load(std::sync::atomic::Ordering::Relaxed) < u64::MAX {
                let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed).into();
                drop(queue.enqueue(new_mail(id(n), 1)).await.unwrap());
                println!("\nsafe {n}");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn a_killed_process_has_lost_nothing_that_it_said_was_safe() {
    for lines in [1, 7, 60] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child_that_writes", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let said = output.lines().map_while(Result::ok).filter_map(|line| line.strip_prefix("safe ")?.parse().ok());
        let safe: BTreeSet<_> = said.take(lines).map(id).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        let (queue, recovered) = open(dir.path());
        assert_eq!((safe.len(), recovered.set_aside), (lines, 0));
        assert!(ids(&queue).await.is_superset(&safe));
    }
}
