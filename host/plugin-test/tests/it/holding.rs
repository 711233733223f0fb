//! Every hook, and every kind of expectation, where the plugin does what its scenario says.

use crate::rig::{assert_holds, hostile};

#[tokio::test]
async fn a_mail_and_its_envelope_are_compared_after_the_call() {
    let report = hostile(
        "",
        r#"
[config]
message = "edit"
[[step]]
hook = "on-message"
sender = "alice@client.example"
recipients = ["bob@example.org", "carol@example.org"]
mail = "Subject: old\nX-Gone: x\n\nbody text\n"
[step.expect]
verdict = "pass"
score = 150
symbols = { HOSTILE = 150 }
sender = ""
recipients = ["carol@example.org", "more@example.org"]
attributes = { seen = "yes", other = false }
added = ["X-Added: grün", "Subject: changed"]
removed = ["Subject: old", "X-Gone: x"]
headers = { Subject = "changed", X-Gone = false }
body = "body text\n"
body-contains = "text"
called = ["message.add-header", "transaction"]
not-called = ["kv"]
max-memory = "64 MiB"
log = []
"#,
    )
    .await;
    assert_holds(&report);
    let call = report.steps[0].call.as_ref().unwrap();
    assert!(call.spent.fuel.is_some_and(|fuel| fuel > 0) && call.spent.peak_memory > 0, "{:?}", call.spent);
}

#[tokio::test]
async fn every_hook_can_be_asked() {
    let report = hostile(
        "",
        r#"
[config]
connect = "facts"
recipient = "tempfail"
route = "rewrite"
to = "other@example.org"
offline = "tell"
online = "unless-few"
event = "keep"
message = "reject"

[[step]]
hook = "on-connect"
peer-ip = "192.0.2.9"
[step.expect]
verdict = "reject"
code = 554
text-contains = "192.0.2.9|[::]:25|None|"

[[step]]
hook = "on-recipient"
recipient = "bob@example.org"
[step.expect]
verdict = "tempfail"
code = 450
enhanced = "4.7.1"
text = "bob@example.org"

[[step]]
hook = "on-message"
mail = "Subject: hello\n\ntext\n"
[step.expect]
verdict = "reject"

[[step]]
hook = "on-route"
age = "1 h"
lifetime = "2 h"
[step.expect]
verdict = "rewrite"
address = "other@example.org"
expires-in = "1 h"

[[step]]
hook = "on-offline"
attempts = 3
offline-for = "10 min"
[step.failure]
kind = "tls"
detail = "no certificate"
next-hop = "mail.example.org:25"
reply = "454 4.7.0 not now"
[step.expect]
verdict = "hold"
reason = 'Kind::Tls|no certificate|Some("mail.example.org:25")|Some("not now")'

[[step]]
hook = "on-online"
held = 3
[step.expect]
verdict = "release"

[[step]]
hook = "on-online"
held = 30
[step.expect]
verdict = "hold"

[[step]]
hook = "on-event"
at = "10 s"
kind = "delivered"
recipient = "bob@example.org"
attributes = { seen = "yes" }
data = { next-hop = "mail.example.org:25" }
[step.expect.kv]
event = 'delivered|1767225610|{"next-hop":"mail.example.org:25"}|bob@example.org|yes|true'
"#,
    )
    .await;
    assert_holds(&report);
}

#[tokio::test]
async fn a_plugin_finds_the_world_that_its_scenario_describes() {
    let world = |message: &str, expect: &str| {
        format!(
            r#"
[config]
message = "{message}"
url = "http://127.0.0.1:11333/check"
[kv]
healed = "1"
[[http]]
url = "http://127.0.0.1:11333/check"
body = "all is well"
[[step]]
hook = "on-message"
mail = ""
[step.expect]
{expect}
"#
        )
    };
    let top = "grant = [\"http://127.0.0.1:11333\"]\nclock = 2026-03-01T00:00:00Z";
    for (message, expect) in [
        ("time", "verdict = \"quarantine\"\nreason = \"1772323200\""),
        ("break-unless-healed", "verdict = \"pass\"\nkv = { healed = \"1\" }"),
        ("http", "verdict = \"quarantine\"\nrequests = [\"GET http://127.0.0.1:11333/check\"]"),
        ("kv", "verdict = \"quarantine\"\nkv = { n = \"5000\" }"),
    ] {
        assert_holds(&hostile(top, &world(message, expect)).await);
    }
    let denied = world("denied", "verdict = \"quarantine\"\nmetrics = { n = 1 }");
    assert_holds(&hostile("deny = [\"kv\"]", &denied).await);
}

#[tokio::test]
async fn a_failure_can_be_what_is_expected_with_its_limit_and_its_policy() {
    let case = |limits: &str, message: &str, expect: &str| {
        format!(
            "[limits]\n{limits}\n[config]\nmessage = \"{message}\"\n[[step]]\nhook = \"on-message\"\nmail = \"\"\n[step.expect]\n{expect}\n"
        )
    };
    let patient = "time = \"60 s\"\ncpu = \"30 s\"";
    let trap = case(patient, "trap", "failure = \"trap\"\nverdict = \"tempfail\"\ncode = 451");
    assert_holds(&hostile("", &trap).await);
    let trap = case(patient, "trap", "failure = \"trap\"\nverdict = \"pass\"");
    assert_holds(&hostile("on-failure = \"pass\"", &trap).await);
    let endless = case("time = \"60 s\"\ncpu = \"50 ms\"", "loop", "failure = \"cpu\"");
    assert_holds(&hostile("", &endless).await);
    let large = case("time = \"60 s\"\ncpu = \"30 s\"\nmemory = \"8 MiB\"", "memory", "failure = \"memory\"");
    assert_holds(&hostile("", &large).await);
}

#[tokio::test]
async fn what_one_scenario_keeps_the_next_does_not_find() {
    let counting = "[config]\nmessage = \"kv\"\n[[step]]\nhook = \"on-message\"\nmail = \"\"\nexpect = { verdict = \"quarantine\", kv = { n = \"5000\" } }\n";
    let again = counting.replace("[config]\nmessage = \"kv\"\n", "").replace("5000", "10000");
    assert_holds(&hostile("", &format!("{counting}{again}")).await);
    assert_holds(&hostile("", counting).await);
}
