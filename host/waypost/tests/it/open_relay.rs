//! Whoever looks for an open relay finds none: nmap's combinations, and what it would say of a real one.

use super::support::{
    gateway::Home,
    next_hop::{NextHop, free_address},
    tap::Tap,
    tools::{checked, tool},
    until,
};
use std::{
    net::{SocketAddr, TcpStream},
    process::{Child, Stdio},
};

/// What the script says of the server, and how many recipients it has tried.
fn scan(script: &str, server: SocketAddr) -> (String, usize) {
    let tap = Tap::before(server);
    let mut nmap = tool("nmap");
    // The port is not SMTP's own: the plus sign runs the script all the same.
    nmap.args(["-sT", "-Pn", "-n", "-vv", "--script-args", "smtp-open-relay.domain=elsewhere.example", "--script"]);
    nmap.args([&format!("+{script}"), "-p", &tap.address.port().to_string(), &tap.address.ip().to_string()]);
    let report = checked("nmap", nmap.output().expect("nmap runs"));
    let said = report.lines().filter(|line| line.starts_with('|')).collect::<Vec<_>>().join("\n");
    assert!(said.contains(script), "nmap did not run {script}:\n{report}");
    let recipients = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).matches("RCPT TO:<").count();
    (said, tap.sent().iter().map(recipients).sum())
}

struct Sink(Child);

impl Sink {
    /// Takes mail for everybody.
    fn start() -> (Self, SocketAddr) {
        let address = free_address();
        let child = tool("smtp-sink")
            .args(["-u", "nobody", &address.to_string(), "10"])
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let sink = Self(child);
        until("smtp-sink to listen", || TcpStream::connect(address).ok());
        (sink, address)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nmap_finds_no_open_relay_in_its_sixteen_combinations_and_would_find_one() {
    let hop = NextHop::start();
    let home = Home::new("");
    home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n", hop.address));
    let gateway = home.start();
    let (said, tried) = scan("smtp-open-relay", gateway.smtp);
    assert!(said.contains("doesn't seem to be an open relay, all tests failed"), "{said}");
    assert_eq!(tried, 16, "{said}");
    gateway.stop();
    assert_eq!(hop.count(), 0);
    let (_sink, open) = Sink::start();
    let (said, tried) = scan("smtp-open-relay", open);
    assert!(said.contains("is an open relay (16/16 tests)") && tried == 16, "{said}");
}

#[test]
fn nmap_lists_what_is_offered_and_nothing_that_gives_names_away() {
    let home = Home::new("");
    let gateway = home.start();
    let (said, _) = scan("smtp-commands", gateway.smtp);
    for keyword in
        ["PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES", "STARTTLS"]
    {
        assert!(said.contains(keyword), "{keyword}: {said}");
    }
    for keyword in ["AUTH", "EXPN", "XCLIENT", "XFORWARD", "BINARYMIME", "TURN,"] {
        assert!(!said.contains(&format!("{keyword} ")) && !said.contains(&format!("{keyword},")), "{keyword}: {said}");
    }
    gateway.stop();
}
