//! What calls leave behind for the journal.

use crate::rig::{NOW, Rig, Setup, binding, content, delivery, guest, judge, transaction};
use mail::{CallRecord, Hook, Isolation, Mode, Timestamp};
use serde_json::{Value, json};

async fn record(rig: &Rig, config: Value) -> CallRecord {
    let chain = rig.chain(config).await;
    let mut seen = transaction("example.org");
    chain.on_message(&mut seen, &mut content()).await;
    seen.calls.pop().unwrap()
}

#[tokio::test]
async fn a_record_tells_the_answer_the_changes_and_the_cost() {
    let rig = Rig::new(Setup::default());
    let record = record(&rig, json!({ "message": "edit", "then": "accept" })).await;
    assert_eq!((record.plugin.as_str(), record.hook, record.mode), ("hostile", Hook::OnMessage, Mode::Active));
    assert_eq!((record.at, record.answer.as_str()), (Timestamp::from_secs(NOW), "accept"));
    let edits = [
        "score +1.50 HOSTILE",
        "sender - <alice@example.com>",
        "sender + <>",
        "rcpt - bob@example.org",
        "rcpt + more@example.org",
        "note seen: yes",
        "+ X-Added: =?utf-8?B?Z3LDvG4=?=",
        "- Subject: =?utf-8?q?gr=C3=BCn?=",
        "+ Subject: changed",
        "- X-Gone: x",
    ];
    assert_eq!(record.edits, edits);
    assert!(record.spent.cpu_us > 0 && record.spent.wall_us > 0 && record.spent.peak_memory > 64 << 10);
    assert_eq!(record.spent.fuel, None);
    for call in [("message.add-header", 1), ("transaction.add-recipient", 2), ("attributes.get", 1)] {
        assert!(record.host_calls.contains(&(call.0.to_owned(), call.1)), "{:?}", record.host_calls);
    }
}

#[tokio::test]
async fn what_does_not_take_effect_is_not_told() {
    let rig = Rig::new(Setup::default());
    let refused = record(&rig, json!({ "message": "edit", "then": "reject" })).await;
    assert_eq!((refused.answer.as_str(), refused.edits.len()), ("reject 550 5.7.1 Refused", 0));
    let route = rig.chain(json!({ "route": "relay", "to": "b.example:25" })).await;
    let mut facts = delivery(content());
    route.on_route(&mut facts).await;
    assert_eq!(facts.calls[0].answer, "relay b.example:25");
    rig.chain(json!({ "offline": "retry" })).await.on_offline(&mut facts, &failure()).await;
    assert_eq!((facts.calls.len(), facts.calls[1].answer.as_str()), (2, "retry-after 60s"));
    rig.chain(json!({ "route": "expire" })).await.on_route(&mut facts).await;
    assert_eq!(facts.calls[2].edits, [format!("expires {}", NOW + 3600)]);
}

fn failure() -> mail::Failure {
    mail::Failure::new(mail::FailureKind::Connect, None, "refused")
}

#[tokio::test]
async fn a_failure_is_told_with_the_guests_own_functions() {
    let rig = Rig::new(Setup::default());
    let trap = record(&rig, json!({ "message": "trap" })).await;
    assert_eq!(trap.answer, "tempfail 451 4.3.0 [WP-PLUGIN] Message could not be checked; try again later");
    let failure = trap.failure.unwrap();
    assert_eq!(failure.kind, "trap");
    assert!(failure.backtrace.iter().any(|frame| frame.contains("hostile::deeds::perform")), "{failure:?}");
    assert!(failure.backtrace.len() <= 16 && failure.backtrace.iter().all(|frame| frame.len() <= 400));
}

#[tokio::test]
async fn a_plugin_that_is_not_asked_for_now_is_told_as_such() {
    let rig = Rig::new(Setup::default());
    let chain = rig.chain(json!({ "message": "trap" })).await;
    for _ in 0..5 {
        judge(&*chain).await;
    }
    let mut seen = transaction("example.org");
    chain.on_message(&mut seen, &mut content()).await;
    assert_eq!(seen.calls[0].failure.as_ref().unwrap().kind, "breaker");
    assert_eq!(seen.calls[0].spent.cpu_us, 0);
}

#[tokio::test]
async fn fuel_is_counted_on_request_and_is_the_same_each_time() {
    let rig = Rig::new(Setup { meter_fuel: true, ..Setup::default() });
    let fresh = mail::Binding { isolation: Isolation::Transaction, ..binding(json!({ "message": "edit" })) };
    let chain = rig.load("example.org", &[fresh]).await.unwrap();
    let mut seen = transaction("example.org");
    chain.on_message(&mut seen, &mut content()).await;
    let first = seen.calls[0].spent.fuel.unwrap();
    let mut again = transaction("example.org");
    chain.on_message(&mut again, &mut content()).await;
    assert!(first > 1000, "{first}");
    assert_eq!(again.calls[0].spent.fuel, Some(first));
}

#[tokio::test]
async fn name_and_version_are_the_components_own() {
    let rig = Rig::new(Setup::default());
    let inspection = rig.host.inspect(&guest("tag")).await.unwrap();
    assert_eq!((inspection.name.as_deref(), inspection.version.as_deref()), (Some("tag"), Some("0.1.0")));
    std::fs::copy(guest("tag"), rig.plugins.path().join("tag.wasm")).unwrap();
    let mut bound = crate::rig::named("tag");
    bound.config = json!({ "headers": { "X-Gateway": "{id}" } });
    let chain = rig.load("example.org", &[bound]).await.unwrap();
    let mut seen = transaction("example.org");
    chain.on_message(&mut seen, &mut content()).await;
    assert_eq!(seen.calls[0].version.as_deref(), Some("0.1.0"));
}
