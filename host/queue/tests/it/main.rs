//! The queue on a real disk, through its public face.

// The helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod damage;
mod fail_points;
mod flipped;
mod kill;
mod old_formats;
mod power_loss;
mod restart;
mod trace;
mod volatile_disk;

use mail::{Content, Envelope, MailId, Recipient, Reply, Timestamp};
use queue::{Claim, Filter, InitialState, NewMail, Options, Queue, Recovered, Settled, Settlement};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn open(dir: &Path) -> (Queue, Recovered) {
    // Small segments, so that there are several.
    Queue::open(dir, Options { segment_size: 4096, ..Options::default() }, NOW).unwrap()
}

/// In memory where there is such a place: what a killed process wrote is there too, and nothing waits for a disk.
fn quick_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn id(n: u128) -> MailId {
    MailId::from_u128(n)
}

fn body(id: MailId) -> Content {
    Content::new(format!("Subject: {id}\r\n\r\n{}\r\n", "x".repeat(1000)).into())
}

fn new_mail(id: MailId, recipients: u32) -> NewMail {
    let recipient = |n: u32| Recipient::new(format!("r{n}@a.example").parse().unwrap());
    NewMail {
        id,
        domain: "a.example".parse().unwrap(),
        envelope: Envelope {
            sender: "sender@b.example".parse().unwrap(),
            recipients: (0..recipients).map(recipient).collect(),
            envid: Some("QQ314159".to_owned()),
            ..Envelope::default()
        },
        content: body(id),
        attributes: [("spam".to_owned(), "no".to_owned())].into(),
        received_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(5000)),
        state: InitialState::Queued,
    }
}

fn delivered() -> Settled {
    let next_hop = "mx.a.example:25".parse().unwrap();
    Settled::Delivered { reply: Reply::fixed(250, (2, 0, 0), "ok"), next_hop }
}

fn settlement(claim: Claim, outcomes: Vec<(u32, Settled)>) -> Settlement {
    Settlement::new(claim, outcomes)
}

async fn ids(queue: &Queue) -> BTreeSet<MailId> {
    queue.list(&Filter::default(), usize::MAX).await.into_iter().map(|listing| listing.mail.id).collect()
}

/// Enqueues `n` mails and gives their claims back.
async fn fill(queue: &Queue, n: u128) {
    for i in 1..=n {
        queue.unclaim(queue.enqueue(new_mail(id(i), 1)).await.unwrap());
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}
