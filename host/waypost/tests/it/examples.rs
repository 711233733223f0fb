//! The examples do what their READMEs say, and every piece of configuration in the documentation is right.

use super::support::{
    gateway::{Home, binary, plugin, root},
    next_hop::{Behaviour, NextHop},
    smtp::{send, send_until_accepted},
    until,
};
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
};

/// What `cargo xtask build` puts into the plugins directory.
const SHIPPED: [&str; 5] = ["recipients", "tag", "greylist", "split-route", "vip-redirect"];

/// An example as it is laid out in an installation, with free ports in place of those of its files.
fn installed(example: &str, ports: &BTreeMap<u16, SocketAddr>) -> Home {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("plugins")).unwrap();
    for name in SHIPPED {
        fs::copy(plugin(name), dir.path().join(format!("plugins/{name}.wasm"))).unwrap();
    }
    let source = root().join("examples").join(example);
    let home = Home::of(dir, &format!("examples/{example}"));
    fs::create_dir_all(home.path("domains")).unwrap();
    let replaced = |file: &Path| {
        let text = fs::read_to_string(file).unwrap();
        let text = text.replace("127.0.0.1:2525", "127.0.0.1:0").replace("127.0.0.1:8025", "127.0.0.1:0");
        ports
            .iter()
            .fold(text, |text, (port, address)| text.replace(&format!("127.0.0.1:{port}"), &address.to_string()))
    };
    home.write("waypost.toml", &replaced(&source.join("waypost.toml")));
    for entry in fs::read_dir(source.join("domains")).unwrap() {
        let file = entry.unwrap().path();
        home.write(&format!("domains/{}", file.file_name().unwrap().to_str().unwrap()), &replaced(&file));
    }
    home
}

/// The arguments of each `waypost send` of the example's README, and the comment behind it.
fn sends(example: &str) -> Vec<(Vec<String>, String)> {
    let readme = fs::read_to_string(root().join("examples").join(example).join("README.md")).unwrap();
    let commands = readme.lines().filter_map(|line| line.strip_prefix("$ ../../bin/waypost "));
    let sends = commands.filter(|command| command.starts_with("send ")).map(|command| {
        let (command, comment) = command.split_once('#').unwrap_or((command, ""));
        (command.split_whitespace().map(str::to_owned).collect(), comment.trim().to_owned())
    });
    let sends: Vec<_> = sends.collect();
    assert!(!sends.is_empty(), "the README of {example} shows no mail");
    sends
}

/// Runs it against `gateway`; again while the answer is 451: the next hop has to be probed first.
fn run(args: &[String], gateway: SocketAddr) -> Output {
    let args: Vec<String> = args.iter().map(|arg| arg.replace("127.0.0.1:2525", &gateway.to_string())).collect();
    until("the domain to be served", || {
        let output = Command::new(binary()).args(&args).output().unwrap();
        (!String::from_utf8_lossy(&output.stdout).contains(" 451 ")).then_some(output)
    })
}

#[test]
fn one_domain_relays_to_whom_exists_with_a_field_added() {
    let next_hop = NextHop::start();
    let home = installed("one-domain", &[(2600, next_hop.address)].into());
    let gateway = home.start();
    let sends = sends("one-domain");
    let [(known, _), (unknown, _)] = &sends[..] else { panic!("the README has changed: {sends:?}") };
    let output = run(known, gateway.smtp);
    assert!(output.status.success(), "{output:?}");
    let output = run(unknown, gateway.smtp);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("550 5.1.1"), "{output:?}");
    let arrived = next_hop.wait(1);
    assert_eq!(arrived[0].recipients, ["ann@example.org"]);
    assert!(arrived[0].text().contains("\r\nX-Gateway: Waypost for example.org\r\n"), "{}", arrived[0].text());
    gateway.wait_until_empty();
    assert_eq!(next_hop.count(), 1);
    gateway.stop();
}

#[test]
fn two_domains_go_their_own_ways() {
    let hops: BTreeMap<u16, NextHop> = [2600, 2601, 2602].into_iter().map(|port| (port, NextHop::start())).collect();
    let home = installed("two-domains", &hops.iter().map(|(port, hop)| (*port, hop.address)).collect());
    let gateway = home.start();
    let sends = sends("two-domains");
    for (args, comment) in &sends {
        let port: u16 =
            comment.strip_prefix("to ").and_then(|port| port.parse().ok()).expect("the port in the comment");
        let before = hops[&port].count();
        let output = run(args, gateway.smtp);
        assert!(output.status.success(), "{output:?}");
        let arrived = hops[&port].wait(before + 1);
        assert_eq!(arrived.last().unwrap().recipients, [args.last().unwrap().as_str()], "at {port}");
        if args.last().unwrap().ends_with("@example.com") {
            assert!(arrived.last().unwrap().text().contains("Subject: [shop] "), "the shop's tag");
        }
    }
    assert_eq!(hops.values().map(NextHop::count).sum::<usize>(), sends.len());
    let refused = send(gateway.smtp, "ann@client.test", "nobody@example.org", "x");
    assert!(refused.starts_with("550 5.1.1"), "{refused}");
    gateway.stop();
}

#[test]
fn two_domains_sends_listed_senders_to_the_backup_and_holds_the_rest() {
    let (office, shop, backup) = (NextHop::start(), NextHop::start(), NextHop::start());
    let address = office.address;
    let home = installed("two-domains", &[(2600, address), (2601, shop.address), (2602, backup.address)].into());
    let gateway = home.start();
    let mail = |sender: &str| send_until_accepted(gateway.smtp, sender, "ann@example.org", "while away");
    assert!(mail("stranger@client.test").starts_with("250 "));
    office.wait(1);
    office.stop();
    for sender in ["boss@partner.example", "info@sub.bank.example", "stranger@client.test"] {
        assert!(mail(sender).starts_with("250 "), "{sender}");
    }
    let redirected = backup.wait(2);
    assert!(redirected.iter().all(|mail| !mail.mail.contains("stranger")), "{redirected:?}");
    let waiting = gateway.wait_for("ann@example.org", "held");
    assert_eq!(waiting["sender"], "stranger@client.test");
    let office = NextHop::start_at(address, Behaviour::default());
    assert!(office.wait(1)[0].mail.contains("stranger@client.test"));
    gateway.wait_until_empty();
    assert_eq!((office.count(), shop.count(), backup.count()), (1, 0, 2));
    gateway.stop();
}

/// `(name of the file, text)` of each TOML block; the name stands in its first line, and one without
/// is a domain's.
fn toml_blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(fence) = lines.find(|line| line.trim_start() == "```toml") {
        let indent = fence.len() - fence.trim_start().len();
        let block: Vec<&str> = lines
            .by_ref()
            .take_while(|line| line.trim() != "```")
            .map(|line| line.get(indent..).unwrap_or(""))
            .collect();
        let name = block[0].strip_prefix("# ").filter(|name| name.ends_with(".toml"));
        blocks.push((name.unwrap_or("domains/example.org.toml").to_owned(), block.join("\n")));
    }
    blocks
}

#[test]
fn the_configuration_in_the_documentation_is_right() {
    let pair = Home::new("");
    pair.start().stop();
    let mut documents = vec!["README.md".to_owned(), "docs/configuration.md".into()];
    documents.extend(["docs/alerts.md".to_owned(), "docs/plugins.md".into()]);
    documents.extend(SHIPPED.map(|name| format!("plugins/{name}/README.md")));
    for document in documents {
        let blocks = toml_blocks(&fs::read_to_string(root().join(&document)).unwrap());
        assert!(!blocks.is_empty(), "{document} shows no configuration");
        let home = Home::new("");
        for name in SHIPPED {
            home.with_plugin(name);
        }
        // These stand for the reader's own.
        fs::copy(plugin("hostile"), home.path("plugins/my-rules.wasm")).unwrap();
        for (own, made) in [("cert.pem", "self-signed.crt"), ("key.pem", "self-signed.key")] {
            fs::copy(pair.path("data").join(made), home.path(own)).unwrap();
        }
        for (name, text) in &blocks {
            home.write(name, text);
        }
        let output = home.command(&["check"]);
        assert!(output.status.success(), "{document}:\n{}", String::from_utf8_lossy(&output.stderr));
        let domains = blocks.iter().filter(|(name, _)| name.starts_with("domains/")).count();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(domains > 0 && told.contains(&format!("no errors; {domains} domains")), "{document}: {told}");
    }
}

#[test]
fn every_example_passes_the_check() {
    for example in fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap()) {
        if !example.path().join("waypost.toml").is_file() {
            continue;
        }
        let name = example.file_name().into_string().unwrap();
        let home = installed(&name, &BTreeMap::new());
        assert!(home.command(&["check"]).status.success(), "{name}");
    }
}
