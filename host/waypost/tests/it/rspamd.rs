//! rspamd as Debian ships it, asked by a plugin over HTTP through its grant.

use super::support::{
    gateway::Home,
    next_hop::{NextHop, free_address},
    smtp::{Client, send},
    tools::tool,
    until_within,
};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// What every filter takes for spam, by agreement.
const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

struct Rspamd {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

impl Rspamd {
    fn start() -> Self {
        let (dir, address) = (tempfile::tempdir().expect("a directory"), free_address());
        let base = dir.path().display();
        let config = format!(
            "options {{ tempdir = \"{base}\"; pidfile = \"{base}/pid\"; filters = \"\"; control_socket = \"{base}/control\"; hs_cache_dir = \"{base}\"; dns {{ nameserver = [\"127.0.0.1:9\"]; timeout = 0.1s; retransmits = 1; }} }}\n\
             logging {{ type = \"console\"; level = \"info\"; }}\n\
             actions {{ reject = 15; add_header = 6; greylist = 4; }}\n\
             worker \"normal\" {{ bind_socket = \"{address}\"; count = 1; }}\n"
        );
        let file = dir.path().join("rspamd.conf");
        fs::write(&file, config).expect("written");
        let log = fs::File::create(dir.path().join("log")).expect("a log");
        let child = tool("rspamd")
            .args(["--no-fork", "--insecure", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("cloned"))
            .stderr(log)
            .spawn()
            .expect("rspamd starts");
        let rspamd = Self { child, address, dir };
        // It compiles its patterns first.
        until_within(Duration::from_secs(120), "rspamd's pong", &mut || rspamd.pong());
        rspamd
    }

    fn pong(&self) -> Option<()> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(b"GET /ping HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.contains("pong").then_some(())
    }
}

impl Drop for Rspamd {
    fn drop(&mut self) {
        // Its workers end with it only if it is asked.
        let _ = tool("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("── rspamd's log\n{}", fs::read_to_string(self.dir.path().join("log")).unwrap_or_default());
        }
    }
}

fn domain(home: &Home, name: &str, next_hop: &NextHop, on_failure: &str, rspamd: SocketAddr) {
    home.domain(
        name,
        &format!(
            "next-hop = \"{}\"\naccept = \"always\"\nplugins = [{{ use = \"rspamd\", on-failure = \"{on_failure}\" }}]\n[config.rspamd]\nurl = \"http://{rspamd}\"\n",
            next_hop.address
        ),
    );
}

#[test]
fn rspamd_judges_mail_through_a_plugin_that_may_talk_to_it() {
    let (next_hop, rspamd) = (NextHop::start(), Rspamd::start());
    let home = Home::new(&format!(
        "[plugins.rspamd]\ngrant = [\"config\", \"log\", \"http://{}\"]\ntime = \"10 s\"\n",
        rspamd.address
    ));
    home.with_plugin("rspamd");
    domain(&home, "a.example", &next_hop, "tempfail", rspamd.address);
    let gateway = home.start();
    let mut client = Client::connect(gateway.smtp);

    let clean = "From: ann@client.test\r\nTo: bob@a.example\r\nSubject: hello\r\nX-Spam: no, honestly\r\n\r\nHello.";
    let reply = client.mail("ann@client.test", "bob@a.example", clean);
    assert!(reply.starts_with("250 "), "{reply}");
    let relayed = next_hop.wait(1)[0].text();
    assert!(relayed.contains("X-Spam-Score: ") && relayed.contains(" / 15.00"), "{relayed}");
    assert!(!relayed.contains("honestly"), "the sender's own word is gone: {relayed}");

    let spam = format!("From: ann@client.test\r\nTo: bob@a.example\r\nSubject: buy\r\n\r\n{GTUBE}");
    let reply = client.mail("ann@client.test", "bob@a.example", &spam);
    assert!(reply.starts_with("550 5.7.1 ") && reply.contains("Gtube pattern"), "{reply}");

    drop(rspamd);
    let reply = client.mail("ann@client.test", "bob@a.example", clean);
    assert!(reply.starts_with("451 4.3.0 [WP-PLUGIN]"), "nobody to ask: {reply}");
    assert_eq!(next_hop.count(), 1);
    gateway.stop();
}

#[test]
fn a_plugin_that_may_talk_to_nobody_is_denied_and_its_policy_decides() {
    let next_hop = NextHop::start();
    let server = NextHop::start();
    let home = Home::new("");
    home.with_plugin("rspamd");
    domain(&home, "strict.example", &next_hop, "tempfail", server.address);
    domain(&home, "lenient.example", &next_hop, "pass", server.address);
    let gateway = home.start();

    let reply = send(gateway.smtp, "ann@client.test", "bob@strict.example", "hello");
    assert!(reply.starts_with("451 4.3.0 [WP-PLUGIN]"), "{reply}");
    let reply = send(gateway.smtp, "ann@client.test", "bob@lenient.example", "hello");
    assert!(reply.starts_with("250 "), "{reply}");
    next_hop.wait(1);
    assert!(server.connections.lock().expect("lock").is_empty(), "nobody has connected");
    assert!(home.log().to_lowercase().contains("denied"), "the log says why");
    gateway.stop();
}
