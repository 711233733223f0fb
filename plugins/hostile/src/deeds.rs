//! The misbehaviours, and a few honest deeds that show what the host lets through.

use crate::{
    bindings::{
        exports::waypost::plugin::on_route::Routing,
        wasi::clocks::monotonic_clock,
        waypost::plugin::{
            attributes, config, delivery, dns, failure, kv, log, message, metrics, session, transaction,
            types::{Error, Verdict},
        },
    },
    http, reply, wanted,
};
use std::{
    hint::black_box,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

static CALLS: AtomicU32 = AtomicU32::new(0);

/// Unknown names do nothing, as a plugin without an opinion does.
pub(crate) fn perform(deed: &str) -> Verdict {
    match deed {
        "loop" => endless(),
        "trap" => panic!("as asked"),
        "recursion" => drop(black_box(recurse(1))),
        "memory" => hoard(),
        "exit" => std::process::exit(0),
        "sleep" => std::thread::sleep(Duration::from_secs(3600)),
        "handles" => (0..1_000_000).for_each(|_| std::mem::forget(monotonic_clock::subscribe_duration(1))),
        "gigabyte" => gigabyte(),
        "leak" => return leak(),
        "hash" => (0..u32::MAX).for_each(|_| drop(black_box(message::sha256()))),
        "http" => return quarantined(&http::get(&wanted("url"))),
        "http-many" => return quarantined(&http::many(&wanted("url"), 10)),
        "http-post" => return quarantined(&http::post(&wanted("url"), wanted("size").parse().unwrap_or_default())),
        "host-bytes" => drop(kv::set("k", &vec![7; 20 << 20], None)),
        "print" => (0..100_000).for_each(|n| println!("line {n}")),
        "log" => (0..10_000).for_each(|n| log::write(log::Level::Error, &format!("line {n}"), &[])),
        "spin" => spin(),
        "bad-code" => return Verdict::Reject(reply(999, None, "no such code")),
        "wrong-class" => return Verdict::Reject(reply(250, Some("2.0.0"), "not a rejection")),
        "inject-reply" => return Verdict::Reject(reply(550, None, "no\r\n250 yes")),
        "inject-header" => return promised(message::add_header("X", "a\r\nBcc: all@example.org")),
        "count" => return quarantined(&(CALLS.fetch_add(1, Ordering::Relaxed) + 1).to_string()),
        "break-unless-healed" => break_unless_healed(),
        "kv" => return hammer(),
        "edit" => return edit(),
        "read" => return read(),
        "dns" => return ask_dns(),
        "denied" => return denied(),
        "time" => return quarantined(&now().to_string()),
        "secret" => return quarantined(&format!("{:?} {}", config::secret("key"), config::json())),
        "reject" => return Verdict::Reject(reply(550, Some("5.7.1"), "Refused")),
        "accept" => return Verdict::Accept,
        _ => {}
    }
    Verdict::Pass
}

fn quarantined(reason: &str) -> Verdict {
    Verdict::Quarantine(reason.to_owned())
}

/// Quarantined with what was wrong, accepted when the host refused as it should.
fn promised(answer: Result<(), Error>) -> Verdict {
    if matches!(answer, Err(Error::Invalid(_))) { Verdict::Accept } else { quarantined(&format!("{answer:?}")) }
}

fn endless() {
    let mut n = 0u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

fn spin() {
    let ms: u32 = wanted("ms").parse().unwrap_or_default();
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_millis(u64::from(ms)) {
        black_box(0);
    }
}

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1)) + depth)
}

fn hoard() {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(black_box(vec![1; 1 << 20]));
    }
}

/// More than there is: the host must not believe the length.
#[allow(unsafe_code)]
fn gigabyte() {
    // SAFETY: none. That is the deed.
    let bytes = unsafe { std::slice::from_raw_parts(std::ptr::without_provenance::<u8>(1024), 1 << 30) };
    drop(kv::set("k", black_box(bytes), None));
}

/// Leaves something behind in every way that there is, and looks for it.
fn leak() -> Verdict {
    let found = (attributes::get("leak"), transaction::score(), message::header("X-Leak"));
    if found != (None, 0, None) {
        return quarantined(&format!("leaked: {found:?}"));
    }
    transaction::add_score(100, "LEAK");
    drop(attributes::set("leak", "yes"));
    drop(message::add_header("X-Leak", "yes"));
    Verdict::Reject(reply(550, None, "no"))
}

fn break_unless_healed() {
    if !matches!(kv::get("healed"), Ok(Some(_))) {
        panic!("not healed");
    }
}

fn hammer() -> Verdict {
    let mut last = Ok(0);
    (0..5000).for_each(|_| last = kv::increment("n", 1, None));
    quarantined(&format!("{last:?}"))
}

/// Changes all that can be changed, and then answers as told.
fn edit() -> Verdict {
    let done = [
        message::add_header("X-Added", "grün"),
        message::set_header("Subject", "changed"),
        message::remove_header("X-Gone"),
        attributes::set("seen", "yes"),
        transaction::set_sender(None),
        transaction::add_recipient("more@example.org"),
        transaction::remove_recipient("bob@example.org"),
    ];
    transaction::add_score(150, "HOSTILE");
    if let Some(error) = done.into_iter().find_map(Result::err) {
        return quarantined(&format!("{error:?}"));
    }
    if transaction::add_recipient("x@elsewhere.example").is_ok() {
        return quarantined("a foreign recipient was let in");
    }
    if (transaction::score(), attributes::get("seen").as_deref()) != (150, Some("yes")) {
        return quarantined("its own changes are not seen");
    }
    perform(&wanted("then"))
}

fn read() -> Verdict {
    let text = message::part_text(0, 4).unwrap_or_default();
    let facts = [
        message::header("subject").unwrap_or_default(),
        message::headers("Received").len().to_string(),
        message::part_count().to_string(),
        message::part_type(0).unwrap_or_default(),
        text,
        message::find(b"body", 0).unwrap_or_default().to_string(),
        String::from_utf8(message::read(0, 8).unwrap_or_default()).unwrap_or_default(),
        message::sha256().len().to_string(),
        transaction::sender().unwrap_or_default(),
        transaction::recipients().join(","),
        session::peer_ip(),
        format!("{:?}", message::read(0, u32::MAX).map(|bytes| bytes.len())),
    ];
    quarantined(&facts.join("|"))
}

fn denied() -> Verdict {
    metrics::count("n", 1, &[]);
    let answers = [format!("{:?}", kv::get("x")), format!("{:?}", dns::txt("example.org"))];
    quarantined(&answers.join("|"))
}

fn ask_dns() -> Verdict {
    let kind = |error: &Error| match error {
        Error::Unavailable(_) => "Unavailable".to_owned(),
        Error::Invalid(_) => "Invalid".to_owned(),
        other => format!("{other:?}"),
    };
    let told = |answer: Result<Vec<String>, Error>| match answer {
        Ok(found) => format!("Ok({found:?})"),
        Err(error) => format!("Err(Error::{})", kind(&error)),
    };
    let answers = [
        dns::dnsbl("bl.example", "127.0.0.2"),
        dns::addresses("nowhere.example"),
        dns::txt("fail.example"),
        dns::txt("not a name"),
    ];
    quarantined(&answers.map(told).join("|"))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

/// Everything that is not for on-recipient; rejects with the first that did not answer as promised.
pub(crate) fn outside_of_on_recipient() -> Verdict {
    let invalid = [
        message::add_header("X", "y"),
        message::read(0, 1).map(drop),
        message::part_read(0, 0, 1).map(drop),
        delivery::set_expiry(1),
    ];
    let empty = (message::size(), message::header("Subject"), message::part_count(), delivery::recipient());
    let fine = invalid.iter().all(|answer| matches!(answer, Err(Error::Invalid(_))))
        && empty == (0, None, 0, String::new())
        && failure::what() == failure::Kind::Other
        && failure::next_hop().is_none();
    if fine { Verdict::Accept } else { Verdict::Reject(reply(550, None, &format!("{invalid:?} {empty:?}"))) }
}

pub(crate) fn by_subject() -> Routing {
    let subject = message::header("Subject").unwrap_or_default();
    Routing::Rewrite(format!("{subject}@{}", delivery::domain()))
}

pub(crate) fn expire() -> Routing {
    let later = delivery::set_expiry(delivery::queued_at() + 3600);
    let never = delivery::set_expiry(u64::MAX);
    let outside = message::add_header("X", "y");
    if later.is_ok() && never.is_err() && outside.is_err() {
        Routing::UseDefault
    } else {
        Routing::Reject(reply(550, None, &format!("{later:?} {never:?} {outside:?}")))
    }
}

pub(crate) fn tell_failure() -> String {
    let answered = failure::answered().map(|reply| reply.text);
    format!("{:?}|{}|{:?}|{answered:?}", failure::what(), failure::detail(), failure::next_hop())
}

/// Rejected with what is known before the greeting.
pub(crate) fn facts_of_the_connection() -> Verdict {
    if attributes::set("seen", &session::peer_ip()).is_err() || transaction::set_sender(None).is_ok() {
        return Verdict::Reject(reply(554, None, "calls outside their hooks"));
    }
    if wanted("then") == "pass" {
        return Verdict::Pass;
    }
    let facts = [session::peer_ip(), session::listener(), format!("{:?}", session::helo()), transaction::id()];
    Verdict::Reject(reply(554, Some("5.7.1"), &facts.join("|")))
}

/// Into the store, so that a test can read it.
pub(crate) fn keep_event(kind: &str, at: u64, json: &str) {
    let noted = attributes::get("seen").unwrap_or_default();
    let outside = attributes::set("x", "y").is_err() && delivery::set_expiry(at).is_err() && message::size() == 0;
    let text = format!("{kind}|{at}|{json}|{}|{noted}|{outside}", delivery::recipient());
    drop(kv::set("event", text.as_bytes(), None));
}
