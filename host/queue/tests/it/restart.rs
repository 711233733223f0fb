//! What a restart finds.

use super::{NOW, body, delivered, fill, id, ids, new_mail, open, settlement};
use mail::{Failure, FailureKind, KvSpace, MailId, NextHop, Timestamp};
use queue::{Counts, Filter, OpenError, Options, Queue, Round, Settled, Settlement, State};
use std::time::Duration;

fn hop() -> NextHop {
    "mx.a.example:25".parse().unwrap()
}

#[tokio::test]
async fn a_restart_finds_every_recipient_as_it_was_settled() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, _) = open(dir.path());
    let claim = queue.enqueue(new_mail(id(1), 4)).await.unwrap();
    let failure = Failure::new(FailureKind::Connect, Some(&hop()), "no route to host");
    let until = NOW.plus(Duration::from_secs(60));
    let outcomes = vec![
        (0, delivered()),
        (1, Settled::Deferred { until, failure: failure.clone(), waiting_for: Some(hop()) }),
        (2, Settled::Held { reason: "look".into(), waiting_for: None, until: None, failure: None }),
        (3, Settled::Rewritten { to: "new@a.example".parse().unwrap() }),
    ];
    let attributes = Some([("spam".to_owned(), "maybe".to_owned())].into());
    let dsn = Some(new_mail(id(2), 1));
    let dsn = queue.settle(Settlement { dsn, attributes, ..Settlement::new(claim, outcomes) }).await.unwrap().unwrap();
    assert_eq!(dsn.mail.id, id(2));
    queue.settle(settlement(dsn, vec![(0, delivered())])).await.unwrap();
    let space = KvSpace { plugin: "p".into(), domain: "a.example".parse().unwrap() };
    queue.kv().set(&space, "k", b"v", None).unwrap();
    queue.set_fact("proven mx.a.example:25", Some(b"yes")).unwrap();
    queue.close().await;

    let (queue, recovered) = open(dir.path());
    assert_eq!(queue.facts("proven ").unwrap(), [("proven mx.a.example:25".to_owned(), b"yes"[..].into())]);
    assert_eq!((recovered.mails, recovered.recipients, recovered.set_aside), (1, 3, 0));
    let counts = queue.counts();
    assert_eq!((counts.queued, counts.deferred, counts.held, counts.mails), (1, 1, 1, 1));
    assert_eq!(queue.kv().get(&space, "k").unwrap().unwrap(), &b"v"[..]);
    assert_eq!(queue.fact("proven mx.a.example:25").unwrap().unwrap(), &b"yes"[..]);
    let far = Timestamp::from_secs(u32::MAX.into());
    let claim = queue.claim(&"a.example".parse().unwrap(), far, 10).await.remove(0);
    assert_eq!(claim.content.load().unwrap(), body(id(1)));
    assert_eq!(claim.mail.attributes["spam"], "maybe");
    assert_eq!(claim.mail.envelope.envid.as_deref(), Some("QQ314159"));
    let [deferred, rewritten] = [1, 3].map(|i| claim.recipients.iter().find(|r| r.index == i).unwrap());
    assert_eq!((deferred.attempts, deferred.waiting_for.as_ref()), (1, Some(&hop())));
    assert_eq!(deferred.last_failure.as_ref(), Some(&failure));
    assert!(deferred.offline_since.is_some());
    assert_eq!(rewritten.recipient.address.as_str(), "new@a.example");
    assert_eq!(claim.recipients.len(), 2);
}

#[tokio::test]
async fn what_a_returned_next_hop_woke_waits_for_it_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, _) = open(dir.path());
    for n in 1..=2 {
        let claim = queue.enqueue(new_mail(id(n), 1)).await.unwrap();
        let waiting_for = Some(hop());
        let outcome = Settled::Held { reason: "away".into(), waiting_for, until: None, failure: None };
        queue.settle(settlement(claim, vec![(0, outcome)])).await.unwrap();
    }
    assert_eq!(queue.next_due(), Some(new_mail(id(1), 1).expires_at), "due at the latest when it expires");
    assert_eq!(queue.wake(&hop(), NOW, |_| true), 2);
    assert_eq!(queue.due_domains(NOW).len(), 1);
    let listed = queue.list(&Filter::default(), 1).await.remove(0).recipients.remove(0);
    assert_eq!((listed.state, listed.reason), (State::Queued, None));
    queue.close().await;
    let (queue, _) = open(dir.path());
    assert_eq!(queue.due_domains(NOW).len(), 0);
    assert_eq!((queue.awaited(), queue.waiting_domains(&hop()).len()), (vec![hop()], 1));
    let mut round = Round::default();
    assert!(queue.wake_one(&hop(), &mut round, NOW, |_| true));
    assert_eq!(queue.claim(&"a.example".parse().unwrap(), NOW, 10).await.len(), 1);
    assert!(queue.wake_one(&hop(), &mut round, NOW, |_| true) && !queue.wake_one(&hop(), &mut round, NOW, |_| true));
    assert_eq!(queue.claim(&"a.example".parse().unwrap(), NOW, 10).await.len(), 1);
}

#[tokio::test]
async fn a_clock_that_was_set_back_between_two_starts_delays_nothing_by_as_much() {
    let dir = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(86_400);
    let (queue, _) = open(dir.path());
    for (n, arrived) in [(1, NOW), (2, NOW.plus(day))] {
        let claim = queue.enqueue(new_mail(MailId::new(arrived, n), 1)).await.unwrap();
        let until = NOW.plus(Duration::from_secs(60));
        let failure = Failure::new(FailureKind::Connect, Some(&hop()), "not now");
        let outcome = Settled::Deferred { until, failure, waiting_for: None };
        queue.settle(settlement(claim, vec![(0, outcome)])).await.unwrap();
    }
    queue.close().await;
    let (queue, _) = open(dir.path());
    let due = queue.claim(&"a.example".parse().unwrap(), NOW, 10).await;
    assert_eq!(due.len(), 1, "the mail that comes from the future, and it alone");
    assert_eq!(due[0].mail.id, MailId::new(NOW.plus(day), 2));
}

#[tokio::test]
async fn a_person_can_hold_release_and_remove_by_what_they_know() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, _) = open(dir.path());
    fill(&queue, 5).await;
    let by_id = |n| Filter { id: Some(id(n)), ..Filter::default() };
    let by_state = |state| Filter { state: Some(state), ..Filter::default() };
    assert_eq!(queue.hold(&by_id(1), "look at it").await, 1);
    assert_eq!(queue.hold(&by_id(2), "look at it").await, 1);
    let claim = queue.claim(&"a.example".parse().unwrap(), NOW.plus(Duration::from_secs(1 << 40)), 1).await.remove(0);
    assert_eq!(queue.list(&by_state(State::Claimed), 10).await.len(), 1);
    let all_but_claimed = Filter { sender: Some("@B.example".into()), ..by_state(State::Queued) };
    assert_eq!(queue.remove(&all_but_claimed).await, 2);
    queue.unclaim(claim);
    let listed = queue.list(&by_state(State::Held), 10).await;
    assert_eq!(listed[0].recipients[0].reason.as_deref(), Some("look at it"));
    assert_eq!(queue.release(&by_id(1)).await, 1);
    assert_eq!(queue.release(&Filter { sender: Some("<>".into()), ..Filter::default() }).await, 0);
    queue.close().await;
    let (queue, _) = open(dir.path());
    let counts = queue.counts();
    assert_eq!((counts.queued, counts.held), (2, 1));
    assert_eq!(queue.remove(&Filter::default()).await, 3);
    assert_eq!(queue.counts(), Counts::default());
}

#[tokio::test]
async fn segments_go_when_their_mails_are_done() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, _) = open(dir.path());
    fill(&queue, 20).await;
    let segments = || std::fs::read_dir(dir.path().join("segments")).unwrap().count();
    assert!(segments() >= 5, "{}", segments());
    for claim in queue.claim(&"a.example".parse().unwrap(), NOW.plus(Duration::from_secs(1 << 40)), 100).await {
        queue.settle(settlement(claim, vec![(0, delivered())])).await.unwrap();
    }
    queue.close().await;
    assert!(segments() <= 1, "{}", segments());
    let (_queue, recovered) = open(dir.path());
    assert_eq!((recovered.mails, segments()), (0, 0));
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, _) = open(dir.path());
    let error = Queue::open(dir.path(), Options::default(), NOW).err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    queue.close().await;
    open(dir.path());
}

#[tokio::test]
async fn after_a_close_callers_hear_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, _) = open(dir.path());
    let claim = queue.enqueue(new_mail(id(1), 1)).await.unwrap();
    queue.clone().close().await;
    assert_eq!(queue.enqueue(new_mail(id(2), 1)).await.err(), Some(queue::EnqueueError::Closed));
    assert!(queue.settle(settlement(claim, vec![(0, delivered())])).await.is_err());
    assert_eq!(ids(&queue).await.len(), 1);
}
