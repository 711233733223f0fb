use crate::{KvLimits, Options, Queue};
use mail::{KvError, KvSpace, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn space(plugin: &str, domain: &str) -> KvSpace {
    KvSpace { plugin: plugin.into(), domain: domain.parse().unwrap() }
}

/// A queue whose clock is the returned number of seconds.
fn queue(kv: KvLimits) -> (Queue, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(1000));
    let clock = now.clone();
    let clock = Arc::new(move || Timestamp::from_secs(clock.load(Ordering::SeqCst)));
    let queue = Queue::open_in_memory(Options { kv, clock, ..Options::default() }, Timestamp::from_secs(1000)).unwrap();
    (queue, now)
}

#[test]
fn a_change_is_seen_at_once_and_only_in_its_own_space() {
    let (queue, _) = queue(KvLimits::default());
    let (kv, here) = (queue.kv(), space("p", "a.example"));
    kv.set(&here, "k", b"v", None).unwrap();
    assert_eq!(kv.get(&here, "k").unwrap().unwrap(), &b"v"[..]);
    for other in [space("q", "a.example"), space("p", "b.example")] {
        assert_eq!(kv.get(&other, "k").unwrap(), None);
    }
    kv.delete(&here, "k").unwrap();
    assert_eq!(kv.get(&here, "k").unwrap(), None);
    queue.set_fact("k", Some(b"fact")).unwrap();
    assert_eq!(queue.fact("k").unwrap().unwrap(), &b"fact"[..]);
    queue.set_fact("k", None).unwrap();
    assert_eq!(queue.fact("k").unwrap(), None);
}

#[tokio::test]
async fn facts_of_one_kind_are_listed_in_order_durable_or_not() {
    let (queue, _) = queue(KvLimits::default());
    let keys = || -> Vec<String> { queue.facts("alert/").unwrap().into_iter().map(|(key, _)| key).collect() };
    for key in ["alert/2", "alert/1", "alert", "alert0", "other"] {
        queue.set_fact(key, Some(b"v")).unwrap();
    }
    queue.kv().set(&space("p", "a.example"), "alert/3", b"v", None).unwrap();
    assert_eq!(keys(), ["alert/1", "alert/2"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while queue.shared().medium.values("\0", "alert/").unwrap().len() < 2 {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    queue.set_fact("alert/1", None).unwrap();
    queue.set_fact("alert/2", Some(b"new")).unwrap();
    assert_eq!(queue.facts("alert/").unwrap(), [("alert/2".to_owned(), b"new"[..].into())]);
}

#[tokio::test]
async fn facts_that_are_set_together_are_in_one_batch_and_one_that_is_too_long_keeps_no_other_out() {
    let (queue, _) = queue(KvLimits::default());
    let long = "k".repeat(KvLimits::default().key + 1);
    let facts =
        [("a".to_owned(), Some(b"1".to_vec())), (long, Some(b"2".to_vec())), ("b".to_owned(), Some(b"3".to_vec()))];
    assert!(matches!(queue.set_facts(&facts), Err(KvError::Limit(_))));
    queue.facts_written().await;
    let on_disk = queue.shared().medium.values("\0", "").unwrap();
    assert_eq!(on_disk.iter().map(|(key, _)| &key[..]).collect::<Vec<_>>(), ["a", "b"]);
    queue.set_facts(&[("a".to_owned(), None), ("b".to_owned(), None)]).unwrap();
    queue.facts_written().await;
    assert_eq!(queue.facts("").unwrap(), []);
}

#[test]
fn add_and_compare_and_set_change_nothing_when_they_say_so() {
    let (queue, _) = queue(KvLimits::default());
    let (kv, here) = (queue.kv(), space("p", "a.example"));
    assert!(kv.add(&here, "k", b"1", None).unwrap());
    assert!(!kv.add(&here, "k", b"2", None).unwrap());
    assert!(!kv.compare_and_set(&here, "k", None, b"3", None).unwrap());
    assert!(!kv.compare_and_set(&here, "k", Some(b"0"), b"3", None).unwrap());
    assert_eq!(kv.get(&here, "k").unwrap().unwrap(), &b"1"[..]);
    assert!(kv.compare_and_set(&here, "k", Some(b"1"), b"3", None).unwrap());
    assert!(kv.compare_and_set(&here, "new", None, b"4", None).unwrap());
    assert_eq!(kv.get(&here, "k").unwrap().unwrap(), &b"3"[..]);
}

#[test]
fn a_value_ends_with_its_time_to_live_and_a_counter_keeps_its_first() {
    let (queue, now) = queue(KvLimits::default());
    let (kv, here) = (queue.kv(), space("p", "a.example"));
    kv.set(&here, "k", b"v", Some(10)).unwrap();
    assert_eq!(kv.increment(&here, "n", 5, Some(20)).unwrap(), 5);
    now.store(1009, Ordering::SeqCst);
    assert!(kv.get(&here, "k").unwrap().is_some());
    assert_eq!(kv.increment(&here, "n", -2, Some(1000)).unwrap(), 3);
    now.store(1010, Ordering::SeqCst);
    assert_eq!(kv.get(&here, "k").unwrap(), None);
    assert!(kv.add(&here, "k", b"again", None).unwrap());
    now.store(1020, Ordering::SeqCst);
    assert_eq!(kv.increment(&here, "n", 1, None).unwrap(), 1);
}

#[test]
fn a_counter_that_is_no_number_or_would_overflow_is_an_error_and_stays() {
    let (queue, _) = queue(KvLimits::default());
    let (kv, here) = (queue.kv(), space("p", "a.example"));
    kv.set(&here, "k", b"one", None).unwrap();
    assert!(matches!(kv.increment(&here, "k", 1, None), Err(KvError::NotANumber)));
    kv.increment(&here, "n", i64::MAX, None).unwrap();
    assert!(matches!(kv.increment(&here, "n", 1, None), Err(KvError::Limit(_))));
    assert_eq!(kv.increment(&here, "n", 0, None).unwrap(), i64::MAX);
}

#[test]
fn one_space_cannot_take_more_than_its_share() {
    let limits = KvLimits { key: 4, value: 50, space_bytes: 100, space_keys: 3, ..KvLimits::default() };
    let (queue, _) = queue(limits);
    let (kv, here) = (queue.kv(), space("p", "a.example"));
    let limit = |result: Result<(), KvError>| assert!(matches!(result, Err(KvError::Limit(_))), "{result:?}");
    limit(kv.set(&here, "longer", b"", None));
    limit(kv.set(&here, "k", &[0; 51], None));
    kv.set(&here, "a", &[0; 49], None).unwrap();
    kv.set(&here, "b", &[0; 40], None).unwrap();
    limit(kv.set(&here, "c", &[0; 20], None));
    kv.set(&here, "a", &[0; 10], None).unwrap();
    kv.set(&here, "c", &[0; 20], None).unwrap();
    limit(kv.set(&here, "d", b"", None));
    kv.delete(&here, "a").unwrap();
    kv.set(&here, "d", b"", None).unwrap();
    kv.set(&space("p", "b.example"), "a", &[0; 50], None).unwrap();
}

#[test]
fn what_was_evicted_reads_back_from_the_store() {
    let (queue, _) = queue(KvLimits { cache_bytes: 20_000, ..KvLimits::default() });
    let (kv, here) = (queue.kv(), space("p", "a.example"));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    for n in 0..2000u32 {
        // The store refuses more changes than it can hold until they are durable.
        while let Err(error) = kv.set(&here, &n.to_string(), &n.to_be_bytes(), None) {
            assert!(matches!(error, KvError::Unavailable(_)) && std::time::Instant::now() < deadline, "{error}");
            std::thread::yield_now();
        }
    }
    for n in 0..2000u32 {
        assert_eq!(kv.get(&here, &n.to_string()).unwrap().unwrap(), &n.to_be_bytes()[..]);
    }
}

#[tokio::test]
async fn expired_values_are_purged_and_give_their_room_back() {
    let (queue, now) = queue(KvLimits { space_keys: 2, ..KvLimits::default() });
    let (kv, here) = (queue.kv(), space("p", "a.example"));
    kv.set(&here, "a", b"1", Some(5)).unwrap();
    kv.set(&here, "b", b"1", Some(500)).unwrap();
    assert!(kv.set(&here, "c", b"1", None).is_err());
    now.store(1100, Ordering::SeqCst);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    // A purge looks at what is durable.
    while kv.set(&here, "c", b"1", None).is_err() {
        queue.purge_kv();
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    assert!(kv.get(&here, "b").unwrap().is_some());
}
