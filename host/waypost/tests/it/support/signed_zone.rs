//! A zone that is signed with DNSSEC, served on loopback by a name server that we did not write.

use super::{
    next_hop::free_address,
    tools::{checked, tool},
    until,
};
use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::{Child, Stdio},
};
use tempfile::TempDir;

/// `test.` is signed; `plain.test.` is delegated and is not.
pub struct SignedZone {
    pub address: SocketAddr,
    dir: TempDir,
    server: Child,
}

/// A record of the zone: its name, without the zone's, and what follows.
pub type Line = (String, String);

impl SignedZone {
    /// `forged` stands in the zone's file in place of what was signed.
    pub fn serve(signed: &[Line], plain: &[Line], forged: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("test.zone"), zone("test.", signed, "plain IN NS ns.test.\n")).unwrap();
        fs::write(dir.path().join("plain.zone"), zone("plain.test.", plain, "")).unwrap();
        let key = run(dir.path(), "ldns-keygen", &["-k", "-a", "ECDSAP256SHA256", "test"]).trim().to_owned();
        run(dir.path(), "ldns-signzone", &["test.zone", &key]);
        fs::rename(dir.path().join(format!("{key}.key")), dir.path().join("anchor.key")).unwrap();
        let file = dir.path().join("test.zone.signed");
        let mut text = fs::read_to_string(&file).unwrap();
        for (real, other) in forged {
            assert!(text.contains(real), "{real} is not in the zone");
            text = text.replace(real, other);
        }
        fs::write(&file, text).unwrap();
        let address = free_address();
        let server = start(dir.path(), address);
        let zone = Self { address, dir, server };
        until("the name server to answer", || zone.answers().then_some(()));
        zone
    }

    /// The `[dns]` table of a gateway that asks this server.
    pub fn settings(&self) -> String {
        let anchor = self.dir.path().join("anchor.key");
        format!("[dns]\nservers = [\"{}\"]\ntrust-anchor = \"{}\"\n", self.address, anchor.display())
    }

    fn answers(&self) -> bool {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        let question = b"\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x00\x00\x06\x00\x01";
        let mut answer = [0; 512];
        socket.send_to(question, self.address).is_ok() && socket.recv(&mut answer).is_ok()
    }
}

impl Drop for SignedZone {
    fn drop(&mut self) {
        // It has children of its own, which it ends when it is asked to.
        let asked = std::process::Command::new("kill").arg(self.server.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.server.kill();
        }
        let _ = self.server.wait();
    }
}

fn zone(name: &str, lines: &[Line], more: &str) -> String {
    let mut text =
        format!("$ORIGIN {name}\n$TTL 60\n@ IN SOA ns.test. admin.test. 1 3600 600 86400 60\n@ IN NS ns.test.\n");
    if name == "test." {
        text.push_str("ns IN A 127.0.0.1\n");
    }
    for (owner, data) in lines {
        text.push_str(&format!("{owner} IN {data}\n"));
    }
    text + more
}

fn start(dir: &Path, address: SocketAddr) -> Child {
    let base = dir.display();
    let config = format!(
        "server:\n  ip-address: 127.0.0.1@{}\n  server-count: 1\n  username: \"\"\n  zonesdir: \"{base}\"\n  pidfile: \"{base}/nsd.pid\"\n  xfrdfile: \"{base}/xfrd.state\"\n  xfrdir: \"{base}\"\n  zonelistfile: \"{base}/zone.list\"\n  database: \"\"\nremote-control:\n  control-enable: no\nzone:\n  name: \"test.\"\n  zonefile: \"test.zone.signed\"\nzone:\n  name: \"plain.test.\"\n  zonefile: \"plain.zone\"\n",
        address.port()
    );
    fs::write(dir.join("nsd.conf"), config).unwrap();
    let log = fs::File::create(dir.join("nsd.log")).unwrap();
    tool("nsd")
        .args(["-d", "-c"])
        .arg(dir.join("nsd.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("nsd starts")
}

fn run(dir: &Path, name: &str, args: &[&str]) -> String {
    checked(name, tool(name).args(args).current_dir(dir).output().expect("it runs"))
}
