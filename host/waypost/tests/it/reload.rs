//! Files change while mail goes on: what is new serves within about a second, what is broken serves never.

use crate::support::{
    gateway::{Gateway, Home, plugin},
    next_hop::NextHop,
    smtp::{Client, send},
    until,
};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

const DOMAIN: &str = "reload.example";

fn tagging(next_hop: &NextHop, value: &str) -> String {
    format!(
        "next-hop = \"{}\"\naccept = \"always\"\nplugins = [\"tag\"]\n[config.tag]\nheaders = {{ \"X-Version\" = \"{value}\" }}\n",
        next_hop.address
    )
}

/// The same component with other bytes: a custom section is nothing that runs.
fn with_section(component: &[u8], text: &str) -> Vec<u8> {
    let name = format!("v{text}");
    let mut bytes = component.to_vec();
    bytes.extend([0, name.len() as u8 + 1, name.len() as u8]);
    bytes.extend(name.as_bytes());
    bytes
}

fn status(home: &Home) -> serde_json::Value {
    let output = home.command(&["reload", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let end = text.rfind('}').unwrap();
    serde_json::from_str(&text[..=end]).unwrap()
}

fn resident_kib(gateway: &Gateway<'_>) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn files_take_effect_by_themselves_and_broken_ones_leave_what_was_there() {
    let next_hop = NextHop::start();
    let home = Home::new("");
    home.with_plugin("tag").domain(DOMAIN, &tagging(&next_hop, "one"));
    let gateway = home.start();
    let version = |subject: &str| {
        let before = next_hop.count();
        assert!(send(gateway.smtp, "a@x.test", &format!("b@{DOMAIN}"), subject).starts_with("250 "));
        let arrived = next_hop.wait(before + 1);
        let text = arrived[before].text();
        text.lines().find_map(|line| line.strip_prefix("X-Version: ")).unwrap_or_default().to_owned()
    };
    assert_eq!(version("start"), "one");
    home.domain(DOMAIN, &tagging(&next_hop, "two"));
    until("the domain's new file", || (version("domain") == "two").then_some(()));

    // Half a component, as a copy that is under way leaves it.
    let whole = fs::read(plugin("tag")).unwrap();
    fs::write(home.path("plugins/tag.wasm"), &whole[..whole.len() / 2]).unwrap();
    home.domain("other.example", &tagging(&next_hop, "other"));
    let told = status(&home);
    let faults = told["not-in-force"].as_array().unwrap();
    assert_eq!(faults.len(), 2, "the plugin of the old domain, and of the new one: {told}");
    assert!(faults.iter().all(|f| f["line"] == 3 && f["column"] == 12), "{told}");
    assert_eq!(version("half"), "two");
    assert!(!home.command(&["reload"]).status.success(), "what is not in force makes it fail");
    fs::write(home.path("plugins/tag.wasm"), with_section(&whole, "whole")).unwrap();
    until("the whole plugin", || home.log().contains("chains=2").then_some(()));
    assert!(send(gateway.smtp, "a@x.test", "b@other.example", "new").starts_with("250 "));
    fs::remove_file(home.path("plugins/tag.wasm")).unwrap();
    assert_eq!(status(&home)["not-in-force"].as_array().unwrap().len(), 2);
    assert_eq!(version("gone"), "two", "what was loaded goes on serving");

    let file = fs::read_to_string(home.path("waypost.toml")).unwrap();
    home.write("waypost.toml", &file.replace("gw.test", "other.test"));
    assert_eq!(status(&home)["needs-restart"], serde_json::json!(["hostname"]));
    gateway.stop();
}

#[test]
fn a_thousand_reloads_under_load_lose_no_mail_and_cut_no_session() {
    const RELOADS: usize = 1000;
    let next_hop = NextHop::start();
    let home = Home::new("");
    home.with_plugin("tag").domain(DOMAIN, &tagging(&next_hop, "0"));
    let gateway = home.start();
    let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (at, stop, accepted) = (gateway.smtp, stop.clone(), accepted.clone());
            std::thread::spawn(move || {
                let mut client = Client::connect(at);
                while !stop.load(Ordering::Relaxed) {
                    let reply = client.mail("a@x.test", &format!("b@{DOMAIN}"), "Subject: load\r\n\r\nHello.");
                    assert!(reply.starts_with("250 "), "{reply}");
                    accepted.fetch_add(1, Ordering::Relaxed);
                    std::thread::park_timeout(Duration::from_millis(2));
                }
                assert!(client.command("QUIT").starts_with("221 "));
            })
        })
        .collect();
    let whole = fs::read(plugin("tag")).unwrap();
    let variants = [with_section(&whole, "a"), with_section(&whole, "b")];
    let admin = Admin::of(&home);
    let mut warm = 0;
    for n in 1..=RELOADS {
        match n % 2 {
            0 => fs::write(home.path("plugins/tag.wasm"), &variants[n / 2 % 2]).unwrap(),
            _ => home.write(&format!("domains/{DOMAIN}.toml"), &tagging(&next_hop, &n.to_string())),
        }
        admin.post("/api/reload");
        if n == RELOADS / 5 {
            warm = resident_kib(&gateway);
        }
    }
    let end = resident_kib(&gateway);
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("a client had no trouble"));
    let sent = accepted.load(Ordering::Relaxed);
    assert_eq!(next_hop.wait(sent).len(), sent, "each mail once");
    assert!(end < warm + 48 * 1024, "from {warm} to {end} KiB");
    assert!(home.log().matches("reloaded").count() >= RELOADS / 2);
    gateway.stop();
}

/// Asks a running gateway without a process of its own for each call.
struct Admin {
    address: String,
    token: String,
}

impl Admin {
    fn of(home: &Home) -> Self {
        let run: serde_json::Value = serde_json::from_slice(&fs::read(home.path("data/run.json")).unwrap()).unwrap();
        let token = fs::read_to_string(home.path("data/admin-token")).unwrap();
        Self { address: run["admin"].as_str().unwrap().to_owned(), token: token.trim().to_owned() }
    }

    fn post(&self, path: &str) -> String {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&self.address).unwrap();
        let Self { address, token } = self;
        write!(stream, "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }
}
