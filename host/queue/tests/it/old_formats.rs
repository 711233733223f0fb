//! Queues that older versions wrote open, and their mail is what it was. `formats/` is frozen.

use super::{NOW, body, delivered, id, new_mail, open, settlement};
use mail::{KvSpace, NextHop};
use queue::{Filter, OpenError, Options, Queue, State};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A directory as format 1 had it.
pub(super) fn lay_out(dir: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/formats/1");
    super::copy_dir(&from.join("segments"), &dir.join("segments"));
    let db = rusqlite::Connection::open(dir.join("queue.sqlite")).unwrap();
    db.execute_batch(&fs::read_to_string(from.join("queue.sql")).unwrap()).unwrap();
}

/// What the mails of `formats/1` must be in any later version.
pub(super) async fn check(dir: &Path) {
    let (queue, recovered) = open(dir);
    assert!(recovered.set_aside == 0 && recovered.set_aside_store.is_none());
    let listed = queue.list(&Filter::default(), 100).await;
    let states: Vec<(u128, Vec<State>)> = listed
        .iter()
        .filter(|listing| listing.mail.id < id(1000))
        .map(|listing| (listing.mail.id.as_u128(), listing.recipients.iter().map(|r| r.state).collect()))
        .collect();
    let expected = [
        (1, vec![State::Queued]),
        (2, vec![State::Deferred, State::Held, State::Queued]),
        (3, vec![State::Held]),
        (4, vec![State::Quarantined; 2]),
        (5, vec![State::Held]),
    ];
    assert_eq!(states, expected);
    let space = KvSpace { plugin: "greylist".into(), domain: "a.example".parse().unwrap() };
    assert_eq!(queue.kv().get(&space, "count").unwrap().unwrap(), &b"7"[..]);
    assert_eq!(queue.fact("proven mx.a.example:25").unwrap().unwrap(), &b"yes"[..]);
    let hop: NextHop = "mx.a.example:25".parse().unwrap();
    assert_eq!(queue.awaited(), [hop]);
    queue.close().await;
}

#[tokio::test]
async fn a_queue_of_format_1_opens_with_every_state_and_is_delivered() {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path());
    check(dir.path()).await;
    let (queue, _) = open(dir.path());
    queue.unclaim(queue.enqueue(new_mail(id(7), 1)).await.unwrap());
    queue.close().await;
    check_delivered(dir.path()).await;
}

async fn check_delivered(dir: &Path) {
    let (queue, recovered) = open(dir);
    assert_eq!((recovered.mails, recovered.recipients), (6, 9));
    queue.release(&Filter::default()).await;
    let far = NOW.plus(Duration::from_secs(1 << 40));
    let mut addresses = Vec::new();
    for claim in queue.claim(&"a.example".parse().unwrap(), far, 100).await {
        assert_eq!(claim.content.load().unwrap(), body(claim.mail.id));
        assert_eq!(claim.mail.envelope.envid.as_deref(), Some("QQ314159"));
        if claim.mail.id == id(2) {
            assert_eq!(claim.mail.attributes["spam"], "maybe");
            assert!(claim.recipients.iter().any(|r| r.delay_told && r.attempts == 1));
        }
        addresses.extend(claim.recipients.iter().map(|r| r.recipient.address.to_string()));
        let outcomes = claim.recipients.iter().map(|r| (r.index, delivered())).collect();
        queue.settle(settlement(claim, outcomes)).await.unwrap();
    }
    assert_eq!(addresses.len(), 9);
    assert_eq!(addresses.iter().filter(|address| *address == "new@a.example").count(), 1);
    assert_eq!(queue.counts(), queue::Counts::default());
}

#[tokio::test]
async fn a_newer_format_is_refused_with_both_numbers_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).0.close().await;
    let db = rusqlite::Connection::open(dir.path().join("queue.sqlite")).unwrap();
    db.pragma_update(None, "user_version", 7).unwrap();
    drop(db);
    let error = Queue::open(dir.path(), Options::default(), NOW).err().unwrap();
    assert!(matches!(error, OpenError::Newer { found: 7, known: 2, .. }), "{error}");
    assert!(error.to_string().contains('7') && error.to_string().contains('2'), "{error}");
    assert!(!dir.path().join("set-aside-1").exists());
}
