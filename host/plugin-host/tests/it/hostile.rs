//! One misbehaviour, one test: the mail's fate is the stated policy, and others don't notice.

use crate::rig::{Rig, Setup, binding, content, failing, judge, mailbox, transaction};
use mail::{ChainSource, Isolation, OnFailure, Verdict};
use plugin_host::{Limits, PoolLimits};
use serde_json::json;
use std::time::Duration;

fn code(verdict: &Verdict) -> u16 {
    match verdict {
        Verdict::TempFail(reply) | Verdict::Reject(reply) => reply.code,
        _ => 0,
    }
}

/// Asks for the deed in on-message; its policy is the default, a tempfail, and its edits are gone.
async fn tempfails(setup: Setup, deed: &str) {
    let rig = Rig::new(setup);
    let chain = rig.chain(json!({ "message": deed })).await;
    let (mut lent, mut mail) = (transaction("example.org"), content());
    let verdict = chain.on_message(&mut lent, &mut mail).await;
    assert_eq!(code(&verdict), 451, "{verdict:?}");
    assert_eq!((lent.recipients.len(), lent.id), (2, transaction("example.org").id), "the facts come back");
    assert_eq!(mail, content());
    assert_eq!(rig.host.status()[0].warm, 0, "the instance is thrown away");
}

#[tokio::test]
async fn an_endless_loop_is_stopped_by_its_cpu_budget() {
    tempfails(Setup::default(), "loop").await;
}

#[tokio::test]
async fn a_trap_is_a_tempfail() {
    tempfails(Setup::default(), "trap").await;
}

#[tokio::test]
async fn endless_recursion_ends_with_the_stack() {
    tempfails(Setup::default(), "recursion").await;
}

#[tokio::test]
async fn memory_ends_at_its_limit() {
    tempfails(Setup::default(), "memory").await;
}

#[tokio::test]
async fn a_million_handles_are_not_given() {
    tempfails(Setup::default(), "handles").await;
}

#[tokio::test]
async fn too_many_bytes_for_one_host_call_are_not_taken() {
    tempfails(Setup::default(), "host-bytes").await;
}

#[tokio::test]
async fn a_guest_that_exits_ends_only_itself() {
    tempfails(Setup::default(), "exit").await;
}

#[tokio::test]
async fn a_guest_that_sleeps_is_stopped_by_the_clock_on_the_wall() {
    let limits = Limits { time: Duration::from_millis(300), ..Setup::default().limits };
    tempfails(Setup { limits, ..Setup::default() }, "sleep").await;
}

#[tokio::test]
async fn replies_that_make_no_sense_are_a_failure() {
    for deed in ["bad-code", "wrong-class", "inject-reply"] {
        tempfails(Setup::default(), deed).await;
    }
}

#[tokio::test]
async fn a_header_field_cannot_be_injected() {
    let rig = Rig::new(Setup::default());
    assert_eq!(judge(&*rig.chain(json!({ "message": "inject-header" })).await).await, Verdict::Accept);
}

#[tokio::test]
async fn floods_of_log_lines_are_cut_and_harm_nobody() {
    let rig = Rig::new(Setup {
        limits: Limits { cpu: Duration::from_secs(10), ..Setup::default().limits },
        ..Setup::default()
    });
    for deed in ["log", "print"] {
        assert_eq!(judge(&*rig.chain(json!({ "message": deed })).await).await, Verdict::Pass);
    }
}

#[tokio::test]
async fn a_failure_becomes_what_its_policy_says() {
    let rig = Rig::new(Setup::default());
    let policies =
        [(OnFailure::Pass, 0), (OnFailure::TempFail, 451), (OnFailure::Reject, 554), (OnFailure::Quarantine, 0)];
    for (policy, expected) in policies {
        let chain = rig.load("example.org", &[failing(json!({ "message": "trap" }), policy)]).await.unwrap();
        let verdict = judge(&*chain).await;
        assert_eq!(code(&verdict), expected);
        assert_eq!(verdict == Verdict::Pass, policy == OnFailure::Pass);
        assert_eq!(matches!(verdict, Verdict::Quarantine(_)), policy == OnFailure::Quarantine);
    }
}

#[tokio::test]
async fn a_failure_on_recipient_is_a_tempfail_too() {
    let rig = Rig::new(Setup::default());
    let chain = rig.chain(json!({ "recipient": "trap" })).await;
    let verdict = chain.on_recipient(&mut transaction("example.org"), &mailbox("dan@example.org")).await;
    assert_eq!(code(&verdict), 451);
}

// A single thread: were the loop not preempted, the other domain's call would never be polled.
#[tokio::test(flavor = "current_thread")]
async fn another_domain_is_served_while_one_loops() {
    let limits = Limits { cpu: Duration::from_secs(15), ..Setup::default().limits };
    let rig = Rig::new(Setup { limits, ..Setup::default() });
    let looping = rig.load("loop.example", &[binding(json!({ "message": "loop" }))]).await.unwrap();
    let other = rig.chain(json!({ "message": "accept" })).await;
    let stuck = tokio::spawn(async move { looping.on_message(&mut transaction("loop.example"), &mut content()).await });
    tokio::task::yield_now().await;
    for _ in 0..20 {
        assert_eq!(judge(&*other).await, Verdict::Accept);
    }
    assert!(!stuck.is_finished());
    stuck.abort();
}

#[tokio::test(flavor = "current_thread")]
async fn a_domain_cannot_take_the_slots_of_others() {
    let limits = Limits { time: Duration::from_secs(60), cpu: Duration::from_secs(50), ..Setup::default().limits };
    let pool = PoolLimits { instances: 8, calls_per_domain: 2, ..Setup::default().pool };
    let rig = Rig::new(Setup { limits, pool, ..Setup::default() });
    let greedy = rig.load("greedy.example", &[binding(json!({ "message": "sleep" }))]).await.unwrap();
    let stuck: Vec<_> = (0..50)
        .map(|_| {
            let greedy = greedy.clone();
            tokio::spawn(async move { greedy.on_message(&mut transaction("greedy.example"), &mut content()).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let other = rig.chain(json!({ "message": "accept" })).await;
    assert_eq!(judge(&*other).await, Verdict::Accept);
    assert!(stuck.iter().all(|task| !task.is_finished()));
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_call_that_finds_no_turn_in_time_is_a_tempfail() {
    let limits = Limits { time: Duration::from_millis(300), ..Setup::default().limits };
    let pool = PoolLimits { calls_per_domain: 1, ..Setup::default().pool };
    let rig = Rig::new(Setup { limits, pool, ..Setup::default() });
    let chain = rig.chain(json!({ "message": "sleep" })).await;
    let (mut a, mut b, mut c) = (transaction("example.org"), transaction("example.org"), transaction("example.org"));
    let (mut x, mut y, mut z) = (content(), content(), content());
    let verdicts = tokio::join!(
        chain.on_message(&mut a, &mut x),
        chain.on_message(&mut b, &mut y),
        chain.on_message(&mut c, &mut z)
    );
    assert_eq!([code(&verdicts.0), code(&verdicts.1), code(&verdicts.2)], [451; 3]);
}

#[tokio::test]
async fn more_domains_than_slots_are_served_one_after_the_other() {
    let pool = PoolLimits { instances: 4, ..Setup::default().pool };
    let rig = Rig::new(Setup { pool, ..Setup::default() });
    let mut chains = Vec::new();
    for n in 0..12 {
        let domain = format!("d{n}.example");
        chains.push((rig.load(&domain, &[binding(json!({ "message": "accept" }))]).await.unwrap(), domain));
    }
    for (chain, domain) in &chains {
        assert_eq!(chain.on_message(&mut transaction(domain), &mut content()).await, Verdict::Accept);
    }
}

#[tokio::test]
async fn an_instance_is_kept_for_its_domain_and_never_shared() {
    let rig = Rig::new(Setup::default());
    let count = json!({ "message": "count" });
    let (one, two) =
        (rig.chain(count.clone()).await, rig.load("two.example", &[binding(count.clone())]).await.unwrap());
    let seen = |n: u32| Verdict::Quarantine(n.to_string());
    assert_eq!(judge(&*one).await, seen(1));
    assert_eq!(judge(&*one).await, seen(2));
    assert_eq!(two.on_message(&mut transaction("two.example"), &mut content()).await, seen(1));
    let isolated = mail::Binding { isolation: Isolation::Transaction, ..binding(count) };
    let chain = rig.load("example.org", &[isolated]).await.unwrap();
    assert_eq!((judge(&*chain).await, judge(&*chain).await), (seen(1), seen(1)));
}

#[tokio::test]
async fn an_instance_is_replaced_after_its_uses() {
    let rig = Rig::new(Setup { pool: PoolLimits { uses: 3, ..Setup::default().pool }, ..Setup::default() });
    let chain = rig.chain(json!({ "message": "count" })).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let Verdict::Quarantine(count) = judge(&*chain).await else { panic!() };
        seen.push(count);
    }
    assert_eq!(seen, ["1", "2", "3", "1", "2"]);
}

#[tokio::test]
async fn idle_instances_are_dropped() {
    let pool = PoolLimits { idle: Duration::from_millis(1), ..Setup::default().pool };
    let rig = Rig::new(Setup { pool, ..Setup::default() });
    let chain = rig.chain(json!({ "message": "accept" })).await;
    assert_eq!(judge(&*chain).await, Verdict::Accept);
    let gone = async {
        while rig.host.status()[0].warm > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
}

#[tokio::test]
async fn state_is_kept_apart_by_domain() {
    let rig = Rig::new(Setup {
        limits: Limits { cpu: Duration::from_secs(10), ..Setup::default().limits },
        ..Setup::default()
    });
    for domain in ["one.example", "two.example"] {
        let chain = rig.load(domain, &[binding(json!({ "message": "kv" }))]).await.unwrap();
        let verdict = chain.on_message(&mut transaction(domain), &mut content()).await;
        assert_eq!(verdict, Verdict::Quarantine("Ok(5000)".to_owned()));
    }
}

#[tokio::test]
async fn the_abandoned_call_of_a_caller_that_left_harms_nothing() {
    let rig = Rig::new(Setup {
        limits: Limits { cpu: Duration::from_secs(10), ..Setup::default().limits },
        ..Setup::default()
    });
    let source: &dyn ChainSource = &*rig.host;
    let domain = "example.org".parse().unwrap();
    let bindings = [binding(json!({ "message": "loop" })), binding(json!({ "message": "accept" }))];
    let chain = source.load(&domain, None, &bindings[..1]).await.unwrap();
    let (mut lent, mut mail) = (transaction("example.org"), content());
    let left = tokio::time::timeout(Duration::from_millis(50), chain.on_message(&mut lent, &mut mail)).await;
    assert!(left.is_err());
    let chain = source.load(&domain, None, &bindings[1..]).await.unwrap();
    assert_eq!(judge(&*chain).await, Verdict::Accept);
}
