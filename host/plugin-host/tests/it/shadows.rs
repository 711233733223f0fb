//! Plugins that only watch, and plugins that are asked about a share of the mail.

use crate::rig::{Rig, Setup, binding, connection, content, judge, mailbox, transaction};
use mail::{Binding, MailId, Mode, Verdict};
use plugin_host::{BreakerState, Limits};
use serde_json::{Value, json};
use std::time::Duration;

fn shadow(config: Value) -> Binding {
    Binding { mode: Mode::Shadow, ..binding(config) }
}

#[tokio::test]
async fn a_shadow_is_recorded_and_changes_nothing() {
    let rig = Rig::new(Setup::default());
    let bindings = [
        shadow(json!({ "message": "edit", "then": "accept" })),
        shadow(json!({ "message": "reject" })),
        shadow(json!({ "message": "trap" })),
        binding(json!({ "message": "read" })),
        shadow(json!({ "message": "accept" })),
    ];
    let chain = rig.load("example.org", &bindings).await.unwrap();
    let (mut seen, mut mail) = (transaction("example.org"), content());
    let Verdict::Quarantine(facts) = chain.on_message(&mut seen, &mut mail).await else { panic!() };
    assert!(facts.starts_with("grün|2|1"), "the next plugin sees the mail as it was: {facts}");
    assert_eq!((mail, seen.score, seen.recipients.len()), (content(), 0, 2));
    let told: Vec<_> = seen.calls.iter().map(|call| (call.mode, call.answer.split(' ').next().unwrap())).collect();
    let expected =
        [(Mode::Shadow, "accept"), (Mode::Shadow, "reject"), (Mode::Shadow, "tempfail"), (Mode::Active, "quarantine")];
    assert_eq!(told, expected, "in the order of the chain; the last was not to be asked any more");
    assert_eq!(seen.calls[0].edits.len(), 10, "what it would have changed: {:?}", seen.calls[0].edits);
    assert_eq!(seen.calls[2].failure.as_ref().unwrap().kind, "trap");
}

#[tokio::test]
async fn a_shadow_sees_what_the_plugins_before_it_changed() {
    let rig = Rig::new(Setup::default());
    let bindings = [binding(json!({ "message": "edit" })), shadow(json!({ "message": "read" }))];
    let chain = rig.load("example.org", &bindings).await.unwrap();
    let mut seen = transaction("example.org");
    assert_eq!(chain.on_message(&mut seen, &mut content()).await, Verdict::Pass);
    assert!(seen.calls[1].answer.starts_with("quarantine changed|2|"), "{}", seen.calls[1].answer);
}

#[tokio::test]
async fn a_shadow_that_hangs_holds_the_answer_up_for_its_time_limit_at_most_and_then_breaks() {
    let limits = Limits { time: Duration::from_millis(300), ..Setup::default().limits };
    let rig = Rig::new(Setup { limits, ..Setup::default() });
    let bindings = [shadow(json!({ "message": "sleep" })), binding(json!({ "message": "accept" }))];
    let chain = rig.load("example.org", &bindings).await.unwrap();
    for _ in 0..5 {
        let mut seen = transaction("example.org");
        assert_eq!(chain.on_message(&mut seen, &mut content()).await, Verdict::Accept);
        assert_eq!(seen.calls[0].failure.as_ref().unwrap().kind, "time");
    }
    assert_eq!(rig.host.status()[0].breaker, BreakerState::Open);
    assert_eq!(judge(&*chain).await, Verdict::Accept);
}

#[tokio::test]
async fn every_hook_of_a_mail_falls_into_the_same_share() {
    let rig = Rig::new(Setup::default());
    let half = Binding { sample: 50, ..binding(json!({ "message": "accept", "recipient": "accept" })) };
    let chain = rig.load("example.org", &[half]).await.unwrap();
    let mut asked = 0;
    for n in 0..60 {
        let mut seen = transaction("example.org");
        seen.id = MailId::from_u128(n << 70);
        let recipient = chain.on_recipient(&mut seen, &mailbox("dan@example.org")).await;
        let message = chain.on_message(&mut seen, &mut content()).await;
        assert_eq!(recipient, message);
        assert_eq!(seen.calls.len(), if message == Verdict::Accept { 2 } else { 0 }, "unasked leaves no record");
        asked += usize::from(message == Verdict::Accept);
    }
    assert!((15..45).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_connection_falls_into_a_share_by_its_address() {
    let rig = Rig::new(Setup::default());
    let half = Binding { sample: 50, ..binding(json!({ "connect": "accept" })) };
    let chain = rig.load("example.org", &[half]).await.unwrap();
    let mut verdicts = Vec::new();
    for n in 0..60_u8 {
        let mut seen = connection();
        let mut session = (*seen.session).clone();
        session.peer = format!("192.0.2.{n}:{}", 1000 + u16::from(n)).parse().unwrap();
        seen.session = std::sync::Arc::new(session);
        let verdict = chain.on_connect(&mut seen).await;
        assert_eq!(chain.on_connect(&mut seen).await, verdict);
        verdicts.push(verdict);
    }
    let asked = verdicts.iter().filter(|verdict| **verdict == Verdict::Accept).count();
    assert!((15..45).contains(&asked), "{asked}");
}

#[tokio::test]
async fn what_a_shadow_remembers_is_not_what_the_same_plugin_decides_by() {
    let rig = Rig::new(Setup::default());
    let bindings = [shadow(json!({ "message": "kv" })), binding(json!({ "message": "kv" }))];
    let chain = rig.load("example.org", &bindings).await.unwrap();
    let mut seen = transaction("example.org");
    assert_eq!(chain.on_message(&mut seen, &mut content()).await, Verdict::Quarantine("Ok(5000)".to_owned()));
    assert_eq!(seen.calls[0].answer, "quarantine Ok(5000)");
}
