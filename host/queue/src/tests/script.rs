//! A load that uses every kind of operation, and a book of what it was promised.

use super::{NOW, body, new_mail};
use crate::{Claim, EnqueueError, Filter, InitialState, Queue, Settled, Settlement, State};
use mail::{Failure, FailureKind, KvSpace, MailId, NextHop, Reply};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

/// What was answered.
#[derive(Default)]
pub(super) struct Book {
    pub(super) accepted: RefCell<BTreeSet<(MailId, u32)>>,
    pub(super) refused: RefCell<BTreeSet<MailId>>,
    /// Durably done.
    pub(super) done: RefCell<BTreeSet<(MailId, u32)>>,
    /// Done, or not: the answer never came.
    pub(super) unclear: RefCell<BTreeSet<(MailId, u32)>>,
    /// A recipient that failed, and its DSN: both or neither.
    pub(super) dsn: RefCell<Vec<((MailId, u32), MailId)>>,
    /// The plugin state that an accepted mail came after.
    pub(super) counter: RefCell<u64>,
}

/// What the script does when no answer can come any more.
pub(super) trait Patience {
    /// None when `future` will never end.
    async fn wait<T>(&self, future: impl Future<Output = T>) -> Option<T>;
}

pub(super) fn id(n: u128) -> MailId {
    MailId::from_u128(n)
}
pub(super) fn space() -> KvSpace {
    KvSpace { plugin: "p".into(), domain: "a.example".parse().unwrap() }
}
fn hop() -> NextHop {
    "mx.a.example:25".parse().unwrap()
}
pub(super) fn delivered() -> Settled {
    Settled::Delivered { reply: Reply::fixed(250, (2, 0, 0), "ok"), next_hop: hop() }
}
fn failure() -> Failure {
    Failure::new(FailureKind::Connect, Some(&hop()), "no route to host")
}
fn deferred() -> Settled {
    Settled::Deferred { until: NOW.plus(Duration::from_secs(500)), failure: failure(), waiting_for: Some(hop()) }
}
fn held() -> Settled {
    Settled::Held { reason: "away".into(), waiting_for: Some(hop()), until: None, failure: Some(failure()) }
}

/// Numbers below 100 are mails of the script, 200 and up their DSNs.
pub(super) async fn run(queue: &Queue, book: &Book, patience: &impl Patience) {
    let one = book.enqueue(queue, patience, 1, 1, InitialState::Queued).await;
    let three = book.enqueue(queue, patience, 2, 3, InitialState::Queued).await;
    book.settle(patience, queue, one, vec![delivered()], None).await;
    book.settle(patience, queue, three, vec![delivered(), deferred(), Settled::Failed(failure())], Some(200)).await;
    book.enqueue(queue, patience, 3, 1, InitialState::Held { reason: "person".into() }).await;
    book.enqueue(queue, patience, 4, 2, InitialState::Quarantined { reason: "virus".into() }).await;
    let many = book.enqueue_together(queue, patience, 10..16).await;
    for (n, claim) in many.into_iter().enumerate() {
        let outcome = if n % 2 == 0 { held() } else { delivered() };
        book.settle(patience, queue, Some(claim), vec![outcome], None).await;
    }
    let dropped = book.enqueue(queue, patience, 20, 1, InitialState::Queued).await;
    drop(dropped);
    queue.wake(&hop(), NOW, |_| true);
    let claims = patience.wait(queue.claim(&"a.example".parse().unwrap(), NOW, 2)).await.unwrap_or_default();
    for claim in claims {
        book.settle(patience, queue, Some(claim), vec![delivered()], None).await;
    }
    let quarantined = Filter { state: Some(State::Quarantined), ..Filter::default() };
    let ends: Vec<_> = [0, 1].map(|i| (id(4), i)).into();
    match patience.wait(queue.remove(&quarantined)).await {
        Some(2) => book.done.borrow_mut().extend(ends),
        _ => book.unclear.borrow_mut().extend(ends),
    }
    patience.wait(queue.release(&Filter { id: Some(id(3)), ..Filter::default() })).await;
    book.enqueue(queue, patience, 21, 1, InitialState::Queued).await;
}

impl Book {
    async fn enqueue(
        &self,
        queue: &Queue,
        patience: &impl Patience,
        n: u128,
        recipients: u32,
        state: InitialState,
    ) -> Option<Claim> {
        let counter = queue.kv().increment(&space(), "n", 1, None).ok();
        let answer = patience.wait(queue.enqueue(new_mail(id(n), recipients, state))).await;
        if answer.as_ref().is_some_and(Result::is_ok) {
            *self.counter.borrow_mut() = counter.unwrap_or_default() as u64;
        }
        self.note(n, recipients, answer)
    }

    async fn enqueue_together(&self, queue: &Queue, patience: &impl Patience, ns: std::ops::Range<u128>) -> Vec<Claim> {
        let spawn = |n| {
            let queue = queue.clone();
            (n, tokio::spawn(async move { queue.enqueue(new_mail(id(n), 1, InitialState::Queued)).await }))
        };
        let tasks: Vec<_> = ns.map(spawn).collect();
        let mut claims = Vec::new();
        for (n, task) in tasks {
            let answer = patience.wait(task).await.map(Result::unwrap);
            claims.extend(self.note(n, 1, answer));
        }
        claims
    }

    fn note(&self, n: u128, recipients: u32, answer: Option<Result<Claim, EnqueueError>>) -> Option<Claim> {
        match answer? {
            Ok(claim) => {
                assert_eq!(claim.content.load().unwrap(), body(id(n)));
                self.accepted.borrow_mut().extend((0..recipients).map(|i| (id(n), i)));
                Some(claim)
            }
            Err(_) => {
                self.refused.borrow_mut().insert(id(n));
                None
            }
        }
    }

    async fn settle(
        &self,
        patience: &impl Patience,
        queue: &Queue,
        claim: Option<Claim>,
        outcomes: Vec<Settled>,
        dsn: Option<u128>,
    ) {
        let Some(claim) = claim else { return };
        let mail = claim.mail.id;
        let indexes: Vec<u32> = claim.recipients.iter().map(|r| r.index).collect();
        let outcomes: Vec<_> = indexes.into_iter().zip(outcomes).collect();
        let ends = |o: &Settled| matches!(o, Settled::Delivered { .. } | Settled::Failed(_) | Settled::Discarded);
        let ended: Vec<_> = outcomes.iter().filter(|(_, o)| ends(o)).map(|(i, _)| (mail, *i)).collect();
        if let Some((failed, dsn)) = ended.last().zip(dsn) {
            self.dsn.borrow_mut().push((*failed, id(dsn)));
        }
        let new = dsn.map(|dsn| new_mail(id(dsn), 1, InitialState::Queued));
        let settlement = Settlement { dsn: new, ..Settlement::new(claim, outcomes) };
        match patience.wait(queue.settle(settlement)).await {
            Some(Ok(_)) => {
                self.done.borrow_mut().extend(ended);
                self.accepted.borrow_mut().extend(dsn.map(|dsn| (id(dsn), 0)));
            }
            Some(Err(_)) | None => self.unclear.borrow_mut().extend(ended),
        }
    }
}
