//! What plugins read and change in the session: envelope, message, notes; and how a chain goes on.

use crate::rig::{NOW, Rig, Setup, binding, content, judge, mailbox, transaction};
use mail::{HookSet, ReversePath, Verdict};
use plugin_host::{Grant, MetricValue};
use serde_json::json;

#[tokio::test]
async fn a_message_is_read_in_ranges_and_decoded_by_the_host() {
    let rig = Rig::new(Setup::default());
    let Verdict::Quarantine(facts) = judge(&*rig.chain(json!({ "message": "read" })).await).await else { panic!() };
    let at = String::from_utf8(content().to_bytes().to_vec()).unwrap().find("body").unwrap();
    let expected = format!(
        "grün|2|1|text/plain|body|{at}|Received|32|alice@example.com|bob@example.org,carol@example.org|192.0.2.7|\
         Err(Error::Limit(\"one call reads at most 16777216 bytes\"))"
    );
    assert_eq!(facts, expected);
}

#[tokio::test]
async fn edits_count_when_the_verdict_lets_the_mail_through() {
    let rig = Rig::new(Setup::default());
    for (then, kept) in [("", true), ("accept", true), ("count", true), ("reject", false), ("trap", false)] {
        let chain = rig.chain(json!({ "message": "edit", "then": then })).await;
        let (mut seen, mut mail) = (transaction("example.org"), content());
        let verdict = chain.on_message(&mut seen, &mut mail).await;
        if let Verdict::Quarantine(reason) = &verdict {
            assert_eq!(reason, "1", "the deed went wrong");
        }
        let mail = String::from_utf8(mail.to_bytes().to_vec()).unwrap();
        assert_eq!(mail.starts_with("X-Added: =?utf-8?B?Z3LDvG4=?=\r\n"), kept, "{then}: {verdict:?} {mail}");
        assert_eq!(mail.contains("Subject: changed"), kept);
        assert_eq!(mail.contains("X-Gone"), !kept);
        assert_eq!(seen.score, if kept { 150 } else { 0 });
        assert_eq!(seen.symbols.len(), usize::from(kept));
        assert_eq!(seen.attributes.contains_key("seen"), kept);
        assert_eq!(seen.sender == ReversePath::Null, kept);
        let recipients: Vec<&str> = seen.recipients.iter().map(|r| r.address.as_str()).collect();
        let expected =
            if kept { ["carol@example.org", "more@example.org"] } else { ["bob@example.org", "carol@example.org"] };
        assert_eq!(recipients, expected);
    }
}

#[tokio::test]
async fn the_next_plugin_sees_what_the_one_before_changed() {
    let rig = Rig::new(Setup::default());
    let bindings = [binding(json!({ "message": "edit" })), binding(json!({ "message": "read" }))];
    let chain = rig.load("example.org", &bindings).await.unwrap();
    let Verdict::Quarantine(facts) = judge(&*chain).await else { panic!() };
    assert!(facts.starts_with("changed|2|"), "{facts}");
    assert!(facts.contains("||carol@example.org,more@example.org|"), "{facts}");
}

#[tokio::test]
async fn accept_ends_the_stage_and_pass_goes_on() {
    let rig = Rig::new(Setup::default());
    let (pass, accept, reject) =
        (json!({ "message": "" }), json!({ "message": "accept" }), json!({ "message": "reject" }));
    let chain = rig.load("example.org", &[binding(pass.clone()), binding(reject.clone())]).await.unwrap();
    assert!(matches!(judge(&*chain).await, Verdict::Reject(_)));
    let chain = rig.load("example.org", &[binding(accept), binding(reject)]).await.unwrap();
    assert_eq!(judge(&*chain).await, Verdict::Accept);
    assert_eq!(judge(&*rig.chain(pass).await).await, Verdict::Pass);
}

#[tokio::test]
async fn a_recipient_is_judged_by_its_address() {
    let rig = Rig::new(Setup::default());
    let chain = rig.chain(json!({ "recipient": "tempfail" })).await;
    let mut seen = transaction("example.org");
    let Verdict::TempFail(reply) = chain.on_recipient(&mut seen, &mailbox("dan@example.org")).await else { panic!() };
    assert_eq!(reply.to_string(), "450 4.7.1 dan@example.org");
    assert_eq!(seen.recipients.len(), 2);
}

#[tokio::test]
async fn calls_outside_their_hooks_are_refused_and_never_trap() {
    let rig = Rig::new(Setup::default());
    let chain = rig.chain(json!({ "recipient": "outside" })).await;
    let verdict = chain.on_recipient(&mut transaction("example.org"), &mailbox("dan@example.org")).await;
    assert_eq!(verdict, Verdict::Accept);
}

#[tokio::test]
async fn what_is_not_granted_is_denied() {
    let rig = Rig::new(Setup { grants: vec![Grant::Config], ..Setup::default() });
    let verdict = judge(&*rig.chain(json!({ "message": "denied" })).await).await;
    assert_eq!(verdict, Verdict::Quarantine("Err(Error::Denied)|Err(Error::Denied)".to_owned()));
    assert!(rig.host.metrics().is_empty());
}

#[tokio::test]
async fn dns_without_a_resolver_is_unavailable() {
    let rig = Rig::new(Setup { grants: Grant::WORDS.to_vec(), ..Setup::default() });
    let chain = rig.chain(json!({ "message": "denied" })).await;
    let Verdict::Quarantine(answers) = judge(&*chain).await else { panic!() };
    assert_eq!(answers, "Ok(None)|Err(Error::Unavailable(\"no resolver is configured\"))");
    assert_eq!(rig.host.metrics()[0].value, MetricValue::Count(1));
}

#[tokio::test]
async fn the_time_of_day_is_the_hosts() {
    let rig = Rig::new(Setup::default());
    let verdict = judge(&*rig.chain(json!({ "message": "time" })).await).await;
    assert_eq!(verdict, Verdict::Quarantine(NOW.to_string()));
}

#[tokio::test]
async fn secrets_are_given_by_name_only() {
    let rig = Rig::new(Setup::default());
    let chain = rig.chain(json!({ "message": "secret", "secrets": { "key": "s3cret" } })).await;
    assert_eq!(judge(&*chain).await, Verdict::Quarantine("Some(\"s3cret\") {\"message\":\"secret\"}".to_owned()));
}

#[tokio::test]
async fn a_chain_tells_which_hooks_it_has() {
    let rig = Rig::new(Setup::default());
    let all = HookSet {
        on_connect: true,
        on_recipient: true,
        on_message: true,
        on_route: true,
        on_offline: true,
        on_online: true,
        on_event: true,
    };
    assert_eq!(rig.chain(json!({})).await.hooks(), all);
    let empty = rig.load("example.org", &[]).await.unwrap();
    assert_eq!(empty.hooks(), HookSet::default());
    assert_eq!(judge(&*empty).await, Verdict::Pass);
}
