//! What a person types, and what they read: help, errors with their cure, exit codes, the queue's switches, reload.

use super::support::{
    gateway::{Gateway, Home, binary, plugin, root},
    next_hop::{Behaviour, NextHop, free_address},
    smtp::send,
    until,
};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

const BAD_CONFIGURATION: i32 = 78;

fn waypost(args: &[&str]) -> Output {
    Command::new(binary()).args(args).current_dir("/").output().expect("the binary runs")
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `check` and `run` both refuse, with exactly this exit code; what they say.
fn refused(home: &Home) -> String {
    let (check, run) = (home.command(&["check"]), home.command(&["run"]));
    assert_eq!(check.status.code(), Some(BAD_CONFIGURATION), "{}", err(&check));
    assert_eq!(run.status.code(), Some(BAD_CONFIGURATION), "{}", err(&run));
    assert_eq!(err(&check), err(&run), "both say the same");
    err(&check)
}

fn assert_told(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "{part:?} is missing in:\n{told}");
    }
}

#[test]
fn without_an_argument_it_says_what_it_can_do() {
    let output = waypost(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_told(&err(&output), &["Usage:", "run", "check", "demo", "send", "sink", "queue", "Exit codes:"]);
    let output = waypost(&["queu"]);
    assert_eq!(output.status.code(), Some(2));
    assert_told(&err(&output), &["a similar subcommand exists: 'queue'"]);
}

#[test]
fn the_help_of_every_command_shows_an_example() {
    let commands = ["", "run", "check", "demo", "send", "sink", "queue"].map(|name| vec![name]);
    let queue = ["list", "retry", "hold", "release", "remove"].map(|name| vec!["queue", name]);
    for mut command in commands.into_iter().chain(queue) {
        command.retain(|part| !part.is_empty());
        command.push("--help");
        let output = waypost(&command);
        assert!(output.status.success());
        let (help, wanted) = (out(&output), command[..command.len() - 1].join(" "));
        let example = help.split("Example").nth(1).unwrap_or_else(|| panic!("{command:?} has no example:\n{help}"));
        assert!(example.contains(&format!("waypost {wanted}")), "{help}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_with_their_place_and_the_nearest_name() {
    let home = Home::new("max-conections = 5\n");
    home.domain("example.org", "next-hop = \"127.0.0.1:2600\"\ntls = \"verify\"\n");
    home.domain("example.net", "next-hop = \"127.0.0.1\"\nretention = \"30 days\"\n");
    let told = refused(&home);
    assert_told(
        &told,
        &[
            "waypost.toml:6:1: unknown key `max-conections`",
            "did you mean `max-connections`?",
            "domains/example.org.toml:2:7: `tls` cannot be \"verify\"",
            "did you mean \"verified\"?",
            "domains/example.net.toml:1:12: ",
            "domains/example.net.toml:2:13: ",
        ],
    );
}

#[test]
fn a_missing_configuration_says_what_to_do() {
    let output = waypost(&["check", "--config", "/nowhere/waypost.toml"]);
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert_told(&err(&output), &["/nowhere/waypost.toml", "there is no such file", "--config FILE"]);
    let dir = tempfile::tempdir().unwrap();
    if Path::new("/etc/waypost/waypost.toml").exists() {
        return;
    }
    let output = Command::new(binary()).arg("run").current_dir(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(BAD_CONFIGURATION));
    assert_told(&err(&output), &["neither ./waypost.toml nor /etc/waypost/waypost.toml", "waypost demo"]);
}

#[test]
fn what_is_wrong_with_a_plugin_is_told_for_all_of_them_at_once() {
    let home = Home::new("");
    home.with_plugin("tag").with_plugin("hostile");
    let write = |name: &str, bytes: &[u8]| std::fs::write(home.path(&format!("plugins/{name}.wasm")), bytes).unwrap();
    write("core", b"\0asm\x01\0\0\0");
    write("text", b"(component)\n");
    write("hookless", b"\0asm\x0d\0\x01\0");
    write("newer", &of_another_version(&std::fs::read(plugin("tag")).unwrap()));
    let bind = |names: &str| format!("next-hop = \"127.0.0.1:2600\"\nplugins = [{names}]\n");
    home.domain("example.org", &bind("\"core\", \"text\", \"hookless\", \"newer\", \"tga\""));
    home.domain("example.net", &bind("{ use = \"hostile\", config = { setup = \"trap\" } }, { use = \"hostile\", config = { setup = \"refuse\" } }"));
    let told = refused(&home);
    assert_told(
        &told,
        &[
            "plugin core: it is a core WebAssembly module, not a component; build it for wasm32-wasip2",
            "plugin text: it is a text file, not a WebAssembly component",
            "plugin hookless: it exports no hook; export at least one of on-connect,",
            "plugin newer: ",
            "built for waypost:plugin@0.2.0",
            "plugin tga: there is no tga.wasm",
            "did you mean \"tag\"?",
            "plugin hostile: its setup failed: wasm `unreachable` instruction executed",
            "plugin hostile: it refuses its configuration: delay: expected a duration",
        ],
    );
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_before_the_gateway_starts() {
    let home = Home::new("[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n");
    home.write("cert.pem", "no certificate");
    home.write("key.pem", "no key");
    assert_told(&refused(&home), &["key.pem"]);
    home.domain("example.org", "next-hop = \"127.0.0.1:2600\"\nplugins = [\"tga\"]\n");
    assert_told(&err(&home.command(&["check"])), &["key.pem", "plugin tga"]);
}

/// The component with another version of our package in every name that it exports or imports.
fn of_another_version(component: &[u8]) -> Vec<u8> {
    let mut bytes = component.to_vec();
    let starts: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"waypost:plugin/")).collect();
    for start in starts {
        let end = (start + 60).min(bytes.len());
        if let Some(at) = bytes[start..end].windows(6).position(|window| window == b"@0.1.0") {
            bytes[start + at..start + at + 6].copy_from_slice(b"@0.2.0");
        }
    }
    bytes
}

#[test]
fn send_and_sink_carry_a_file_unchanged() {
    let home = Home::new("");
    let sent = "Subject: a file\nX-Umlaut: g\u{fc}n\n\n.dots\n..more\n\nlast line without an end";
    home.write("mail.eml", sent);
    let (listen, saved) = (free_address().to_string(), home.path("saved"));
    let mut sink = Command::new(binary())
        .args(["sink", "--quiet", "--count", "1", "--listen", &listen, "--save"])
        .arg(&saved)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(sink.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), format!("listening on {listen}"));
    let file = home.path("mail.eml");
    let output = waypost(&["send", "--to", &listen, "--from", "", "--file", file.to_str().unwrap(), "bob@example.org"]);
    assert!(output.status.success(), "{}", err(&output));
    assert_told(&out(&output), &["bob@example.org: 250 "]);
    assert_told(&lines.next().unwrap().unwrap(), &["mail 1: ", "from <> to bob@example.org"]);
    assert!(sink.wait().unwrap().success());
    let arrived = std::fs::read_to_string(saved.join("000001.eml")).unwrap();
    assert_eq!(arrived, format!("{}\r\n", sent.replace('\n', "\r\n")));

    let output = waypost(&["send", "--to", &listen, "bob@example.org"]);
    assert_eq!(output.status.code(), Some(1));
    assert_told(&err(&output), &["waypost send: cannot connect to", &listen]);
}

#[test]
fn the_demo_ends_well_with_the_plugins_and_says_how_to_get_them_without() {
    let plugins = root().join("target/waypost/plugins");
    let output = waypost(&["demo", "--once", "--plugins", plugins.to_str().unwrap()]);
    assert!(output.status.success(), "{}{}", out(&output), err(&output));
    assert_told(&out(&output), &["X-Gateway: Waypost for example.org", "550 5.1.1", "through two plugins"]);
    let nowhere = tempfile::tempdir().unwrap();
    let output = waypost(&["demo", "--once", "--plugins", nowhere.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_told(&err(&output), &["recipients and tag are not in", "cargo xtask build"]);
}

/// Two mails for `a.example` and one for `b.example`, all held while their next hop is away.
fn with_held_mail(home: &Home) -> (Gateway<'_>, std::net::SocketAddr) {
    let address = free_address();
    for domain in ["a.example", "b.example"] {
        home.domain(domain, &format!("next-hop = \"{address}\"\naccept = \"always\"\n"));
    }
    let gateway = home.start();
    for (sender, recipient) in
        [("ann@x.test", "bob@a.example"), ("", "carol@a.example"), ("ann@x.test", "dan@b.example")]
    {
        assert!(send(gateway.smtp, sender, recipient, "held").starts_with("250 "));
    }
    until("three to be held", || (gateway.listed(&["--state", "held"]).len() == 3).then_some(()));
    (gateway, address)
}

#[test]
fn the_queue_is_listed_and_each_filter_narrows() {
    let home = Home::new("");
    let (gateway, address) = with_held_mail(&home);
    let table = home.output(&["queue", "list"]);
    let hop = address.to_string();
    assert_told(&table, &["STATE", "held", "ann@x.test → bob@a.example", "<> → carol@a.example", "waits for", &hop]);
    assert!(table.ends_with("3 recipients of 3 mails wait.\n"), "{table}");
    let id = gateway.listed(&["--recipient", "dan@b.example"])[0]["id"].as_str().unwrap().to_owned();
    for (filter, count) in [
        (["--domain", "a.example"], 2),
        (["--sender", "<>"], 1),
        (["--sender", "@x.test"], 2),
        (["--recipient", "BOB@a.example"], 1),
        (["--next-hop", &hop], 3),
        (["--next-hop", "127.0.0.1:1"], 0),
        (["--state", "quarantined"], 0),
        (["--older-than", "1 h"], 0),
        (["--older-than", "1 ms"], 3),
        (["--id", &id], 1),
        (["--limit", "2"], 2),
    ] {
        assert_eq!(gateway.listed(&filter).len(), count, "{filter:?}");
    }
    assert_told(&home.output(&["queue", "list", "--limit", "2"]), &["more than shown here"]);
    for (filter, told) in [
        (["--state", "hold"], "is not a state; expected one of"),
        (["--older-than", "soon"], "soon"),
        (["--id", "7"], "7"),
        (["--next-hop", "x"], "x"),
    ] {
        let output = home.command(&[&["queue", "list"], &filter[..]].concat());
        assert_eq!(output.status.code(), Some(1), "{filter:?}");
        assert_told(&err(&output), &["waypost: ", told]);
    }
}

#[test]
fn what_a_person_holds_stays_when_the_next_hop_is_back() {
    let home = Home::new("");
    let (gateway, address) = with_held_mail(&home);
    assert_eq!(home.output(&["queue", "hold", "--domain", "a.example", "--reason", "ask Ann"]), "2 recipients held\n");
    let next_hop = NextHop::start_at(address, Behaviour::default());
    assert_eq!(next_hop.wait(1)[0].recipients, ["dan@b.example"]);
    until("only what is held to be left", || (gateway.waiting() == 2).then_some(()));
    let held = gateway.listed(&["--state", "held"]);
    assert!(held.iter().all(|entry| entry["reason"] == "ask Ann" && entry["due-at"].is_null()), "{held:?}");
    let removed = home.output(&["queue", "remove", "--sender", "<>", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&removed).unwrap(), serde_json::json!({ "recipients": 1 }));
    assert_eq!(home.output(&["queue", "release"]), "1 recipient released\n");
    assert_eq!(next_hop.wait(2)[1].recipients, ["bob@a.example"]);
    gateway.wait_until_empty();
    assert_eq!(home.output(&["queue", "list"]), "Nothing waits.\n");
    assert_eq!(next_hop.count(), 2, "what was removed never arrives");
    gateway.stop();
}

#[test]
fn without_a_running_gateway_the_queue_commands_say_so() {
    let home = Home::new("");
    let told = |args: &[&str]| {
        let output = home.command(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        err(&output)
    };
    assert_told(&told(&["queue", "list"]), &["no gateway runs with", "waypost.toml", "waypost run"]);
    home.start().stop();
    assert_told(&told(&["queue", "retry"]), &["no gateway runs with"]);
    home.start().kill();
    // Its run file is still there, but nobody else must get the token by taking its port.
    assert!(home.path("data/run.json").exists());
    assert_told(&told(&["queue", "hold"]), &["no gateway runs with"]);
}

fn serving(next_hop: &NextHop) -> String {
    format!("next-hop = \"{}\"\naccept = \"always\"\n", next_hop.address)
}

#[test]
fn a_reload_brings_new_domains_and_a_broken_one_stays_as_it_was() {
    let next_hop = NextHop::start();
    let home = Home::new("");
    home.with_plugin("tag").domain("old.example", &serving(&next_hop));
    let gateway = home.start();
    let mail = |domain: &str| send(gateway.smtp, "ann@x.test", &format!("bob@{domain}"), "reload");
    assert!(mail("new.example").starts_with("550 5.7.1 [WP-RELAY]"));
    home.domain("new.example", &serving(&next_hop));
    gateway.reload("reloaded", 1);
    assert!(mail("new.example").starts_with("250 "));

    home.domain("newer.example", &serving(&next_hop));
    home.domain("old.example", "next-hop = 7\n");
    gateway.reload("not reloaded", 1);
    assert_told(&home.log(), &["domains/old.example.toml:1:12"]);
    home.domain("old.example", &format!("{}plugins = [\"tga\"]\n", serving(&next_hop)));
    gateway.reload("not reloaded", 2);
    assert_told(&home.log(), &["did you mean \"tag\"?"]);
    assert!(mail("old.example").starts_with("250 ") && mail("new.example").starts_with("250 "), "the old ones serve");
    assert!(mail("newer.example").starts_with("250 "), "others' mistakes keep nobody");

    home.domain(
        "old.example",
        &format!("{}plugins = [\"tag\"]\n[config.tag]\nheaders = {{ \"X-New\" = \"yes\" }}\n", serving(&next_hop)),
    );
    gateway.reload("chains=1", 3);
    assert!(mail("old.example").starts_with("250 ") && mail("newer.example").starts_with("250 "));
    let arrived = next_hop.wait(6);
    assert_eq!(arrived.iter().filter(|mail| mail.text().contains("X-New: yes\r\n")).count(), 1);
    gateway.stop();
}

#[test]
fn mail_of_a_domain_that_is_gone_is_held_until_it_is_back() {
    let address = free_address();
    let home = Home::new("");
    let file = format!("next-hop = \"{address}\"\naccept = \"always\"\n");
    home.domain("gone.example", &file);
    let gateway = home.start();
    assert!(send(gateway.smtp, "ann@x.test", "bob@gone.example", "kept").starts_with("250 "));
    gateway.wait_for("bob@gone.example", "held");
    std::fs::remove_file(home.path("domains/gone.example.toml")).unwrap();
    gateway.reload("domains=0", 1);
    let next_hop = NextHop::start_at(address, Behaviour::default());
    until("it to be held for its domain", || {
        let entry = gateway.listed(&["--state", "held"]).into_iter().next()?;
        entry["reason"].as_str()?.contains("gone.example is not configured here").then_some(())
    });
    assert_eq!(next_hop.count(), 0);
    home.domain("gone.example", &file);
    gateway.reload("domains=1", 1);
    assert_eq!(home.output(&["queue", "release"]), "1 recipient released\n");
    next_hop.wait(1);
    gateway.wait_until_empty();
    gateway.stop();
}
