//! Recorded mail through a plugin again.

use crate::rig::bench;
use bytes::Bytes;
use journal::recorded::{Recorded, RecordedRecipient, RecordedSession, VERSION};
use mail::{CallRecord, Content, Hook, MailId, Mode, Recipient, Reply, ReversePath, Spent, Timestamp};
use plugin_host::Limits;
use plugin_test::{
    Plugin, Setting,
    replay::{Against, Compared, replay},
};
use std::time::Duration;

fn recorded(calls: Vec<CallRecord>) -> (Recorded, Content) {
    let recipient = |local: &str, reply: Reply| RecordedRecipient {
        recipient: Recipient::new(format!("{local}@example.org").parse().unwrap()),
        reply,
    };
    let recorded = Recorded {
        version: VERSION,
        id: MailId::from_u128(7),
        received_at: Timestamp::from_secs(1_772_323_200),
        domain: "example.org".parse().unwrap(),
        session: RecordedSession {
            listener: "127.0.0.1:25".to_owned(),
            peer: "192.0.2.7:4000".parse().unwrap(),
            peer_name: None,
            helo: Some("client.example".to_owned()),
            tls_version: None,
            auth_user: None,
        },
        sender: ReversePath::Null,
        mail_params: Vec::new(),
        recipients: vec![
            recipient("bob", Reply::fixed(250, (2, 1, 5), "ok")),
            recipient("nobody", Reply::fixed(550, (5, 1, 1), "nobody here")),
        ],
        authenticity: mail::Authenticity::default(),
        attributes: [("seen".to_owned(), "1".to_owned())].into(),
        calls,
        answer: Reply::fixed(250, (2, 0, 0), "ok"),
    };
    (recorded, Content::new(Bytes::from_static(b"Subject: hello\r\nX-Gone: x\r\n\r\nbody\r\n")))
}

fn call(hook: Hook, answer: &str, edits: &[&str]) -> CallRecord {
    CallRecord {
        about: None,
        plugin: "hostile".to_owned(),
        version: None,
        hook,
        mode: Mode::Active,
        at: Timestamp::from_secs(1),
        answer: answer.to_owned(),
        failure: None,
        edits: edits.iter().map(|edit| (*edit).to_owned()).collect(),
        spent: Spent::default(),
        host_calls: Vec::new(),
    }
}

async fn loaded(config: serde_json::Value) -> Plugin {
    let mut setting = Setting::new("example.org".parse().unwrap());
    setting.config = config;
    setting.plugin.limits = Limits { time: Duration::from_secs(60), cpu: Duration::from_secs(30), ..Limits::default() };
    bench("hostile").load(&setting).await.unwrap()
}

fn differing(compared: &[Compared]) -> Vec<&Compared> {
    compared.iter().filter(|one| one.differs()).collect()
}

#[tokio::test]
async fn what_is_answered_as_then_does_not_differ_and_the_clock_is_that_of_the_mail() {
    let then = vec![
        call(Hook::OnRecipient, "pass", &[]),
        call(Hook::OnRecipient, "pass", &[]),
        call(Hook::OnMessage, "quarantine 1772323200", &[]),
    ];
    let (mail, content) = recorded(then);
    let plugin = loaded(serde_json::json!({ "message": "time" })).await;
    let compared = replay(&plugin, &Against::Recorded { plugin: "hostile" }, &mail, &content).await;
    let answers: Vec<&str> = compared.iter().map(|one| one.now.as_ref().unwrap().answer.as_str()).collect();
    assert_eq!(answers.len(), 3, "{compared:?}");
    assert!(answers[2].contains("1772323200"), "{answers:?}");
    assert_eq!(compared[1].recipient.as_deref(), Some("nobody@example.org"));
    let answer_then = answers[2].to_owned();
    let then = vec![
        call(Hook::OnRecipient, "pass", &[]),
        call(Hook::OnRecipient, "pass", &[]),
        call(Hook::OnMessage, &answer_then, &[]),
    ];
    let (mail, content) = recorded(then);
    let compared = replay(&plugin, &Against::Recorded { plugin: "hostile" }, &mail, &content).await;
    assert!(differing(&compared).is_empty(), "{compared:?}");
}

#[tokio::test]
async fn other_answers_and_other_edits_are_told_apart() {
    let (mail, content) = recorded(Vec::new());
    let old = loaded(serde_json::json!({ "message": "" })).await;
    let edits = loaded(serde_json::json!({ "message": "edit" })).await;
    let compared = replay(&edits, &Against::Other(&old), &mail, &content).await;
    let found = differing(&compared);
    assert_eq!(found.len(), 1, "{compared:?}");
    assert!(!found[0].answer_differs());
    assert!(found[0].now.as_ref().unwrap().edits.iter().any(|edit| edit == "+ Subject: changed"));
    let refuses = loaded(serde_json::json!({ "message": "reject" })).await;
    let compared = replay(&refuses, &Against::Other(&old), &mail, &content).await;
    assert!(differing(&compared)[0].answer_differs());
}

#[tokio::test]
async fn a_call_that_was_not_recorded_is_told() {
    let (mail, content) = recorded(vec![call(Hook::OnRecipient, "pass", &[])]);
    let plugin = loaded(serde_json::json!({})).await;
    let compared = replay(&plugin, &Against::Recorded { plugin: "hostile" }, &mail, &content).await;
    let new: Vec<Hook> = differing(&compared).iter().filter(|one| one.was.is_none()).map(|one| one.hook).collect();
    assert_eq!(new, [Hook::OnRecipient, Hook::OnMessage]);
}

#[tokio::test]
async fn recipients_that_another_plugin_answered_for_are_not_asked_about_again() {
    let about =
        |whom: &str, mode| CallRecord { about: Some(whom.to_owned()), mode, ..call(Hook::OnRecipient, "pass", &[]) };
    let (mail, content) = recorded(vec![
        about("bob@example.org", Mode::Shadow),
        about("nobody@example.org", Mode::Shadow),
        about("nobody@example.org", Mode::Active),
        call(Hook::OnMessage, "pass", &[]),
    ]);
    let plugin = loaded(serde_json::json!({})).await;
    let compared = replay(&plugin, &Against::Recorded { plugin: "hostile" }, &mail, &content).await;
    let whom: Vec<_> = compared.iter().map(|one| (one.hook, one.recipient.as_deref())).collect();
    assert_eq!(whom, [(Hook::OnRecipient, Some("nobody@example.org")), (Hook::OnMessage, None)]);
    assert!(differing(&compared).is_empty(), "{compared:?}");
}
