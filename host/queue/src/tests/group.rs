//! Callers at the same time share commits, and a damaged body harms nobody else.

use super::script::delivered;
use super::{LATER, NOW, body, new_mail, options};
use crate::store::memory::Memory;
use crate::{Filter, InitialState, Queue, Settlement, State};
use mail::MailId;
use std::path::Path;
use std::sync::Arc;

fn start(memory: &Memory) -> Queue {
    Queue::start(Arc::new(memory.clone()), Path::new("memory"), options(), NOW).unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_at_once_share_commits() {
    let memory = Memory::new(1 << 20);
    let queue = start(&memory);
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let mail = new_mail(MailId::from_u128(n), 1, InitialState::Queued);
                let claim = queue.enqueue(mail).await.unwrap();
                let outcomes = vec![(0, delivered())];
                queue.settle(Settlement::new(claim, outcomes)).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(memory.commits() < 200, "{} commits for 200 mails and 200 outcomes", memory.commits());
    assert_eq!(memory.mail_ids(), []);
    assert_eq!(queue.counts(), crate::Counts::default());
}

#[tokio::test]
async fn a_mail_with_a_damaged_body_is_held_and_the_rest_delivered() {
    let memory = Memory::new(1 << 20);
    let queue = start(&memory);
    for n in 1..=3 {
        drop(queue.enqueue(new_mail(MailId::from_u128(n), 1, InitialState::Queued)).await.unwrap());
    }
    memory.forget_body(MailId::from_u128(2));
    let claims = queue.claim(&"a.example".parse().unwrap(), LATER, 10).await;
    assert_eq!(claims.len(), 3);
    for claim in claims {
        match claim.content.load() {
            Ok(content) => assert_eq!(content, body(claim.mail.id)),
            Err(_) => assert_eq!(claim.mail.id, MailId::from_u128(2)),
        }
    }
    let held = Filter { state: Some(State::Held), ..Filter::default() };
    super::eventually("held", async || queue.list(&held, 10).await.len() == 1).await;
    let listing = queue.list(&held, 10).await.remove(0);
    assert!(listing.recipients[0].reason.as_ref().unwrap().contains("damaged"));
    queue.close().await;

    let (queue, recovered) = Queue::start(Arc::new(memory), Path::new("memory"), options(), NOW).unwrap();
    assert_eq!((recovered.mails, recovered.set_aside), (3, 1));
    assert_eq!(queue.claim(&"a.example".parse().unwrap(), LATER, 10).await.len(), 2);
}

#[tokio::test]
async fn parts_of_a_claim_settle_apart_and_the_mail_ends_with_the_last() {
    let memory = Memory::new(1 << 20);
    let queue = start(&memory);
    let mut claim = queue.enqueue(new_mail(MailId::from_u128(1), 3, InitialState::Queued)).await.unwrap();
    let other = claim.split_off(|r| r.index == 1).unwrap();
    let settle = |claim: crate::Claim| {
        let outcomes = claim.recipients.iter().map(|r| (r.index, delivered())).collect();
        queue.settle(Settlement::new(claim, outcomes))
    };
    let (a, b) = tokio::join!(settle(claim), settle(other));
    a.unwrap();
    b.unwrap();
    assert_eq!(memory.mail_ids(), []);
}

#[tokio::test]
async fn a_recipient_without_an_outcome_is_due_again() {
    let queue = start(&Memory::new(1 << 20));
    let claim = queue.enqueue(new_mail(MailId::from_u128(1), 2, InitialState::Queued)).await.unwrap();
    assert_eq!(queue.next_due(), None);
    let outcomes = vec![(1, delivered()), (7, delivered())];
    queue.settle(Settlement::new(claim, outcomes)).await.unwrap();
    assert_eq!(queue.next_due(), Some(NOW));
    let claims = queue.claim(&"a.example".parse().unwrap(), NOW, 10).await;
    assert_eq!(claims[0].recipients.iter().map(|r| r.index).collect::<Vec<_>>(), [0]);
}

#[tokio::test]
async fn one_lasting_mail_does_not_keep_its_segment() {
    let memory = Memory::new(2000);
    let options =
        crate::Options { segment_size: 2000, move_interval: std::time::Duration::from_millis(1), ..options() };
    let queue = Queue::start(Arc::new(memory.clone()), Path::new("memory"), options, NOW).unwrap().0;
    let reason = "virus".to_owned();
    let lasting = MailId::from_u128(1);
    drop(queue.enqueue(new_mail(lasting, 1, InitialState::Quarantined { reason })).await.unwrap());
    for n in 2..100 {
        let claim = queue.enqueue(new_mail(MailId::from_u128(n), 1, InitialState::Queued)).await.unwrap();
        let outcomes = vec![(0, delivered())];
        queue.settle(Settlement::new(claim, outcomes)).await.unwrap();
    }
    super::eventually("the first segment is gone", async || !memory.has_segment(1)).await;
    assert_eq!(queue.release(&Filter::default()).await, 1);
    let claim = queue.claim(&"a.example".parse().unwrap(), NOW, 1).await.remove(0);
    assert_eq!(claim.content.load().unwrap(), body(lasting));
}
