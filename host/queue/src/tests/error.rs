//! One operation fails, and then the disk is fine again.

use super::script::{self, Book, Patience, delivered};
use super::{LATER, NOW, eventually, new_mail, options};
use crate::store::failing::{Failing, Kind};
use crate::store::memory::Memory;
use crate::{EnqueueError, Filter, Health, InitialState, Queue, Settlement};
use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

/// Every answer comes.
struct Always;

impl Patience for Always {
    async fn wait<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let limit = std::time::Duration::from_secs(30);
        Some(tokio::time::timeout(limit, future).await.expect("an answer within 30 s"))
    }
}

#[tokio::test]
async fn after_any_single_failure_the_queue_heals_and_ends_drained() {
    for kind in [Kind::Once, Kind::OnceAfter, Kind::FullOnce] {
        let mut n = 0;
        while fail_at(n, kind).await {
            n += 1;
        }
        assert!(n > 60, "the script has too few operations: {n}");
    }
}

async fn fail_at(n: u64, kind: Kind) -> bool {
    let memory = Memory::new(options().segment_size);
    let failing = Failing::new(memory.clone(), n, kind);
    let start = || Queue::start(Arc::new(failing.clone()), Path::new("memory"), options(), NOW);
    let queue = start().or_else(|_| start()).unwrap().0;
    let book = Book::default();
    script::run(&queue, &book, &Always).await;
    let was_hit = failing.was_hit();
    let context = format!("{kind:?} at {n}");
    eventually(&format!("{context}: healthy"), async || queue.health() == Health::Healthy).await;
    let handed_out = drain(&queue, &context).await;
    for recipient in book.accepted.borrow().iter() {
        let gone = book.done.borrow().contains(recipient) || book.unclear.borrow().contains(recipient);
        assert!(gone || handed_out.contains(recipient), "{context}: {recipient:?} is lost");
    }
    for (id, _) in &handed_out {
        assert!(!book.refused.borrow().contains(id), "{context}: {id} was refused and handed out");
    }
    for recipient in book.done.borrow().iter() {
        assert!(!handed_out.contains(recipient), "{context}: {recipient:?} was settled and handed out");
    }
    queue.close().await;
    assert_eq!(memory.mail_ids(), [], "{context}");
    was_hit
}

/// Delivers everything; says what was handed out.
async fn drain(queue: &Queue, context: &str) -> BTreeSet<(mail::MailId, u32)> {
    let mut handed_out = BTreeSet::new();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while queue.counts().mails > 0 {
        assert!(std::time::Instant::now() < deadline, "{context}: not drained");
        queue.release(&Filter::default()).await;
        for claim in queue.claim(&"a.example".parse().unwrap(), LATER, 7).await {
            handed_out.extend(claim.recipients.iter().map(|r| (claim.mail.id, r.index)));
            claim.content.load().unwrap_or_else(|error| panic!("{context}: {}: {error}", claim.mail.id));
            let outcomes = claim.recipients.iter().map(|r| (r.index, delivered())).collect();
            queue.settle(Settlement::new(claim, outcomes)).await.unwrap();
        }
    }
    handed_out
}

#[tokio::test]
async fn a_queue_that_was_full_is_healthy_again_though_nobody_writes() {
    let mut met = 0;
    for n in 0..20 {
        let failing = Failing::new(Memory::new(options().segment_size), n, Kind::FullOnce);
        let start = || Queue::start(Arc::new(failing.clone()), Path::new("memory"), options(), NOW);
        let queue = start().or_else(|_| start()).unwrap().0;
        if let Err(EnqueueError::Full) = queue.enqueue(new_mail(script::id(1), 1, InitialState::Queued)).await {
            met += 1;
        }
        eventually(&format!("full at {n}: healthy"), async || queue.health() == Health::Healthy).await;
        queue.close().await;
    }
    assert!(met >= 2, "a body and a commit may find no room: {met}");
}
