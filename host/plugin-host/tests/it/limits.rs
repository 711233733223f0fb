//! Every misbehaviour in every hook: it ends, in time, in what the policy says; and what all guests share is bounded.

use crate::rig::{Rig, Setup, binding, connection, content, delivery, event, judge, mailbox, transaction};
use mail::{Binding, CallRecord, Chain, Hook, Isolation, OfflineAction, Routing, Verdict};
use plugin_host::{Grant, Limits, PoolLimits};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// A deed, and the kind of failure that it is.
const DEEDS: [(&str, &str); 11] = [
    ("loop", "cpu"),
    ("trap", "trap"),
    ("exit", "trap"),
    ("recursion", "trap"),
    ("memory", "memory"),
    ("handles", "trap"),
    ("host-bytes", "trap"),
    ("gigabyte", "trap"),
    ("sleep", "time"),
    // A server that takes the request and is silent.
    ("http", "time"),
    ("hash", "cpu"),
];

fn key(hook: Hook) -> &'static str {
    match hook {
        Hook::OnConnect => "connect",
        Hook::OnRecipient => "recipient",
        Hook::OnMessage => "message",
        Hook::OnRoute => "route",
        Hook::OnOffline => "offline",
        Hook::OnOnline => "online",
        Hook::OnEvent => "event",
    }
}

/// The code of the answer before 250; afterwards whether the gateway does what it would do without plugins.
async fn fate(chain: &dyn Chain, hook: Hook) -> (u16, Vec<CallRecord>) {
    let code = |verdict| match verdict {
        Verdict::TempFail(reply) | Verdict::Reject(reply) => reply.code,
        other => panic!("{other:?}"),
    };
    let (mut seen, mut mail, mut calls) = (transaction("example.org"), content(), Vec::new());
    match hook {
        Hook::OnConnect => {
            let mut connection = connection();
            (code(chain.on_connect(&mut connection).await), connection.calls)
        }
        Hook::OnRecipient => (code(chain.on_recipient(&mut seen, &mailbox("dan@example.org")).await), seen.calls),
        Hook::OnMessage => {
            let code = code(chain.on_message(&mut seen, &mut mail).await);
            assert_eq!((mail, seen.recipients.len()), (content(), 2), "nothing is changed, and the facts come back");
            (code, seen.calls)
        }
        Hook::OnRoute | Hook::OnOffline => {
            let mut facts = delivery(content());
            let is_default = if hook == Hook::OnRoute {
                chain.on_route(&mut facts).await == Routing::Default
            } else {
                let failure = mail::Failure::new(mail::FailureKind::Connect, None, "refused");
                chain.on_offline(&mut facts, &failure).await == OfflineAction::Default
            };
            (if is_default { 250 } else { 0 }, facts.calls)
        }
        Hook::OnOnline => (if chain.on_online(1, &mut calls).await { 250 } else { 0 }, calls),
        Hook::OnEvent => {
            chain.on_event(&event(None), &mut calls).await;
            (250, calls)
        }
    }
}

#[tokio::test]
async fn every_misbehaviour_in_every_hook_ends_in_the_stated_policy() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut grants = Setup::default().grants;
    grants.push(url.parse().unwrap());
    // Each deed runs into the one limit that it is about.
    let patient = Limits { cpu: Duration::from_secs(10), ..Setup::default().limits };
    let rig = |limits| Rig::new(Setup { limits, grants: grants.clone(), ..Setup::default() });
    let short = Duration::from_secs(3);
    let busy = rig(Limits { cpu: Duration::from_millis(40), work: 50 << 10, time: short, ..patient.clone() });
    let slow = rig(Limits { time: Duration::from_millis(150), ..patient.clone() });
    let other = rig(patient);
    for (deed, kind) in DEEDS {
        let rig = match kind {
            "cpu" => &busy,
            "time" => &slow,
            _ => &other,
        };
        for hook in Hook::ALL {
            // Only where there is a mail to hash.
            if deed == "hash" && !matches!(hook, Hook::OnMessage | Hook::OnRoute | Hook::OnOffline) {
                continue;
            }
            let mut config = json!({ "url": url });
            config[key(hook)] = json!(deed);
            let chain = rig.chain(config).await;
            let (code, calls) = fate(&*chain, hook).await;
            let before_250 = matches!(hook, Hook::OnConnect | Hook::OnRecipient | Hook::OnMessage);
            assert_eq!(code, if before_250 { 451 } else { 250 }, "{deed} in {hook:?}");
            let failure = calls[0].failure.as_ref();
            let told = failure.map_or("", |failure| failure.kind.as_str());
            // What runs long computes while nothing else wants the processor: on a busy machine its time is over first.
            let is_told = told == kind || (kind == "cpu" && told == "time");
            assert!(is_told, "{deed} in {hook:?}: {calls:?}");
            assert_eq!(rig.host.status().last().unwrap().warm, 0, "the instance is thrown away");
        }
    }
}

#[tokio::test]
async fn nothing_of_one_mail_is_found_at_the_next() {
    let rig = Rig::new(Setup::default());
    let chain = rig.chain(json!({ "message": "leak" })).await;
    for _ in 0..3 {
        assert!(matches!(judge(&*chain).await, Verdict::Reject(_)));
    }
}

#[tokio::test]
async fn idle_instances_make_room_where_the_memory_for_all_is_used_up() {
    let pool = PoolLimits { memory: 4 << 20, ..Setup::default().pool };
    let rig = Rig::new(Setup { pool, ..Setup::default() });
    let mut chains = Vec::new();
    for n in 0..8 {
        let domain = format!("d{n}.example");
        chains.push((rig.load(&domain, &[binding(json!({ "message": "accept" }))]).await.unwrap(), domain));
    }
    for (chain, domain) in &chains {
        assert_eq!(chain.on_message(&mut transaction(domain), &mut content()).await, Verdict::Accept);
    }
    let warm: usize = rig.host.status().iter().map(|status| status.warm).sum();
    assert!((1..8).contains(&warm), "{warm}");
}

#[tokio::test]
async fn a_call_waits_for_memory_and_gives_up_without_blaming_the_plugin() {
    let limits = Limits { time: Duration::from_millis(400), ..Setup::default().limits };
    let pool = PoolLimits { memory: 3 << 20, ..Setup::default().pool };
    let rig = Rig::new(Setup { limits, pool, ..Setup::default() });
    let sleeper = rig.load("sleep.example", &[binding(json!({ "message": "sleep" }))]).await.unwrap();
    let other = rig.chain(json!({ "message": "accept" })).await;
    let mut seen = transaction("example.org");
    let (mut slept, mut mail, mut content) = (transaction("sleep.example"), content(), content());
    let sleeping = sleeper.on_message(&mut slept, &mut mail);
    let asking = async {
        // The sleeper has started once it has been asked.
        let status = || rig.host.memory_in_use();
        while status() == 0 {
            tokio::task::yield_now().await;
        }
        other.on_message(&mut seen, &mut content).await
    };
    let (_, verdict) = tokio::join!(sleeping, asking);
    let kind = seen.calls[0].failure.as_ref().map(|failure| failure.kind.as_str());
    assert!(verdict == Verdict::Accept || kind == Some("busy"), "{verdict:?} {kind:?}");
    assert_eq!(judge(&*other).await, Verdict::Accept, "when the sleeper is gone");
}

#[tokio::test]
async fn a_fresh_instance_knows_nothing_of_the_one_before() {
    let rig = Rig::new(Setup { grants: vec![Grant::Config], ..Setup::default() });
    let isolated = Binding { isolation: Isolation::Transaction, ..binding(json!({ "message": "count" })) };
    let chain: Arc<dyn Chain> = rig.load("example.org", &[isolated]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(judge(&*chain).await, Verdict::Quarantine("1".to_owned()));
    }
}
