//! What the whole crate promises, over media that fail at every single operation.

mod crash;
mod error;
mod expiring;
mod group;
mod script;

use crate::{Filter, InitialState, NewMail, Options, Queue};
use mail::{Content, Envelope, MailId, Recipient, Timestamp};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The clock of all these tests stands still.
const NOW: Timestamp = Timestamp::from_secs(1_000_000);
/// Everything that will ever be due is due.
const LATER: Timestamp = Timestamp::from_secs(9_000_000);

fn options() -> Options {
    Options {
        // Nearly every mail begins a new one.
        segment_size: 60,
        settle_delay: Duration::from_micros(200),
        kv_delay: Duration::from_millis(1),
        reopen_interval: Duration::from_micros(500),
        give_back_delay: Duration::ZERO,
        clock: Arc::new(|| NOW),
        ..Options::default()
    }
}

fn body(id: MailId) -> Content {
    Content::new(format!("Subject: {id}\r\n\r\nbody of {id}\r\n").into())
}

fn new_mail(id: MailId, recipients: u32, state: InitialState) -> NewMail {
    let recipient = |n: u32| Recipient::new(format!("r{n}@a.example").parse().unwrap());
    NewMail {
        id,
        domain: "a.example".parse().unwrap(),
        envelope: Envelope { recipients: (0..recipients).map(recipient).collect(), ..Envelope::default() },
        content: body(id),
        attributes: [("seen".to_owned(), id.to_string())].into(),
        received_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(1000)),
        state,
    }
}

/// Tries until `condition` says yes.
async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        tokio::task::yield_now().await;
    }
}

/// Mails and recipients that the queue still has.
async fn present(queue: &Queue) -> Vec<(MailId, u32)> {
    let listings = queue.list(&Filter::default(), usize::MAX).await;
    listings.iter().flat_map(|l| l.recipients.iter().map(|r| (l.mail.id, r.index))).collect()
}
