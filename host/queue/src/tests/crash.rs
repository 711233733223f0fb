//! The process or the power goes at operation n, for every n.

use super::script::{self, Book, Patience};
use super::{LATER, NOW, body, options, present};
use crate::store::failing::{Failing, Kind};
use crate::store::memory::Memory;
use crate::{Filter, Queue};
use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

/// After the crash nothing is answered any more.
struct UntilCrash(Failing<Memory>);

impl Patience for UntilCrash {
    async fn wait<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let crashed = async {
            while !self.0.was_hit() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            answer = &mut future => Some(answer),
            () = crashed => None,
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_operation_loses_nothing_that_was_answered() {
    for kind in [Kind::Crash, Kind::CrashAfter] {
        for power_loss in [false, true] {
            let mut n = 0;
            while crash_at(n, kind, power_loss).await {
                n += 1;
            }
            assert!(n > 60, "the script has too few operations: {n}");
        }
    }
}

/// False when the script ended before operation `n`.
async fn crash_at(n: u64, kind: Kind, power_loss: bool) -> bool {
    let memory = Memory::new(options().segment_size);
    let failing = Failing::new(memory.clone(), n, kind);
    let book = Book::default();
    let was_hit = match Queue::start(Arc::new(failing.clone()), Path::new("memory"), options(), NOW) {
        Err(_) => true,
        Ok((queue, _)) => {
            script::run(&queue, &book, &UntilCrash(failing.clone())).await;
            failing.was_hit()
        }
    };
    if power_loss {
        memory.power_loss();
    }
    let context = format!("{kind:?} at {n}, power loss {power_loss}");
    let (queue, _) = Queue::start(Arc::new(memory.clone()), Path::new("memory"), options(), NOW).unwrap();
    check(&queue, &book, &context).await;
    queue.close().await;
    was_hit
}

async fn check(queue: &Queue, book: &Book, context: &str) {
    let present: BTreeSet<_> = present(queue).await.into_iter().collect();
    let (done, unclear) = (book.done.borrow().clone(), book.unclear.borrow().clone());
    let accepted = book.accepted.borrow().clone();
    for recipient in &accepted {
        let may_be_gone = done.contains(recipient) || unclear.contains(recipient);
        assert!(may_be_gone || present.contains(recipient), "{context}: {recipient:?} is lost");
    }
    for recipient in &done {
        assert!(!present.contains(recipient), "{context}: {recipient:?} was settled and is back");
    }
    for (failed, dsn) in book.dsn.borrow().iter() {
        let dsn = (*dsn, 0);
        let dsn_is_there = present.contains(&dsn) || done.contains(&dsn) || unclear.contains(&dsn);
        let failed_is_there = present.contains(failed);
        assert!(failed_is_there != dsn_is_there, "{context}: a failure without its DSN, or a DSN too many");
    }
    let counter = queue.kv().get(&script::space(), "n").unwrap();
    let counter = counter.map_or(0, |n| std::str::from_utf8(&n).unwrap().parse::<u64>().unwrap());
    assert!(counter >= *book.counter.borrow(), "{context}: plugin state is older than a mail that came after it");
    queue.release(&Filter::default()).await;
    // A DSN stands for a recipient that is gone: it is whole, whether somebody heard of it or not.
    let dsns = book.dsn.borrow().iter().map(|(_, dsn)| *dsn).collect::<Vec<_>>();
    let mails: BTreeSet<_> = accepted.iter().map(|(id, _)| *id).chain(dsns).collect();
    for claim in queue.claim(&"a.example".parse().unwrap(), LATER, 1000).await {
        if mails.contains(&claim.mail.id) {
            let id = claim.mail.id;
            assert_eq!(claim.content.load().unwrap(), body(id), "{context}: {id}");
            assert_eq!(claim.mail.attributes.get("seen"), Some(&id.to_string()));
        }
    }
}
