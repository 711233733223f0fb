//! Hooks about connections, next hops and events: who is asked, and what an answer or a failure does.

use crate::rig::{NOW, Rig, Setup, binding, connection, content, delivery, event, failing};
use mail::{Hook, OnFailure, Verdict};
use serde_json::json;

#[tokio::test]
async fn a_connection_is_judged_before_its_greeting() {
    let rig = Rig::new(Setup::default());
    let mut seen = connection();
    let Verdict::Reject(reply) = rig.chain(json!({ "connect": "facts" })).await.on_connect(&mut seen).await else {
        panic!()
    };
    assert_eq!(reply.to_string(), "554 5.7.1 192.0.2.7|[::]:25|Some(\"client.example\")|");
    assert!(seen.attributes.is_empty(), "what is refused leaves no notes");
    assert_eq!((seen.calls.len(), seen.calls[0].hook), (1, Hook::OnConnect));

    let chain = rig.chain(json!({ "connect": "facts", "then": "pass" })).await;
    assert_eq!(chain.on_connect(&mut seen).await, Verdict::Pass);
    assert_eq!(seen.attributes.get("seen").map(String::as_str), Some("192.0.2.7"));
    assert_eq!(seen.calls[1].edits, ["note seen: 192.0.2.7"]);
}

#[tokio::test]
async fn verdicts_about_mail_make_no_sense_of_a_connection() {
    let rig = Rig::new(Setup::default());
    for config in [json!({ "connect": "discard" }), json!({ "connect": "count" }), json!({ "connect": "trap" })] {
        for (policy, code) in [(OnFailure::TempFail, 451), (OnFailure::Quarantine, 451), (OnFailure::Reject, 554)] {
            let chain = rig.load("example.org", &[failing(config.clone(), policy)]).await.unwrap();
            let (Verdict::TempFail(reply) | Verdict::Reject(reply)) = chain.on_connect(&mut connection()).await else {
                panic!("{config}")
            };
            assert_eq!(reply.code, code, "{config}");
        }
        let chain = rig.load("example.org", &[failing(config, OnFailure::Pass)]).await.unwrap();
        assert_eq!(chain.on_connect(&mut connection()).await, Verdict::Pass);
    }
}

#[tokio::test]
async fn held_mail_goes_out_unless_one_plugin_says_no() {
    let rig = Rig::new(Setup::default());
    let (few, trap, fine) = (json!({ "online": "unless-few" }), json!({ "online": "trap" }), json!({ "online": "" }));
    let chain = rig.load("example.org", &[binding(fine), binding(few), binding(trap)]).await.unwrap();
    let mut calls = Vec::new();
    assert!(chain.on_online(9, &mut calls).await, "a plugin that fails has no say");
    let answers: Vec<_> = calls.iter().map(|call| (call.answer.as_str(), call.failure.is_some())).collect();
    assert_eq!(answers, [("release", false), ("release", false), ("release", true)]);
    calls.clear();
    assert!(!chain.on_online(10, &mut calls).await);
    assert_eq!(calls.len(), 2, "the last need not be asked any more");
}

#[tokio::test]
async fn an_event_is_told_to_everyone_and_changes_nothing() {
    let rig = Rig::new(Setup::default());
    let (trap, keep) = (json!({ "event": "trap" }), json!({ "event": "keep" }));
    let chain = rig.load("example.org", &[binding(trap), binding(keep)]).await.unwrap();
    let mut facts = delivery(content());
    facts.attributes.insert("seen".to_owned(), "yes".to_owned());
    chain.on_event(&event(Some(facts)), &mut Vec::new()).await;
    let told = format!("delivered|{NOW}|{{\"reply\":\"250 ok\"}}|bob@example.org|yes|true");
    assert_eq!(rig.kv.text("hostile", "event"), Some(told));
    let failures: Vec<u64> = rig.host.status().iter().map(|status| status.failures).collect();
    assert_eq!(failures, [1, 0]);

    let mut calls = Vec::new();
    chain.on_event(&event(None), &mut calls).await;
    assert_eq!((calls.len(), calls[1].answer.as_str()), (2, "told"));
    let told = format!("delivered|{NOW}|{{\"reply\":\"250 ok\"}}|||true");
    assert_eq!(rig.kv.text("hostile", "event"), Some(told));
}
