//! A spool that was cut, overwritten or tampered with: it always starts, and the rest is delivered.

use super::{NOW, body, copy_dir, delivered, fill, id, ids, new_mail, open, quick_dir, settlement};
use queue::{Filter, Queue, State};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MAILS: u128 = 20;

type Damage = fn(&Path);

/// A directory as a kill leaves it: WAL not checkpointed.
async fn unclean() -> tempfile::TempDir {
    let (live, copy) = (quick_dir(), quick_dir());
    let (queue, _) = open(live.path());
    fill(&queue, MAILS).await;
    copy_dir(live.path(), copy.path());
    // Before its directory goes.
    queue.close().await;
    copy
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir.join("segments")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Claims everything; returns the mails whose content came back whole.
async fn deliverable(queue: &Queue) -> BTreeSet<u128> {
    let far = NOW.plus(Duration::from_secs(1 << 40));
    let mut whole = BTreeSet::new();
    for claim in queue.claim(&"a.example".parse().unwrap(), far, 1000).await {
        if let Ok(content) = claim.content.load() {
            assert_eq!(content, body(claim.mail.id));
            whole.insert(claim.mail.id.as_u128());
        }
    }
    whole
}

async fn held(queue: &Queue) -> usize {
    queue.list(&Filter { state: Some(State::Held), ..Filter::default() }, 100).await.len()
}

#[tokio::test]
async fn after_a_kill_everything_is_there() {
    let dir = unclean().await;
    let (queue, recovered) = open(dir.path());
    assert_eq!((recovered.mails, recovered.set_aside), (MAILS as u64, 0));
    assert_eq!(deliverable(&queue).await.len(), MAILS as usize);
}

#[tokio::test]
async fn a_damaged_body_is_held_and_the_rest_delivered() {
    let damages: [(&str, Damage); 4] = [
        ("cut", |file| fs::OpenOptions::new().write(true).open(file).unwrap().set_len(1500).unwrap()),
        ("empty", |file| fs::write(file, "").unwrap()),
        ("gone", |file| fs::remove_file(file).unwrap()),
        ("flipped", |file| {
            let mut bytes = fs::read(file).unwrap();
            bytes[700] ^= 4;
            fs::write(file, bytes).unwrap();
        }),
    ];
    for (name, damage) in damages {
        for which in [0, usize::MAX] {
            let dir = unclean().await;
            let files = segments(dir.path());
            damage(&files[which.min(files.len() - 1)]);
            let (queue, recovered) = open(dir.path());
            assert_eq!(recovered.mails, MAILS as u64, "{name}");
            let whole = deliverable(&queue).await.len();
            assert!((MAILS as usize - 4..MAILS as usize).contains(&whole), "{name}: {whole}");
            let deadline = std::time::Instant::now() + Duration::from_secs(20);
            while held(&queue).await != MAILS as usize - whole {
                assert!(std::time::Instant::now() < deadline, "{name}: not held");
                tokio::task::yield_now().await;
            }
        }
    }
}

#[tokio::test]
async fn foreign_files_are_left_alone() {
    let dir = unclean().await;
    let names = ["segments/notes.txt", "segments/9.seg", "segments/0000000x01.seg", "core"];
    for name in names {
        fs::write(dir.path().join(name), "what is this").unwrap();
    }
    fs::create_dir(dir.path().join("segments/0000000999.seg")).unwrap();
    let (queue, _) = open(dir.path());
    assert_eq!(deliverable(&queue).await.len(), MAILS as usize);
    for name in names {
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), b"what is this");
    }
}

#[tokio::test]
async fn an_unreadable_database_is_set_aside_with_its_segments() {
    let damages: [Damage; 2] = [
        |db| fs::write(db, "this is not a database at all, but long enough to look like one ".repeat(100)).unwrap(),
        |db| {
            let mut bytes = fs::read(db).unwrap();
            bytes[20..4000].fill(0xa5);
            fs::write(db, bytes).unwrap();
        },
    ];
    for damage in damages {
        let (live, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (queue, _) = open(live.path());
        fill(&queue, MAILS).await;
        queue.close().await;
        copy_dir(live.path(), dir.path());
        damage(&dir.path().join("queue.sqlite"));
        let before = segments(dir.path()).len();
        let (queue, recovered) = open(dir.path());
        assert_eq!(recovered.mails, 0);
        let aside = recovered.set_aside_store.unwrap();
        assert_eq!(segments(&aside).len(), before);
        assert!(aside.join("queue.sqlite").exists());
        fill(&queue, 3).await;
        assert_eq!(ids(&queue).await, (1..=3).map(id).collect());
    }
}

#[tokio::test]
async fn a_lost_or_cut_wal_still_starts() {
    let damages: [Damage; 4] = [
        |dir| fs::remove_file(dir.join("queue.sqlite-wal")).unwrap(),
        |dir| fs::remove_file(dir.join("queue.sqlite-shm")).unwrap(),
        |dir| fs::write(dir.join("queue.sqlite-wal"), "").unwrap(),
        |dir| {
            let wal = dir.join("queue.sqlite-wal");
            let half = fs::metadata(&wal).unwrap().len() / 2;
            fs::OpenOptions::new().write(true).open(wal).unwrap().set_len(half).unwrap();
        },
    ];
    for damage in damages {
        let dir = unclean().await;
        damage(dir.path());
        let (queue, _) = open(dir.path());
        fill(&queue, 1).await;
        assert!(!ids(&queue).await.is_empty());
    }
}

#[tokio::test]
async fn a_record_that_makes_no_sense_is_set_aside_and_the_rest_delivered() {
    let dir = unclean().await;
    let db = rusqlite::Connection::open(dir.path().join("queue.sqlite")).unwrap();
    db.execute("UPDATE mail SET domain = 'not a domain' WHERE seq = 3", []).unwrap();
    db.execute("UPDATE mail SET envelope = 'not JSON' WHERE seq = 4", []).unwrap();
    drop(db);
    let (queue, recovered) = open(dir.path());
    assert_eq!((recovered.mails, recovered.set_aside), (MAILS as u64 - 2, 2));
    let aside = rusqlite::Connection::open(recovered.set_aside_store.unwrap().join("queue.sqlite")).unwrap();
    let kept: i64 = aside.query_row("SELECT count(*) FROM mail WHERE seq IN (3, 4)", [], |row| row.get(0)).unwrap();
    assert_eq!((kept, deliverable(&queue).await.len()), (2, MAILS as usize - 2));
}

#[tokio::test]
async fn a_recipient_whose_row_is_wrong_holds_its_mail_until_a_person_has_looked() {
    for damage in
        ["state = 0", "idx = 7", "due = 5", "details = '{}'", "waiting_for = 'mx.evil.example:25'", "mail = 9"]
    {
        let dir = quick_dir();
        let (queue, _) = open(dir.path());
        fill(&queue, 1).await;
        let claim = queue.enqueue(new_mail(id(2), 2)).await.unwrap();
        queue.settle(settlement(claim, vec![(0, delivered())])).await.unwrap();
        queue.close().await;
        let db = rusqlite::Connection::open(dir.path().join("queue.sqlite")).unwrap();
        db.execute(&format!("UPDATE recipient SET {damage}"), []).unwrap();
        drop(db);
        let (queue, recovered) = open(dir.path());
        // A row that has gone to another mail is no row of any: its own mail looks as it was accepted.
        let lost = damage.starts_with("mail");
        assert_eq!((recovered.mails, recovered.set_aside_store.is_some()), (2, !lost), "{damage}");
        assert_eq!(deliverable(&queue).await, if lost { [1, 2].into() } else { [1].into() }, "{damage}");
        if !lost {
            assert_eq!(queue.release(&Filter { state: Some(State::Held), ..Filter::default() }).await, 2, "{damage}");
            queue.close().await;
            assert_eq!(deliverable(&open(dir.path()).0).await, [1, 2].into(), "{damage}");
        }
    }
}

#[tokio::test]
async fn a_value_whose_row_is_wrong_is_none_and_the_others_stay() {
    let dir = quick_dir();
    let (queue, _) = open(dir.path());
    let facts: Vec<_> = (0..20).map(|n| (format!("fact {n:02}"), Some(vec![b'v'; 300]))).collect();
    queue.set_facts(&facts).unwrap();
    queue.facts_written().await;
    queue.close().await;
    let db = rusqlite::Connection::open(dir.path().join("queue.sqlite")).unwrap();
    db.execute("UPDATE kv SET value = X'00' WHERE key = 'fact 07'", []).unwrap();
    drop(db);
    let (queue, _) = open(dir.path());
    assert_eq!((queue.fact("fact 07").unwrap(), queue.facts("fact ").unwrap().len()), (None, 19));
    queue.set_fact("fact 07", Some(b"new")).unwrap();
    assert_eq!(queue.fact("fact 07").unwrap().unwrap(), &b"new"[..]);
}

#[tokio::test]
async fn what_cannot_be_a_queue_is_refused_with_an_error_that_says_which() {
    for (name, wrong) in [("queue.sqlite", "database file"), ("lock", "directory"), ("segments", "exists")] {
        let dir = quick_dir();
        match name {
            "segments" => fs::write(dir.path().join(name), "a file").unwrap(),
            _ => fs::create_dir(dir.path().join(name)).unwrap(),
        }
        let error = queue::Queue::open(dir.path(), queue::Options::default(), NOW).err().unwrap().to_string();
        assert!(error.contains(wrong) && error.contains(dir.path().to_str().unwrap()), "{name}: {error}");
    }
}
