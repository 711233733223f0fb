//! People are told of outages by webhooks and commands: once, signed, and whatever dies meanwhile.

use super::support::{
    gateway::{Gateway, Home, root},
    next_hop::{Behaviour, NextHop, free_address},
    smtp::send,
    tools::python,
    until,
    webhook::{HANG, Posted, Webhook},
};
use std::{fs, net::SocketAddr};

/// Every domain's file of these tests; `alert` is the list in TOML.
fn domain(home: &Home, next_hop: SocketAddr, alert: &str, after: &str) {
    let text = format!(
        "next-hop = \"{next_hop}\"\naccept = \"always\"\n[offline]\nalert = {alert}\nalert-after = \"{after}\"\n"
    );
    home.domain("example.org", &text);
}

fn mail(gateway: &Gateway<'_>) {
    assert!(send(gateway.smtp, "a@example.net", "ann@example.org", "hello").starts_with("250 "));
    gateway.wait_for("ann@example.org", "held");
}

fn outstanding(home: &Home) -> Vec<serde_json::Value> {
    let listed: serde_json::Value = serde_json::from_str(&home.output(&["alert", "list", "--json"])).unwrap();
    listed["outstanding"].as_array().unwrap().clone()
}

/// By the receiver that docs/alerts.md shows; each must be genuine, and none once it was changed.
fn verify(home: &Home, posted: &[Posted]) {
    let docs = fs::read_to_string(root().join("docs/alerts.md")).unwrap();
    let receiver = docs.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let all: Vec<_> = posted.iter().map(|p| serde_json::json!({ "headers": p.headers, "body": p.body })).collect();
    home.write("posted.json", &serde_json::to_string(&all).unwrap());
    let script = format!(
        "{receiver}
import json, sys
secret, posted = open(sys.argv[1]).read(), json.load(open(sys.argv[2]))
for one in posted:
    headers, body = one['headers'], one['body'].encode()
    assert is_genuine(secret, headers, body), headers
    assert json.loads(body)['id'] == headers['webhook-id']
    assert not is_genuine(secret, headers, body + b' ')
    assert not is_genuine(secret, dict(headers, **{{'webhook-id': 'other'}}), body)
    old = dict(headers, **{{'webhook-timestamp': str(int(headers['webhook-timestamp']) - 1000)}})
    assert not is_genuine(secret, old, body)
print(len(posted))
"
    );
    let (secret, file) = (home.path("data/alert-secret"), home.path("posted.json"));
    let said = python(&script, &[&secret.display().to_string(), &file.display().to_string()]);
    assert_eq!(said.trim(), posted.len().to_string());
}

#[test]
fn an_outage_and_its_end_are_told_once_each_and_signed_though_the_webhook_refuses_at_first() {
    let (address, hook, home) = (free_address(), Webhook::start(&[500, 500]), Home::new(""));
    domain(&home, address, &format!("[\"{}\"]", hook.url()), "300 ms");
    let gateway = home.start();
    mail(&gateway);
    let offline = hook.wait(1).remove(0).json();
    assert_eq!(offline["event"], "next-hop.offline");
    let about = [&offline["gateway"], &offline["domain"], &offline["next-hop"]];
    assert_eq!(about, ["gw.test", "example.org", &address.to_string()]);
    assert_eq!(offline["waiting"], 1);
    assert!(offline["reason"].as_str().unwrap().contains("refused"), "{offline}");
    let ids: Vec<_> = hook.posted().iter().map(|posted| posted.headers["webhook-id"].clone()).collect();
    assert_eq!(ids, vec![ids[0].clone(); 3]);

    let next_hop = NextHop::start_at(address, Behaviour::default());
    next_hop.wait(1);
    let online = hook.wait(2).remove(1).json();
    assert_eq!((&online["event"], &online["since"]), (&"next-hop.online".into(), &offline["since"]));
    until("the outbox to be empty", || outstanding(&home).is_empty().then_some(()));
    let list = home.output(&["alert", "list"]);
    assert!(list.contains("0 outstanding; since the start 2 accepted, 2 tries failed, 0 given up."), "{list}");
    gateway.stop();
    assert_eq!(hook.events(), ["next-hop.offline", "next-hop.online"]);
    verify(&home, &hook.posted());
}

#[test]
fn an_alert_that_nobody_takes_survives_a_kill_and_the_outage_is_told_once() {
    let (address, hook_address, home) = (free_address(), free_address(), Home::new(""));
    domain(&home, address, &format!("[\"http://{hook_address}/\"]"), "0 s");
    let gateway = home.start();
    mail(&gateway);
    let refused = until("a failed try", || outstanding(&home).into_iter().find(|o| o["last-error"].is_string()));
    assert!(refused["last-error"].as_str().unwrap().contains("cannot connect"), "{refused}");
    // A mail that is accepted behind the alert has it on disk.
    assert!(send(gateway.smtp, "a@example.net", "bob@example.org", "behind").starts_with("250 "));
    gateway.kill();

    let gateway = home.start();
    let kept = until("the alert of before", || outstanding(&home).into_iter().next());
    assert_eq!((&kept["id"], &kept["at"]), (&refused["id"], &refused["at"]));
    let hook = Webhook::start_at(hook_address, &[]);
    assert_eq!(hook.wait(1)[0].json()["id"], refused["id"]);
    until("the outbox to be empty", || outstanding(&home).is_empty().then_some(()));
    // The lane is away anew, and nobody is told again.
    gateway.kill();
    let gateway = home.start();
    let next_hop = NextHop::start_at(address, Behaviour::default());
    next_hop.wait(2);
    hook.wait(2);
    gateway.stop();
    assert_eq!(hook.events(), ["next-hop.offline", "next-hop.online"]);
}

#[test]
fn an_outage_that_ends_while_the_gateway_is_down_is_told_to_be_over_though_no_mail_waits() {
    let (address, hook, home) = (free_address(), Webhook::start(&[]), Home::new(""));
    domain(&home, address, &format!("[\"{}\"]", hook.url()), "0 s");
    let gateway = home.start();
    mail(&gateway);
    hook.wait(1);
    home.output(&["queue", "remove", "--domain", "example.org"]);
    gateway.stop();
    let _next_hop = NextHop::start_at(address, Behaviour::default());
    let gateway = home.start();
    hook.wait(2);
    gateway.stop();
    assert_eq!(hook.events(), ["next-hop.offline", "next-hop.online"]);
}

#[test]
fn an_outage_that_is_short_alerts_nobody() {
    let (address, hook, home) = (free_address(), Webhook::start(&[]), Home::new(""));
    domain(&home, address, &format!("[\"{}\"]", hook.url()), "1 h");
    let gateway = home.start();
    mail(&gateway);
    NextHop::start_at(address, Behaviour::default()).wait(1);
    gateway.wait_until_empty();
    home.output(&["alert", "test", "example.org"]);
    gateway.stop();
    assert_eq!(hook.events(), ["test"]);
}

#[test]
fn a_target_that_hangs_delays_no_other() {
    let (slow, quick, everybody) = (Webhook::start(&[HANG; 50]), Webhook::start(&[]), Webhook::start(&[]));
    let home = Home::new(&format!("[alerts]\nto = [\"{}\", \"{}\"]\n", everybody.url(), quick.url()));
    let (script, told) = (home.path("page-me"), home.path("told"));
    let text = format!(
        "#!/bin/sh\ncat >>{0}.new\necho \" $1 $WAYPOST_EVENT $WAYPOST_DOMAIN\" >>{0}.new\ncp {0}.new {0}\necho paged\n",
        told.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let alert =
        format!("[\"{}\", \"{}\", {{ command = [\"{}\", \"now\"] }}]", slow.url(), quick.url(), script.display());
    let address = free_address();
    domain(&home, address, &alert, "0 s");
    let gateway = home.start();
    mail(&gateway);
    // Named twice, told once.
    let offline = quick.wait(1).remove(0);
    assert_eq!(everybody.wait(1)[0].body, offline.body);
    let line = until("the program's note", || fs::read_to_string(&told).ok().filter(|told| told.ends_with('\n')));
    assert_eq!(line, format!("{} now next-hop.offline example.org\n", offline.body));
    until("the program's line in the log", || home.log().contains("ended with 0: paged").then_some(()));
    let left = until("only the slow one's", || Some(outstanding(&home)).filter(|left| left.len() == 1));
    assert_eq!(left[0]["target"], slow.url());

    let _next_hop = NextHop::start_at(address, Behaviour::default());
    assert_eq!(
        (quick.wait(2)[1].event(), everybody.wait(2)[1].event()),
        ("next-hop.online".into(), "next-hop.online".into())
    );
    assert!(slow.accepted().is_empty());
    // What nobody is configured to hear any more is dropped with a reload.
    domain(&home, address, &format!("[\"{}\"]", quick.url()), "0 s");
    home.output(&["reload"]);
    until("the slow one's to be dropped", || outstanding(&home).is_empty().then_some(()));
    gateway.stop();
    assert_eq!(quick.events().len(), 2);
}

#[test]
fn waiting_mail_near_its_end_is_told_of_once_in_an_outage() {
    let (address, hook, home) =
        (free_address(), Webhook::start(&[]), Home::new("[alerts]\nexpiry-warning = \"2 h\"\n"));
    let text = |retention: &str| {
        format!(
            "next-hop = \"{address}\"\naccept = \"always\"\nretention = \"{retention}\"\n[offline]\nalert = \"{}\"\nalert-after = \"2 s\"\n",
            hook.url()
        )
    };
    home.domain("example.org", &text("1 h"));
    let gateway = home.start();
    mail(&gateway);
    assert!(send(gateway.smtp, "a@example.net", "bob@example.org", "too").starts_with("250 "));
    let waits = gateway.wait_for("ann@example.org", "held");
    let expiring = hook.wait(2).remove(1).json();
    assert_eq!((&expiring["event"], &expiring["waiting"]), (&"mail.expiring".into(), &2.into()));
    assert_eq!((&expiring["first-expiry"], &expiring["next-hop"]), (&waits["expires-at"], &address.to_string().into()));
    gateway.kill();
    let gateway = home.start();
    let next_hop = NextHop::start_at(address, Behaviour::default());
    next_hop.wait(2);
    until("the end of the outage to be told", || hook.told().contains(&"next-hop.online".to_owned()).then_some(()));
    gateway.stop();
    // Killed before it can have noted that the last was accepted, it may send that again under its id, but no other.
    assert_eq!(hook.told(), ["next-hop.offline", "mail.expiring", "next-hop.online"]);
}

#[test]
fn a_test_alert_tells_what_each_target_said() {
    let (hook, home) = (Webhook::start(&[204, 410]), Home::new(""));
    domain(
        &home,
        free_address(),
        &format!("[\"{}\", {{ command = [\"/bin/echo\", \"heard\"] }}]", hook.url()),
        "1 min",
    );
    home.domain("quiet.example", "next-hop = \"127.0.0.1:1\"\naccept = \"always\"\n");
    let gateway = home.start();
    let said = home.output(&["alert", "test", "example.org"]);
    assert_eq!(
        said,
        format!("{}: accepted: answered 204 No Content\n/bin/echo heard: accepted: ended with 0: heard\n", hook.url())
    );
    for (domain, why) in [
        ("example.org", "1 of 2 did not accept it"),
        ("quiet.example", "nobody hears of quiet.example"),
        ("other.example", "other.example is not configured here"),
    ] {
        let output = home.command(&["alert", "test", domain]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && stderr.contains(why), "{domain}: {stderr}");
    }
    gateway.stop();
    verify(&home, &hook.posted());
    assert!(secret_is_private(&home));
}

/// The key is for the gateway's user alone.
fn secret_is_private(home: &Home) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(home.path("data/alert-secret")).unwrap().permissions().mode() & 0o777 == 0o600
}
