//! Each mail leaves its story, and those that are kept for replay leave their files.

use crate::support::{
    gateway::Home,
    next_hop::{Behaviour, NextHop, free_address},
    smtp::{Client, send},
    until,
};
use std::os::unix::fs::PermissionsExt;

fn stories(home: &Home, args: &[&str]) -> Vec<serde_json::Value> {
    let output = home.command(&[&["trace", "--json"], args].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn steps(story: &serde_json::Value) -> Vec<String> {
    let steps = story["steps"].as_array().unwrap().iter();
    steps.map(|step| step["step"].as_str().unwrap().to_owned()).collect()
}

/// Once the journal has it all.
fn story(home: &Home, args: &[&str], count: usize) -> serde_json::Value {
    until(&format!("{count} steps of {args:?}"), || {
        stories(home, args).into_iter().next().filter(|story| story["steps"].as_array().unwrap().len() >= count)
    })
}

#[test]
fn a_mails_story_is_told_while_the_gateway_runs_and_after_it_has_ended() {
    let next_hop = NextHop::start();
    let home = Home::new("");
    home.with_plugin("tag").domain(
        "example.org",
        &format!(
            "next-hop = \"{}\"\naccept = \"always\"\nplugins = [\"tag\"]\n[config.tag]\nheaders = {{ \"X-Tag\" = \"yes\" }}\n",
            next_hop.address
        ),
    );
    let gateway = home.start();
    let reply = send(gateway.smtp, "Ann@x.test", "bob@example.org", "traced");
    let id = reply.rsplit(' ').next().unwrap().to_owned();
    next_hop.wait(1);
    let found = story(&home, &[&id], 3);
    assert_eq!(steps(&found), ["intake", "attempt", "outcome"]);
    assert_eq!(found["steps"][0]["outcome"], "queued");
    assert_eq!(found["steps"][2]["outcome"], "delivered");
    assert!(found["steps"][1]["transcript"].as_str().unwrap().contains("C: MAIL FROM:<Ann@x.test>"), "{found}");
    for args in [["--recipient", "BOB@example.org"], ["--sender", "ann@x.test"]] {
        assert_eq!(stories(&home, &args)[0]["id"], id.as_str());
    }
    let calls = found["steps"][0]["calls"].as_array().unwrap();
    assert!(calls.iter().any(|call| call["plugin"] == "tag" && call["hook"] == "on-message"), "{found}");
    let text = home.output(&["trace", &id]);
    for told in [
        "which says it is client.test",
        "RCPT bob@example.org: 250",
        "tag ",
        "X-Tag: yes",
        "bob@example.org delivered (attempt 1",
    ] {
        assert!(text.contains(told), "{told} in {text}");
    }
    gateway.stop();
    assert_eq!(home.output(&["trace", &id]), text);
    assert!(!home.command(&["trace", "--recipient", "nobody@example.org"]).status.success());
}

#[test]
fn what_was_refused_deferred_and_released_is_in_the_story_too() {
    let address = free_address();
    let home = Home::new("");
    home.with_plugin("recipients").domain(
        "example.org",
        &format!("next-hop = \"{address}\"\naccept = \"always\"\nplugins = [\"recipients\"]\n[config.recipients]\naddresses = [\"bob\"]\n"),
    );
    let gateway = home.start();
    assert!(send(gateway.smtp, "a@x.test", "nobody@example.org", "refused").starts_with("550 5.1.1"));
    let refused = story(&home, &["--recipient", "nobody@example.org"], 1);
    assert_eq!(refused["steps"][0]["outcome"], "refused");
    assert_eq!(refused["steps"][0]["recipients"][0]["calls"][0]["plugin"], "recipients");
    assert!(send(gateway.smtp, "a@x.test", "bob@example.org", "waits").starts_with("250 "));
    gateway.wait_for("bob@example.org", "held");
    home.output(&["queue", "hold", "--recipient", "bob@example.org", "--reason", "asking"]);
    let next_hop = NextHop::start_at(address, Behaviour::default());
    home.output(&["queue", "release", "--recipient", "bob@example.org"]);
    next_hop.wait(1);
    let found = until("its delivery in the story", || {
        let found = stories(&home, &["--recipient", "bob@example.org"]).into_iter().next()?;
        found.to_string().contains("\"delivered\"").then_some(found)
    });
    let text = found.to_string();
    assert!(text.contains("bob@example.org: asking") && text.contains("released by an operator"), "{text}");
    gateway.stop();
}

#[test]
fn mail_is_kept_for_replay_as_it_came_and_only_where_the_domain_asks_for_it() {
    let next_hop = NextHop::start();
    let home = Home::new("");
    let file = |more: &str| {
        format!(
            "next-hop = \"{}\"\naccept = \"always\"\nplugins = [\"tag\"]\n{more}\n[config.tag]\nheaders = {{ \"X-Tag\" = \"yes\" }}\n",
            next_hop.address
        )
    };
    home.with_plugin("tag").domain("kept.example", &file("record = { keep = \"1 d\", max-size = \"1 MiB\" }"));
    home.domain("plain.example", &file(""));
    let gateway = home.start();
    for domain in ["kept.example", "plain.example"] {
        let mut client = Client::connect(gateway.smtp);
        assert!(client.mail("a@x.test", &format!("b@{domain}"), "Subject: kept\r\n\r\nas it came").starts_with("250 "));
    }
    next_hop.wait(2);
    let json = until("the recorded transaction", || {
        let entries = std::fs::read_dir(home.path("data/recorded/kept.example")).ok()?;
        entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|ending| ending == "json"))
    });
    let recorded: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!((recorded["version"].as_u64(), recorded["session"]["helo"].as_str()), (Some(1), Some("client.test")));
    assert_eq!(std::fs::read(json.with_extension("eml")).unwrap(), b"Subject: kept\r\n\r\nas it came\r\n");
    assert_eq!(std::fs::metadata(&json).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!home.path("data/recorded/plain.example").exists());
    gateway.stop();
}
