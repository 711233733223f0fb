//! A plugin that does something else: what is told, and where.

use crate::rig::{assert_told, bench, guest, hostile};
use plugin_test::{Bench, LoadReport};

#[tokio::test]
async fn what_was_expected_and_what_came_stand_below_each_other() {
    let report = hostile(
        "",
        r#"
[config]
message = "edit"
[[step]]
name = "nothing is changed"
hook = "on-message"
recipients = ["bob@example.org"]
mail = "Subject: old\n\nbody text\n"
[step.expect]
verdict = "reject"
code = 550
score = 0
added = []
headers = { Subject = "old" }
body-contains = "other"
kv = { gone = "1" }
log = ["warn: spam"]
metrics = { hits = 1 }
called = ["kv.get"]
not-called = ["message"]
max-fuel = 1
"#,
    )
    .await;
    assert_told(
        &report,
        &[
            "✗ nothing is changed  [on-message: pass]",
            "      verdict\n        expected reject\n        got      pass\n",
            "      code\n        expected 550\n        got      nothing\n",
            "      score\n        expected 0\n        got      150\n",
            "      added\n        expected none\n        got      X-Added: grün\n                 Subject: changed\n",
            "      headers.Subject\n        expected \"old\"\n        got      \"changed\"\n",
            "      body-contains\n        expected … \"other\" …\n        got      \"body text\\n\"",
            "      kv.\"gone\"\n        expected \"1\"\n        got      nothing; the keys are none\n",
            "      log\n        expected … warn: spam …\n        got      none\n",
            "      metrics.hits\n        expected 1\n        got      nothing\n",
            "      called\n        expected kv.get\n",
            "      not-called\n        expected no message\n",
            "      max-fuel\n        expected 1\n",
            "      + X-Added: =?utf-8?B?Z3LDvG4=?=\n",
            "case.toml:",
        ],
    );
}

#[tokio::test]
async fn a_failure_that_nobody_expects_fails_the_step_though_its_policy_lets_mail_through() {
    let case =
        "[config]\nmessage = \"trap\"\n[[step]]\nhook = \"on-message\"\nmail = \"\"\nexpect = { verdict = \"pass\" }\n";
    let report = hostile("on-failure = \"pass\"", case).await;
    assert_told(
        &report,
        &["failure\n        expected an answer\n        got      trap: ", "in hostile::deeds::perform"],
    );
}

#[tokio::test]
async fn a_hook_that_is_not_exported_is_told_with_those_that_are() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("case.toml");
    let text = "[[step]]\nhook = \"on-message\"\nmail = \"\"\nexpect = { verdict = \"pass\" }\n";
    std::fs::write(&file, text).unwrap();
    let scenario = plugin_test::Scenario::read(&file).unwrap();
    let report = plugin_test::run(&bench("split_route"), &scenario).await;
    if report.load == LoadReport::Loaded {
        assert_told(&report, &["expected on-message", "the component exports on-route"]);
    } else {
        // It wants routes.
        assert_told(&report, &["✗ load", "it refuses its configuration"]);
    }
}

#[tokio::test]
async fn a_load_is_expected_to_fail_or_not() {
    let refused = hostile("", "[config]\nsetup = \"refuse\"\n[expect-load]\nerror = \"delay: expected\"\n").await;
    assert!(refused.holds(), "{:?}", refused.load);
    let LoadReport::Refused { reason } = &refused.load else { panic!("{:?}", refused.load) };
    assert!(reason.contains("it refuses its configuration"));
    let other = hostile("", "[config]\nsetup = \"refuse\"\n[expect-load]\nerror = \"word\"\n").await;
    assert_told(&other, &["✗ load", "expected … word …", "got      it refuses its configuration: delay: expected"]);
    let loads = hostile("", "[expect-load]\nerror = \"word\"\n").await;
    assert_told(&loads, &["expected … word …", "got      it loads"]);
    let step = "[config]\nsetup = \"refuse\"\n[[step]]\nhook = \"on-online\"\nexpect = { verdict = \"hold\" }\n";
    assert_told(&hostile("", step).await, &["expected it loads", "got      it refuses its configuration"]);
}

#[tokio::test]
async fn requests_to_servers_that_the_scenario_does_not_have_are_told() {
    let case = "[config]\nmessage = \"http\"\nurl = \"http://127.0.0.1:11333/other\"\n[[step]]\nhook = \"on-message\"\nmail = \"\"\nexpect = { verdict = \"pass\" }\n";
    let report = hostile("grant = \"http://127.0.0.1:11333\"", case).await;
    assert_told(&report, &["no [[http]] fits GET http://127.0.0.1:11333/other"]);
}

#[tokio::test]
async fn what_is_no_component_is_told_before_any_scenario() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("core.wasm");
    std::fs::write(&file, b"\0asm\x01\0\0\0").unwrap();
    let told = Bench::new(&file, &dir.path().join("cache")).inspect().await.unwrap_err();
    assert!(told.to_string().contains("core WebAssembly module"), "{told}");
    let inspected = Bench::new(&guest("hostile"), &dir.path().join("cache")).inspect().await.unwrap();
    assert!(inspected.hooks.contains(&"on-event"));
}
