//! Promises of the journal, with a file on a disk.

use super::*;
use mail::{CallRecord, Hook, MailId, Mode, Spent, Timestamp};
use std::{path::Path, time::Duration};

const BOUNDS: Bounds = Bounds { keep: Duration::from_secs(3600), max_size: 1 << 30 };

fn intake(sender: &str, recipients: &[&str], calls: Vec<CallRecord>) -> Step {
    let asked = |address: &&str| Asked { address: (*address).to_owned(), reply: "250 ok".into(), calls: Vec::new() };
    Step::Intake(Box::new(Intake {
        domain: "example.org".into(),
        session: None,
        sender: sender.into(),
        recipients: recipients.iter().map(asked).collect(),
        size: Some(10),
        authenticity: mail::Authenticity::default(),
        outcome: "queued".into(),
        reply: "250 ok".into(),
        calls,
    }))
}

fn call(plugin: &str, mode: Mode, answer: &str, edits: &[&str]) -> CallRecord {
    CallRecord {
        about: None,
        plugin: plugin.into(),
        version: None,
        hook: Hook::OnMessage,
        mode,
        at: Timestamp::from_secs(1),
        answer: answer.into(),
        failure: None,
        edits: edits.iter().map(|edit| (*edit).to_owned()).collect(),
        spent: Spent::default(),
        host_calls: Vec::new(),
    }
}

fn note(text: &str) -> Step {
    Step::Note { text: text.into() }
}

fn stories(path: &Path, wanted: &Found) -> Vec<Story> {
    Reader::open(path).unwrap().stories(&Found { limit: 10, ..wanted.clone() }).unwrap()
}

#[test]
fn a_mail_is_found_by_its_id_and_its_addresses_also_by_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.sqlite");
    let now = Timestamp::from_system(std::time::SystemTime::now());
    let (one, two) = (MailId::new(now, 1), MailId::new(now, 2));
    let journal = Journal::open(&path, BOUNDS).unwrap();
    journal.record(one, now, intake("Ann@x.example", &["bob@example.org", "cat@example.org"], Vec::new()));
    journal.record(two, now, intake("", &["BOB@example.org"], Vec::new()));
    journal.record(one, now.plus(Duration::from_secs(1)), note("later"));
    journal.close();
    let journal = Journal::open(&path, BOUNDS).unwrap();
    journal.record(one, now.plus(Duration::from_secs(2)), note("after a restart"));
    journal.close();

    let by_id = stories(&path, &Found { id: Some(one), ..Found::default() });
    assert_eq!(by_id[0].steps.len(), 3);
    assert_eq!(by_id[0].steps[2].step, note("after a restart"));
    let ids = |wanted: Found| stories(&path, &wanted).iter().map(|story| story.id).collect::<Vec<_>>();
    assert_eq!(ids(Found { recipient: Some("bob@EXAMPLE.org".into()), ..Found::default() }), [two, one]);
    assert_eq!(ids(Found { sender: Some("<>".into()), ..Found::default() }), [two]);
    let both =
        Found { sender: Some("ann@x.example".into()), recipient: Some("bob@example.org".into()), ..Found::default() };
    assert_eq!(ids(both), [one]);
    assert_eq!(ids(Found { recipient: Some("nobody@example.org".into()), ..Found::default() }), []);
}

#[test]
fn what_a_shadow_would_have_changed_is_counted_with_samples() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.sqlite");
    let journal = Journal::open(&path, BOUNDS).unwrap();
    let now = Timestamp::from_system(std::time::SystemTime::now());
    for n in 0..6 {
        let shadow = match n {
            0..3 => call("new", Mode::Shadow, "reject 550 5.7.1 no", &[]),
            3 => call("new", Mode::Shadow, "pass", &["+ X: 1"]),
            _ => call("new", Mode::Shadow, "accept", &[]),
        };
        let calls = vec![call("old", Mode::Active, "pass", &[]), shadow];
        journal.record(MailId::new(now, n), now, intake("a@x", &["b@y"], calls));
    }
    journal.close();
    let found = Reader::open(&path).unwrap().differences(Some("new"), None).unwrap();
    let told: Vec<_> = found.iter().map(|d| (d.would.as_str(), d.did.as_str(), d.count, d.samples.len())).collect();
    assert_eq!(told, [("reject", "pass", 3, 3), ("pass", "pass", 2, 0), ("pass, edits", "pass", 1, 1)]);
    assert!(Reader::open(&path).unwrap().differences(Some("old"), None).unwrap().is_empty());
}

#[test]
fn the_oldest_steps_go_by_age_and_by_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.sqlite");
    let journal = Journal::open(&path, BOUNDS).unwrap();
    let start = Timestamp::from_secs(1_000_000);
    for n in 0..20_000 {
        journal.record(
            MailId::new(start, n),
            start.plus(Duration::from_secs(n as u64)),
            intake("a@x", &["b@y"], vec![]),
        );
    }
    journal.close();
    let connection = schema::open(&path).unwrap();
    let left = || {
        connection
            .query_row("SELECT count(*), min(at) FROM steps", [], |r| {
                Ok((r.get::<_, i64>(0)?, r.get::<_, Option<i64>>(1)?))
            })
            .unwrap()
    };
    let now = start.plus(Duration::from_secs(20_000));
    writer::prune(&connection, Bounds { keep: Duration::from_secs(5_000), ..BOUNDS }, now).unwrap();
    assert_eq!(left(), (5_000, Some(1_015_000_000)));
    writer::prune(&connection, Bounds { max_size: 1 << 20, ..BOUNDS }, now).unwrap();
    assert!(left().0 < 5_000);
}

#[test]
fn a_journal_that_cannot_be_read_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.sqlite");
    std::fs::write(&path, "no database ".repeat(1000)).unwrap();
    let journal = Journal::open(&path, BOUNDS).unwrap();
    journal.record(MailId::from_u128(1), Timestamp::from_secs(1), note("x"));
    journal.close();
    assert_eq!(journal.dropped(), 0);
    assert!(dir.path().join("journal.sqlite.damaged").exists());
    assert_eq!(stories(&path, &Found { id: Some(MailId::from_u128(1)), ..Found::default() }).len(), 1);
}

/// A journal with mail 1, and 0xff all over the page where the tree of `what` begins.
fn damage(path: &Path, what: &str) {
    let journal = Journal::open(path, BOUNDS).unwrap();
    journal.record(MailId::from_u128(1), Timestamp::from_secs(1), note("before"));
    journal.close();
    let connection = schema::open(path).unwrap();
    let sql = "SELECT rootpage FROM sqlite_master WHERE name = ?1";
    let page: i64 = connection.query_row(sql, [what], |row| row.get(0)).unwrap();
    let size: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    drop(connection);
    let mut bytes = std::fs::read(path).unwrap();
    let start = ((page - 1) * size) as usize;
    bytes[start..start + size as usize].fill(0xff);
    std::fs::write(path, bytes).unwrap();
}

fn eventually(what: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(20), "not in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_journal_that_turns_out_damaged_is_set_aside_and_goes_on_in_a_file_that_readers_find() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.sqlite");
    damage(&path, "steps_id");
    let journal = Journal::open(&path, BOUNDS).unwrap();
    journal.record(MailId::from_u128(2), Timestamp::from_secs(1), note("lost"));
    eventually(|| journal.dropped() == 1);
    let wanted = |id| Found { id: Some(MailId::from_u128(id)), ..Found::default() };
    for id in [3, 4] {
        journal.record(MailId::from_u128(id), Timestamp::from_secs(1), note("after"));
        // While the gateway writes, not only once it has ended.
        eventually(|| {
            path.exists() && Reader::open(&path).is_ok_and(|r| r.stories(&wanted(id)).is_ok_and(|s| s.len() == 1))
        });
    }
    journal.close();
    assert_eq!(journal.dropped(), 1);
    let aside = rusqlite::Connection::open(dir.path().join("journal.sqlite.damaged")).unwrap();
    let kept: String = aside.query_row("SELECT body FROM steps", [], |row| row.get(0)).unwrap();
    assert!(kept.contains("before"));
}

#[test]
fn a_journal_whose_end_cannot_be_found_at_start_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.sqlite");
    damage(&path, "steps");
    let journal = Journal::open(&path, BOUNDS).unwrap();
    journal.record(MailId::from_u128(2), Timestamp::from_secs(1), note("after"));
    journal.close();
    assert_eq!(journal.dropped(), 0);
    assert!(dir.path().join("journal.sqlite.damaged").exists());
    assert_eq!(stories(&path, &Found { id: Some(MailId::from_u128(2)), ..Found::default() }).len(), 1);
}

#[test]
fn what_there_is_no_room_for_is_counted_and_nobody_waits() {
    let inbox = inbox::Inbox::default();
    let step = || note(&"x".repeat(1 << 20));
    for n in 0..40 {
        inbox.push(inbox::Entry { id: MailId::from_u128(n), at: Timestamp::from_secs(1), step: step() });
    }
    assert_eq!(
        inbox.take(Duration::ZERO).unwrap().len() as u64 + inbox.dropped.load(std::sync::atomic::Ordering::Relaxed),
        40
    );
}
