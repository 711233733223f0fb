//! A disk without space or inodes: new mail is put off, what was acknowledged arrives, and room that comes back is
//! noticed by itself.

use super::support::{
    gateway::{Gateway, Home},
    next_hop::{Behaviour, NextHop, free_address},
    smtp::Client,
    tmpfs::Tmpfs,
    until,
};
use std::fs::File;

const WAITING: usize = 10;
/// Over the threshold, so that it goes to a file first.
const LARGE: usize = 300_000;

/// Two domains on a small disk: the next hop of one is there, that of the other comes later.
struct Scene {
    // Unmounted before the home, which it is mounted in, is removed.
    disk: Tmpfs,
    home: Home,
    open: NextHop,
    awaited: std::net::SocketAddr,
}

impl Scene {
    fn new(options: &str, keys: &str) -> Self {
        let home = Home::new(&format!("spool-threshold = \"64 KiB\"\n{keys}"));
        let disk = Tmpfs::mount(home.path("data"), options);
        let (open, awaited) = (NextHop::start(), free_address());
        for (name, address) in [("open.example", open.address), ("later.example", awaited)] {
            home.domain(name, &format!("next-hop = \"{address}\"\naccept = \"always\"\n"));
        }
        Self { disk, home, open, awaited }
    }

    /// With mail that is acknowledged and waits.
    fn start(&self) -> Gateway<'_> {
        let gateway = self.home.start();
        for n in 0..WAITING {
            let size = if n % 2 == 0 { LARGE } else { 100 };
            assert_eq!(mail(&gateway, "bob@later.example", &format!("waits-{n}"), size), "250");
        }
        gateway
    }

    /// The disk is full by now. Ends with room on it.
    fn goes_on(&self, gateway: &Gateway<'_>) {
        // What waits goes out, and its outcome is written.
        let later = NextHop::start_at(self.awaited, Behaviour::default());
        let mut arrived: Vec<String> = later.wait(WAITING).iter().map(|mail| subject(&mail.text())).collect();
        arrived.sort();
        assert_eq!(arrived, (0..WAITING).map(|n| format!("waits-{n}")).collect::<Vec<_>>());
        gateway.wait_until_empty();
        assert_eq!(later.count(), WAITING, "once each");
    }

    /// Room is back: by itself mail is taken again, small and large.
    fn recovers(&self, gateway: &Gateway<'_>) {
        self.disk.empty();
        let before = self.open.count();
        for (subject, size) in [("small", 100), ("large", LARGE)] {
            until("mail to be accepted again", || {
                (mail(gateway, "bob@open.example", subject, size) == "250").then_some(())
            });
        }
        self.open.wait(before + 2);
        gateway.wait_until_empty();
    }
}

/// The code and the short code of the reply that ends the transaction.
fn mail(gateway: &Gateway<'_>, recipient: &str, subject: &str, size: usize) -> String {
    let body = "x".repeat(60) + "\r\n";
    let content = format!("Subject: {subject}\r\n\r\n{}end", body.repeat(size / body.len()));
    let reply = Client::connect(gateway.smtp).mail("ann@client.test", recipient, &content);
    match reply.split_once(" Ok: queued as ") {
        Some(_) => "250".to_owned(),
        None => reply,
    }
}

fn subject(text: &str) -> String {
    text.split("Subject: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap_or_default().to_owned()
}

fn is_put_off(reply: &str) -> bool {
    reply.starts_with("452 4.3.1 [WP-FULL]")
}

/// Below the marks nothing has failed yet: MAIL itself is put off.
fn stops_at_the_mark(options: &str, keys: &str, of: &str, fill: impl FnOnce(&Tmpfs)) {
    let scene = Scene::new(options, keys);
    let gateway = scene.start();
    let low = format!("waypost_disk_low{{of=\"{of}\"}}");
    assert_eq!(gateway.metric(&low), "0");
    fill(&scene.disk);
    until("MAIL to be put off", || {
        let reply = Client::connect(gateway.smtp).command("MAIL FROM:<ann@client.test>");
        is_put_off(&reply).then_some(())
    });
    assert_eq!(gateway.metric(&low), "1");
    scene.goes_on(&gateway);
    scene.recovers(&gateway);
    assert_eq!(gateway.metric(&low), "0");
    let log = scene.home.log();
    assert!(log.contains("the disk is nearly full") && log.contains("the disk has room again"), "{log}");
    gateway.stop();
}

#[test]
fn mail_is_put_off_while_free_space_is_under_its_mark_and_deliveries_go_on() {
    // 4 MiB stay free: nothing that is written fails.
    let fill = |disk: &Tmpfs| {
        disk.fill();
        disk.give_back(4 << 20);
    };
    stops_at_the_mark("size=64m", "min-free-space = \"8 MiB\"", "space", fill);
}

#[test]
fn mail_is_put_off_while_free_inodes_are_under_their_mark_and_deliveries_go_on() {
    let fill = |disk: &Tmpfs| disk.fill_inodes(20);
    stops_at_the_mark("size=64m,nr_inodes=300", "min-free-space = \"1 MiB\"\nmin-free-inodes = 50", "inodes", fill);
}

#[test]
fn on_a_disk_without_any_space_mail_is_put_off_and_deliveries_go_on() {
    let scene = Scene::new("size=64m", "min-free-space = \"0 B\"\nmin-free-inodes = 0");
    let gateway = scene.start();
    scene.disk.fill();
    // A large mail already finds no room for its file, a small one none in the queue.
    for size in [LARGE, 60_000] {
        until("mail to be put off", || {
            let reply = mail(&gateway, "bob@open.example", "too-late", size);
            is_put_off(&reply).then_some(()).or_else(|| {
                // What the queue's file had room for already was taken, and arrives.
                assert_eq!(reply, "250");
                scene.disk.fill();
                None
            })
        });
    }
    scene.goes_on(&gateway);
    scene.recovers(&gateway);
    gateway.stop();
}

#[test]
fn on_a_disk_without_any_inode_large_mail_is_put_off_and_deliveries_go_on() {
    let scene = Scene::new("size=64m,nr_inodes=300", "min-free-space = \"0 B\"\nmin-free-inodes = 0");
    let gateway = scene.start();
    scene.disk.fill_inodes(0);
    assert!(is_put_off(&mail(&gateway, "bob@open.example", "too-late", LARGE)));
    scene.goes_on(&gateway);
    scene.recovers(&gateway);
    gateway.stop();
}

#[test]
fn a_gateway_that_is_started_on_a_full_disk_delivers_what_waits() {
    for keys in ["min-free-space = \"8 MiB\"\nmin-free-inodes = 10", "min-free-space = \"0 B\"\nmin-free-inodes = 0"] {
        let scene = Scene::new("size=64m,nr_inodes=300", keys);
        let gateway = scene.start();
        scene.disk.fill();
        scene.disk.fill_inodes(0);
        gateway.kill();
        // What the end of the process has given back is taken too.
        scene.disk.fill_more();
        let gateway = scene.home.start();
        assert!(is_put_off(&mail(&gateway, "bob@open.example", "too-late", LARGE)));
        scene.goes_on(&gateway);
        scene.recovers(&gateway);
        gateway.stop();
    }
}

#[test]
fn a_mail_that_is_announced_as_larger_than_the_disk_is_put_off_at_once() {
    let scene = Scene::new("size=64m", "min-free-space = \"8 MiB\"");
    let gateway = scene.start();
    let mut client = Client::connect(gateway.smtp);
    assert!(is_put_off(&client.command("MAIL FROM:<ann@client.test> SIZE=50000000")));
    assert!(client.command("MAIL FROM:<ann@client.test> SIZE=5000").starts_with("250 "));
    gateway.stop();
}

#[test]
fn a_gateway_whose_log_cannot_be_written_goes_on() {
    let scene = Scene::new("size=64m", "min-free-space = \"0 B\"");
    let gateway = scene.home.start_logging_to(File::options().write(true).open("/dev/full").unwrap());
    for n in 0..20 {
        assert_eq!(mail(&gateway, "bob@open.example", &format!("unseen-{n}"), 100), "250");
    }
    scene.open.wait(20);
    gateway.wait_until_empty();
    gateway.stop();
}
