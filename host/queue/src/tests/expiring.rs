//! Which waiting mail is told to be near its end.

use super::{NOW, new_mail, options, script::id};
use crate::{Claim, Expiring, InitialState, Queue, Settled, Settlement};
use mail::{Domain, Failure, FailureKind, NextHop, Timestamp};
use std::time::Duration;

const SOON: Timestamp = NOW.plus(Duration::from_secs(100));

fn hop(name: &str) -> NextHop {
    format!("{name}.example:25").parse().unwrap()
}
fn domain() -> Domain {
    "a.example".parse().unwrap()
}

async fn claim(queue: &Queue, n: u128, lifetime: u64) -> Claim {
    let mail = new_mail(id(n), 1, InitialState::Queued);
    queue.enqueue(crate::NewMail { expires_at: NOW.plus(Duration::from_secs(lifetime)), ..mail }).await.unwrap()
}

async fn settle(queue: &Queue, claim: Claim, outcome: Settled) {
    let outcomes = vec![(0, outcome)];
    queue.settle(Settlement::new(claim, outcomes)).await.unwrap();
}

fn held(hop: &NextHop, until: Option<u64>) -> Settled {
    let until = until.map(|secs| NOW.plus(Duration::from_secs(secs)));
    Settled::Held { reason: "away".into(), waiting_for: Some(hop.clone()), until, failure: None }
}

#[tokio::test]
async fn waiting_mail_near_its_end_is_found_by_the_next_hop_that_it_waits_for() {
    let queue = Queue::open_in_memory(options(), NOW).unwrap();
    let (x, y) = (hop("x"), hop("y"));
    let failure = Failure::new(FailureKind::TempFail, Some(&y), "busy");
    for (n, lifetime, outcome) in [
        (1, 50, held(&x, None)),
        (2, 60, held(&x, None)),
        (3, 500, held(&x, None)),
        // Looked at again soon, but not near its end.
        (4, 500, held(&y, Some(10))),
        (5, 70, held(&y, Some(10))),
        (6, 80, Settled::Deferred { until: NOW.plus(Duration::from_secs(5)), failure, waiting_for: None }),
        // Until a person says so: it has no end.
        (7, 10, Settled::Held { reason: "look".into(), waiting_for: None, until: None, failure: None }),
    ] {
        let claim = claim(&queue, n, lifetime).await;
        settle(&queue, claim, outcome).await;
    }
    // In an attempt.
    let under_way = claim(&queue, 8, 10).await;
    let mut found = queue.expiring(&domain(), vec![], SOON).await;
    found.sort_by_key(|expiring| expiring.first);
    let expiring = |next_hop: Option<&NextHop>, recipients, secs| Expiring {
        next_hop: next_hop.cloned(),
        recipients,
        first: NOW.plus(Duration::from_secs(secs)),
    };
    assert_eq!(found, [expiring(Some(&x), 2, 50), expiring(Some(&y), 1, 70), expiring(None, 1, 80)]);
    assert_eq!(queue.expiring(&domain(), vec![Some(x.clone()), None], SOON).await, [expiring(Some(&y), 1, 70)]);
    assert_eq!(queue.expiring(&"b.example".parse().unwrap(), vec![], SOON).await, []);
    assert_eq!(queue.waiting(&x), [(domain(), 3)].into());
    drop(under_way);
}

#[tokio::test]
async fn of_very_many_that_expire_all_are_counted() {
    let queue = Queue::open_in_memory(options(), NOW).unwrap();
    for n in 1..=600 {
        let claim = claim(&queue, n, 50).await;
        settle(&queue, claim, held(&hop("x"), None)).await;
    }
    let found = queue.expiring(&domain(), vec![], SOON).await;
    let [Expiring { recipients: 600, first, .. }] = found[..] else { panic!("{found:?}") };
    assert_eq!(first, NOW.plus(Duration::from_secs(50)));
}
