//! Scenario files as people write them, and as they get them wrong.

use super::*;
use mail::{Hook, ReversePath};

fn read(text: &str) -> Result<Scenario, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("case.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::write(dir.path().join("hello.eml"), "Subject: hello\n\ntext\n").unwrap();
    let told = |mistakes: Mistakes| mistakes.to_string().replace(&format!("{}/", dir.path().display()), "");
    Scenario::read(&file).map_err(told)
}

const FULL: &str = r#"
grant = ["dns", "http://127.0.0.1:11333"]
deny = ["kv"]
domain = "example.net"
clock = 2026-03-01T00:00:00Z
on-failure = "pass"

[config]
delay-s = "60"

[limits]
time = "1 s"

[kv]
seen = "1"

[dns."zen.example."]
a = ["127.0.0.2"]
mx = ["20 b.example", "10 a.example"]

[dns."192.0.2.1"]
ptr = "client.example"

[dnsbl."zen.example"]
"192.0.2.1" = "127.0.0.4"

[[http]]
method = "post"
url = "http://127.0.0.1:11333/checkv2"
json = { score = 1 }

[default]
helo = "client.example"
sender = "a@client.example"

[[step]]
name = "first"
hook = "on-recipient"
recipient = "b@example.net"
[step.expect]
verdict = "tempfail"
code = 451
kv = { seen = "1", gone = false, counted = { value = "2", ends-in = "1 d" } }

[[step]]
hook = "on-message"
at = "5 min"
sender = "<>"
message = "hello.eml"
fill-to = "1 KiB"
[step.expect]
verdict = "pass"
added = []
"#;

#[test]
fn a_scenario_reads_as_it_is_written() {
    let scenario = read(FULL).unwrap_or_else(|told| panic!("{told}"));
    assert_eq!(scenario.name(), "case");
    let setting = &scenario.setting;
    assert_eq!(setting.start.to_rfc3339(), "2026-03-01T00:00:00Z");
    let grants: Vec<String> = setting.plugin.grants.iter().map(ToString::to_string).collect();
    assert_eq!(grants, ["config", "log", "metrics", "dns", "http://127.0.0.1:11333"]);
    let crate::Names::Fake(dns) = &setting.dns else { panic!("the network is asked") };
    assert_eq!(dns.names["zen.example"].mx[0].1, "a.example");
    assert_eq!(dns.names["1.2.0.192.zen.example"].addresses, ["127.0.0.4".parse::<std::net::IpAddr>().unwrap()]);
    let [first, second] = &scenario.steps[..] else { panic!("two steps") };
    let line = FULL.lines().position(|line| line == "[[step]]").unwrap() + 1;
    assert_eq!((first.question.hook(), first.line, &*first.name), (Hook::OnRecipient, line, "first"));
    assert_eq!(first.expect.kv["gone"], None);
    assert_eq!((second.at, &*second.name), (Duration::from_secs(300), "step 2"));
    let Question::Message(transaction, content) = &second.question else { panic!("a message") };
    assert_eq!((&transaction.sender, content.len()), (&ReversePath::Null, 1024));
    assert_eq!(transaction.session.helo.as_deref(), Some("client.example"));
    assert_eq!(transaction.recipients[0].address.as_str(), "user@example.net");
}

#[test]
fn every_mistake_is_told_at_once_with_its_place_and_the_nearest_name() {
    let told = read(
        r#"
grants = ["dns"]
deny = "kvv"

[[step]]
hook = "on-recipient"
recipient = "b@elsewhere.example"
message = "hello.eml"
[step.expect]
verdict = "tempfial"
score = "high"
added = []

[[step]]
hook = "on-mesage"

[[step]]
at = "-1 s"
hook = "on-message"
message = "gone.eml"
[step.expect]
code = 451
"#,
    )
    .err()
    .unwrap();
    for expected in [
        "case.toml:2:1: unknown key `grants`\n   |\n 2 | grants = [\"dns\"]\n   | ^^^^^^\n   = did you mean `grant`?",
        "case.toml:3:8: `deny` cannot be \"kvv\"",
        "case.toml:7:13: `recipient`: b@elsewhere.example is no address of example.org",
        "case.toml:8:1: unknown key `message` in [[step]]",
        "case.toml:10:11: `verdict` cannot be \"tempfial\"",
        "did you mean \"tempfail\"?",
        "case.toml:11:9: `score` must be a whole number, not a string",
        "case.toml:12:1: unknown key `added` in [step.expect]",
        "case.toml:15:8: `hook` cannot be \"on-mesage\"",
        "did you mean \"on-message\"?",
        "case.toml:18:6: `at`: \"-1 s\" is not a duration",
        "case.toml:20:11: `message`: gone.eml",
        "`verdict` is missing in [step.expect]",
    ] {
        assert!(told.contains(expected), "{expected:?} is missing in:\n{told}");
    }
}

#[test]
fn a_scenario_without_steps_says_what_to_write() {
    assert!(read("[config]\n").err().unwrap().contains("it has no step\n   = write [[step]] with name, hook"));
    let refused = read("[expect-load]\nerror = \"delay-s\"\n").unwrap_or_else(|told| panic!("{told}"));
    assert_eq!(refused.expect_load.as_deref(), Some("delay-s"));
    let both = "[expect-load]\nerror = \"x\"\n[[step]]\nhook = \"on-online\"\nexpect = { verdict = \"hold\" }\n";
    assert!(read(both).err().unwrap().contains("no step can run"));
    assert!(read("a = [").err().unwrap().contains("case.toml:1:"));
}

#[test]
fn time_goes_on_from_step_to_step() {
    let step = |at: &str| format!("[[step]]\nhook = \"on-online\"\nat = \"{at}\"\nexpect = {{ verdict = \"hold\" }}\n");
    assert!(read(&format!("{}{}", step("1 min"), step("30 s"))).err().unwrap().contains("before the step above it"));
}
