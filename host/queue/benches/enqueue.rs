//! Mails that become durable and are settled as delivered, by 1, 20 and 200 writers at once, on the disk
//! that holds the build, or in the directory that `QUEUE_BENCH_DIR` names.

// A bench that cannot be set up has nothing to measure.
#![allow(clippy::expect_used)]

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use mail::{Content, Envelope, MailId, Recipient, Reply, Timestamp};
use queue::{InitialState, NewMail, Options, Queue, Settled, Settlement};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MAILS: u64 = 10_000;

fn main() {
    divan::main();
}

#[divan::bench(args = [1, 20, 200], sample_count = 5, sample_size = 1)]
fn enqueue_and_settle_4_kib(bencher: Bencher<'_, '_>, writers: u64) {
    run(bencher, writers, 4 << 10, if writers == 1 { MAILS / 10 } else { MAILS });
}

#[divan::bench(args = [20], sample_count = 5, sample_size = 1)]
fn enqueue_and_settle_64_kib(bencher: Bencher<'_, '_>, writers: u64) {
    run(bencher, writers, 64 << 10, MAILS / 5);
}

fn run(bencher: Bencher<'_, '_>, writers: u64, size: usize, mails: u64) {
    // Where the build is, not /tmp, which may be memory.
    let parent = std::env::var("QUEUE_BENCH_DIR").unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").to_owned());
    let dir = tempfile::tempdir_in(Path::new(&parent)).expect("a directory for the queue");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (queue, _) = Queue::open(dir.path(), Options::default(), Timestamp::from_secs(1)).expect("a new queue");
    let content = Content::new(Bytes::from([&b"Subject: x\r\n\r\n"[..], &vec![b'x'; size]].concat()));
    bencher.counter(ItemsCount::new(mails)).bench(|| {
        let next = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> =
            (0..writers).map(|_| runtime.spawn(write(queue.clone(), content.clone(), next.clone(), mails))).collect();
        runtime.block_on(async {
            for task in tasks {
                task.await.expect("a writer");
            }
        });
    });
    runtime.block_on(queue.close());
}

async fn write(queue: Queue, content: Content, next: Arc<AtomicU64>, mails: u64) {
    let next_hop: mail::NextHop = "mx.example.org:25".parse().expect("a next hop");
    while next.fetch_add(1, Ordering::Relaxed) < mails {
        let claim = queue.enqueue(new_mail(content.clone())).await.expect("a healthy disk");
        let reply = Reply::fixed(250, (2, 0, 0), "ok");
        let outcomes = vec![(0, Settled::Delivered { reply, next_hop: next_hop.clone() })];
        let settlement = Settlement::new(claim, outcomes);
        queue.settle(settlement).await.expect("a healthy disk");
    }
}

fn new_mail(content: Content) -> NewMail {
    let now = Timestamp::from_system(std::time::SystemTime::now());
    let recipient = "ann@example.org".parse().expect("an address");
    NewMail {
        id: MailId::new(now, fastrand::u128(..)),
        domain: "example.org".parse().expect("a domain"),
        envelope: Envelope {
            sender: "sender@example.com".parse().expect("an address"),
            recipients: vec![Recipient::new(recipient)],
            ..Envelope::default()
        },
        content,
        attributes: Default::default(),
        received_at: now,
        expires_at: now.plus(std::time::Duration::from_secs(86400)),
        state: InitialState::Queued,
    }
}
