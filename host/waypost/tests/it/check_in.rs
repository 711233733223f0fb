//! Hosts on addresses that change: ddclient, inadyn and curl say where they are, and mail follows.

use super::support::{
    gateway::{Gateway, Home, password_lines},
    next_hop::{Behaviour, NextHop, free_address},
    smtp::send,
    tools::{checked, tool},
    until,
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
};

const OLD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const NEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Long enough for `waypost password`.
const PASSWORD: &str = "correct horse";

/// What `waypost password` makes of `PASSWORD`.
fn lines() -> String {
    password_lines(PASSWORD, &[])
}

/// A gateway with example.org at a host whose name nobody can look up, and a listener for check-ins.
struct Scene {
    home: Home,
    port: u16,
}

impl Scene {
    fn new(lease: &str) -> Self {
        let home = Home::new("[check-in]\nlisten = \"127.0.0.1:0\"\ntls = \"none\"\n");
        let port = free_address().port();
        home.domain(
            "example.org",
            &format!(
                "next-hop = \"home.example.invalid:{port}\"\naccept = \"always\"\n{}lease = \"{lease}\"\n",
                lines()
            ),
        );
        Self { home, port }
    }

    fn hop(&self, ip: Ipv4Addr) -> NextHop {
        NextHop::start_at(SocketAddr::new(ip.into(), self.port), Behaviour::default())
    }

    fn run_file(&self, key: &str) -> SocketAddr {
        let run: serde_json::Value =
            serde_json::from_slice(&std::fs::read(self.home.path("data/run.json")).unwrap()).unwrap();
        run[key].as_str().unwrap().parse().unwrap()
    }

    fn listener(&self) -> SocketAddr {
        self.run_file("check-in")
    }

    /// What curl prints: the answer, then the status.
    fn curl(&self, address: SocketAddr, password: &str, query: &str) -> String {
        self.curl_from(OLD, address, password, query)
    }

    fn curl_from(&self, from: Ipv4Addr, address: SocketAddr, password: &str, query: &str) -> String {
        let output = tool("curl")
            .args(["--interface", &from.to_string()])
            .args(["--silent", "--write-out", "%{http_code}", "--user", &format!("example-org:{password}")])
            .arg(format!("http://{address}/nic/update?{query}"))
            .output()
            .unwrap();
        checked("curl", output)
    }

    fn check_in(&self, query: &str) -> String {
        self.curl(self.listener(), PASSWORD, &format!("hostname=example.org&{query}"))
    }

    fn private(&self, name: &str, text: &str) -> std::path::PathBuf {
        self.home.write(name, text);
        let path = self.home.path(name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Once, with the configuration of docs/check-in.md; what it said.
    fn ddclient(&self, script: &str, ip: Ipv4Addr, password: &str) -> String {
        let conf = self.private(
            "ddclient.conf",
            &format!(
                "ssl=no\nuse=ip, ip={ip}\nprotocol=dyndns2\nserver={}\nscript={script}\nlogin=example-org\npassword='{password}'\nmax-interval=5m\nexample.org\n",
                self.listener()
            ),
        );
        let output = tool("ddclient")
            .args(["-daemon=0", "-force", "-verbose", "-foreground", "-noquiet", "-file"])
            .arg(conf)
            .arg("-cache")
            .arg(self.home.path(&format!("ddclient-{}.cache", number())))
            .arg("-pid")
            .arg(self.home.path("ddclient.pid"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn inadyn(&self, path: &str, ip: Ipv4Addr) -> String {
        let conf = self.private(
            "inadyn.conf",
            &format!(
                "period = 60\nforced-update = 300\nverify-address = false\nallow-ipv6 = false\n\ncustom waypost {{\n    username = example-org\n    password = \"{PASSWORD}\"\n    hostname = example.org\n    checkip-command = \"/bin/echo {ip}\"\n    ssl = false\n    ddns-server = {}\n    ddns-path = \"{path}\"\n    ddns-response = {{ good, nochg }}\n}}\n",
                self.listener()
            ),
        );
        let cache = self.home.path(&format!("inadyn-{}", number()));
        std::fs::create_dir_all(&cache).unwrap();
        let output = tool("inadyn")
            .args(["--once", "--force", "--foreground", "--loglevel=debug", "--config"])
            .arg(conf)
            .arg("--cache-dir")
            .arg(cache)
            .arg("--pidfile")
            .arg(self.home.path("inadyn.pid"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

fn number() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn mail(gateway: &Gateway<'_>, subject: &str) {
    let reply = send(gateway.smtp, "ann@example.net", "bob@example.org", subject);
    assert!(reply.starts_with("250 "), "{reply}");
}

#[test]
fn ddclient_moves_a_next_hop_and_the_stranger_at_its_old_address_gets_nothing_more() {
    let scene = Scene::new("10 min");
    let (old, new) = (scene.hop(OLD), scene.hop(NEW));
    let gateway = scene.home.start();
    mail(&gateway, "before any check-in");
    let held = gateway.wait_for("bob@example.org", "held");
    assert!(held["reason"].as_str().unwrap().contains("has not checked in yet"), "{held}");

    let said = scene.ddclient("/nic/update", OLD, PASSWORD);
    assert!(said.contains("good: IP address set to 127.0.0.1"), "{said}");
    old.wait(1);
    mail(&gateway, "to the old address");
    old.wait(2);

    // A connection to the old address is still kept.
    let said = scene.ddclient("/nic/update", NEW, PASSWORD);
    assert!(said.contains("good: IP address set to 127.0.0.2"), "{said}");
    for i in 0..5 {
        mail(&gateway, &format!("after the move {i}"));
    }
    new.wait(5);
    gateway.wait_until_empty();
    assert_eq!(old.count(), 2);

    let said = scene.ddclient("/nic/update", NEW, PASSWORD);
    assert!(said.contains("nochg"), "{said}");

    let said = scene.ddclient("/nic/update?offline=YES&with=", NEW, PASSWORD);
    assert!(said.contains("good: IP address set to"), "{said}");
    mail(&gateway, "while it is away");
    let held = gateway.wait_for("bob@example.org", "held");
    assert!(held["reason"].as_str().unwrap().contains("is offline, as it has said"), "{held}");
    assert!(scene.check_in("offline=NOCHG").starts_with("nochg"));
    scene.ddclient("/nic/update", NEW, PASSWORD);
    new.wait(6);
    assert_eq!(old.count(), 2);
    gateway.stop();
}

#[test]
fn inadyn_moves_a_next_hop_and_says_that_it_is_away() {
    let scene = Scene::new("10 min");
    let (old, new) = (scene.hop(OLD), scene.hop(NEW));
    let gateway = scene.home.start();
    let path = "/nic/update?hostname=%h&myip=%i";
    scene.inadyn(path, OLD);
    mail(&gateway, "to the old address");
    old.wait(1);
    let said = scene.inadyn(path, NEW);
    mail(&gateway, "to the new address");
    until("the mail at the new address", || (new.count() == 1).then_some(()));
    assert!(said.contains("good 127.0.0.2"), "{said}");
    scene.inadyn(&format!("{path}&offline=YES"), NEW);
    mail(&gateway, "while it is away");
    gateway.wait_for("bob@example.org", "held");
    assert_eq!((old.count(), new.count()), (1, 1));
    gateway.stop();
}

#[test]
fn with_a_wrong_password_the_mail_stays_and_guessing_ends_soon() {
    let scene = Scene::new("10 min");
    let (old, thief) = (scene.hop(OLD), scene.hop(NEW));
    let gateway = scene.home.start();
    assert_eq!(scene.check_in("myip=127.0.0.1"), "good 127.0.0.1\n200");
    let said = scene.ddclient("/nic/update", NEW, "wrong horse");
    assert!(said.contains("authorization failed"), "{said}");
    let answer = scene.curl(scene.listener(), "", "hostname=example.org&myip=127.0.0.2");
    assert_eq!(answer, "badauth\n401");
    mail(&gateway, "to who is there");
    old.wait(1);
    let query = "hostname=example.org&myip=127.0.0.2";
    let answers: Vec<String> = (0..12).map(|i| scene.curl(scene.listener(), &format!("guess {i}"), query)).collect();
    assert!(answers.iter().any(|answer| answer == "badauth\n401"), "{answers:?}");
    assert_eq!(answers.last().unwrap(), "abuse\n200", "{answers:?}");
    mail(&gateway, "still to who is there");
    old.wait(2);
    assert_eq!(thief.count(), 0);
    gateway.stop();
}

#[test]
fn guesses_of_others_leave_one_try_to_a_host_that_has_moved() {
    let scene = Scene::new("10 min");
    let _gateway = scene.home.start();
    let ask = |from: u8, password: &str| {
        let from = Ipv4Addr::new(127, 0, 0, from);
        scene.curl_from(from, scene.listener(), password, "hostname=example.org&myip=127.0.0.1")
    };
    let answers: Vec<String> = (100..130).map(|from| ask(from, "guess")).collect();
    assert!(answers.iter().all(|answer| answer == "badauth\n401"), "{answers:?}");
    assert_eq!(ask(129, PASSWORD), "abuse\n200", "it has guessed");
    assert_eq!(ask(99, PASSWORD), "good 127.0.0.1\n200");
    assert_eq!(ask(99, PASSWORD), "nochg 127.0.0.1\n200");
}

#[test]
fn the_answers_are_those_that_routers_know() {
    let scene = Scene::new("10 min");
    scene.home.domain("collected.example", &format!("next-hop = \"127.0.0.1:{}\"\n{}", scene.port, lines()));
    let gateway = scene.home.start();
    let ask = |query: &str| scene.curl(scene.listener(), PASSWORD, query);
    assert_eq!(ask("hostname=home.example.invalid&myip=127.0.0.3"), "good 127.0.0.3\n200");
    assert_eq!(ask("hostname=example.org&myip=127.0.0.3&wildcard=ON&mx=x"), "nochg 127.0.0.3\n200");
    assert_eq!(ask("hostname=example.org,other.example,mail&myip=127.0.0.4"), "good 127.0.0.4\nnohost\nnotfqdn\n200");
    assert_eq!(ask("hostname=example.org&myip=::1,127.0.0.4"), "good ::1,127.0.0.4\n200");
    assert_eq!(ask("hostname=example.org"), "good 127.0.0.1\n200");
    // Each kind of address may be said alone.
    for address in ["::1", "127.0.0.1", "::1", "127.0.0.1"] {
        assert_eq!(ask(&format!("hostname=example.org&myip={address}")), format!("nochg {address}\n200"));
    }
    assert_eq!(ask("hostname=collected.example&myip=127.0.0.1"), "nohost\n200", "it has no lease");
    assert_eq!(ask("myip=127.0.0.1"), "notfqdn\n200");
    assert_eq!(ask(&format!("hostname={}", vec!["a.example"; 21].join(","))), "numhost\n200");
    for address in ["169.254.169.254", "0.0.0.0", "224.0.0.1", "somewhere", "127.0.0.1,127.0.0.2"] {
        assert_eq!(ask(&format!("hostname=example.org&myip={address}")), "dnserr\n200", "{address}");
    }
    let post = tool("curl")
        .args(["--silent", "--user", &format!("example-org:{PASSWORD}"), "--data", "x"])
        .arg(format!("http://{}/nic/update?hostname=example.org", scene.listener()))
        .output()
        .unwrap();
    assert_eq!(checked("curl", post), "badagent\n");
    // On the admin listener too, without its token; and the other one serves nothing else.
    assert_eq!(scene.curl(scene.run_file("admin"), PASSWORD, "hostname=example.org"), "nochg 127.0.0.1\n200");
    for path in ["/", "/api/queue", "/metrics"] {
        let other = tool("curl")
            .args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"])
            .arg(format!("http://{}{path}", scene.listener()))
            .output()
            .unwrap();
        assert_eq!(checked("curl", other), "404", "{path}");
    }
    gateway.stop();
}

#[test]
fn a_listener_of_the_gateways_own_is_no_place_for_a_next_hop() {
    let scene = Scene::new("10 min");
    let gateway = scene.home.start();
    scene.home.domain(
        "example.com",
        &format!(
            "next-hop = \"home.example.invalid:{}\"\naccept = \"always\"\n{}lease = \"10 min\"\n",
            gateway.smtp.port(),
            lines().replace("example-org", "example-com")
        ),
    );
    gateway.reload("reloaded", 1);
    let output = tool("curl")
        .args(["--silent", "--user", &format!("example-com:{PASSWORD}")])
        .arg(format!("http://{}/nic/update?hostname=example.com&myip=127.0.0.1", scene.listener()))
        .output()
        .unwrap();
    assert_eq!(checked("curl", output), "dnserr\n");
    gateway.stop();
}

#[test]
fn a_lease_that_is_not_prolonged_ends_by_itself() {
    let scene = Scene::new("2 s");
    let hop = scene.hop(OLD);
    let gateway = scene.home.start();
    assert!(scene.check_in("myip=127.0.0.1").starts_with("good"));
    mail(&gateway, "while the lease lives");
    hop.wait(1);
    // Without any mail: the lane goes away as the lease ends.
    until("the end of the lease", || scene.home.log().contains("has not checked in since").then_some(()));
    mail(&gateway, "after the lease");
    let held = gateway.wait_for("bob@example.org", "held");
    assert!(held["reason"].as_str().unwrap().contains("has not checked in since"), "{held}");
    assert_eq!(hop.count(), 1);
    assert!(scene.check_in("myip=127.0.0.1").starts_with("good"));
    hop.wait(2);
    gateway.stop();
}

#[test]
fn a_next_hop_whose_file_asks_for_no_lease_any_more_gets_what_waits_for_one() {
    let scene = Scene::new("10 min");
    let hop = scene.hop(OLD);
    let file = format!("next-hop = \"{OLD}:{}\"\naccept = \"always\"\n{}", scene.port, lines());
    scene.home.domain("example.org", &format!("{file}lease = \"10 min\"\n"));
    let gateway = scene.home.start();
    mail(&gateway, "before any check-in");
    gateway.wait_for("bob@example.org", "held");
    scene.home.domain("example.org", &file);
    gateway.reload("reloaded", 1);
    hop.wait(1);
    assert_eq!(scene.check_in("myip=127.0.0.2"), "nohost\n200");
    mail(&gateway, "where it always was");
    hop.wait(2);
    gateway.stop();
}

#[test]
fn a_lease_survives_a_kill() {
    let scene = Scene::new("10 min");
    let (stranger, hop) = (scene.hop(OLD), scene.hop(NEW));
    let gateway = scene.home.start();
    assert!(scene.check_in("myip=127.0.0.1").starts_with("good"));
    assert!(scene.check_in("myip=127.0.0.2").starts_with("good"));
    gateway.kill();
    let gateway = scene.home.start();
    mail(&gateway, "after the kill");
    hop.wait(1);
    assert_eq!(stranger.count(), 0);
    assert!(scene.check_in("offline=YES").starts_with("good"));
    gateway.kill();
    let gateway = scene.home.start();
    mail(&gateway, "while it is away");
    gateway.wait_for("bob@example.org", "held");
    assert_eq!((stranger.count(), hop.count()), (0, 1));
    gateway.stop();
}

#[test]
fn check_ins_are_taken_under_tls_by_default() {
    let home = Home::new("[check-in]\nlisten = \"127.0.0.1:0\"\n");
    let file = "next-hop = \"home.example.invalid:2525\"\naccept = \"always\"\n";
    home.domain("example.org", &format!("{file}{}lease = \"10 min\"\n", lines()));
    let scene = Scene { home, port: 2525 };
    let gateway = scene.home.start();
    let output = tool("curl")
        .args(["--silent", "--cacert"])
        .arg(scene.home.path("data/self-signed.crt"))
        .args(["--resolve", &format!("gw.test:{}:127.0.0.1", scene.listener().port())])
        .args(["--user", &format!("example-org:{PASSWORD}")])
        .arg(format!("https://gw.test:{}/nic/update?hostname=example.org", scene.listener().port()))
        .output()
        .unwrap();
    assert_eq!(checked("curl", output), "good 127.0.0.1\n");
    gateway.stop();
}
