//! The process is killed under load, again and again: everything that was answered 250 arrives, whole.

use super::support::{
    gateway::{Gateway, Home},
    next_hop::{Behaviour, NextHop, Recorded, free_address},
    smtp::Client,
    until, until_within,
};
use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

const MAILS: usize = 2000;
const SESSIONS: usize = 10;
/// Of the gateway to one next hop, at most.
const CONNECTIONS: usize = 20;

/// Clients that submit `MAILS` mails over `SESSIONS` sessions, each until they have read a 250 for it.
struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Where the gateway listens now; none while it is down.
    gateway: Mutex<Option<SocketAddr>>,
    next: AtomicUsize,
    /// The names of the mails whose 250 was read.
    acknowledged: Mutex<Vec<String>>,
    given_up: AtomicBool,
}

impl Load {
    fn start(gateway: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            gateway: Mutex::new(Some(gateway)),
            next: AtomicUsize::new(0),
            acknowledged: Mutex::default(),
            given_up: AtomicBool::new(false),
        });
        let threads = (0..SESSIONS).map(|_| shared.clone()).map(|shared| std::thread::spawn(move || shared.submit()));
        Self { threads: threads.collect(), shared }
    }

    fn gateway_is_at(&self, address: Option<SocketAddr>) {
        *self.shared.gateway.lock().unwrap() = address;
    }

    fn wait_for(&self, count: usize) {
        let acknowledged = || self.shared.acknowledged.lock().unwrap().len();
        until_within(Duration::from_secs(180), &format!("{count} acknowledged mails"), &mut || {
            (acknowledged() >= count).then_some(())
        });
    }

    /// The names of all that were acknowledged, once everything is submitted.
    fn finish(mut self) -> Vec<String> {
        self.wait_for(MAILS);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        self.shared.acknowledged.lock().unwrap().clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.given_up.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    /// One session after another: as a mail server does, it keeps each mail until it has read the 250.
    fn submit(&self) {
        let mut session = None;
        let next = || Some(self.next.fetch_add(1, Ordering::SeqCst)).filter(|number| *number < MAILS);
        while let Some(number) = next() {
            // Each attempt has a name of its own: whether an unacknowledged one was stored is not known,
            // and if both arrive then neither is the other's duplicate.
            for attempt in 0.. {
                let name = format!("{number}-{attempt}");
                if self.given_up.load(Ordering::SeqCst) {
                    return;
                }
                let Some(mut client) = session.take().or_else(|| self.connect()) else { continue };
                if client.mail("load@client.test", "bob@example.org", &content(&name)).starts_with("250 ") {
                    self.acknowledged.lock().unwrap().push(name);
                    session = Some(client);
                    break;
                }
            }
        }
    }

    fn connect(&self) -> Option<Client> {
        let mut client = (*self.gateway.lock().unwrap()).and_then(|address| Client::try_open(address).ok());
        let greeted = client.as_mut().is_some_and(|client| {
            client.reply().is_some_and(|reply| reply.starts_with("220 "))
                && client.command("EHLO load.test").starts_with("250 ")
        });
        if !greeted {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        client.filter(|_| greeted)
    }
}

/// The header and a body of 0 to 5 KB, without the last line end; the same for the same name.
fn content(name: &str) -> String {
    let mut state = name.bytes().fold(17_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut text = format!("X-Load: {name}\r\nSubject: load\r\n\r\n");
    for _ in 0..state % 70 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text += &format!("{state:064x}\r\n");
    }
    text + "the end"
}

/// Checks that every acknowledged mail has arrived and that each that has is whole; how many came more than once.
fn check(acknowledged: &[String], arrived: &[Recorded]) -> usize {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for mail in arrived {
        let name = name(mail).expect("a name");
        let sent = format!("{}\r\n", content(&name));
        assert_eq!(mail.below_marker("X-Load: "), Some(sent.as_bytes()), "{name} did not arrive as it was sent");
        *counts.entry(name).or_default() += 1;
    }
    let lost: Vec<&String> = acknowledged.iter().filter(|name| !counts.contains_key(*name)).collect();
    assert!(lost.is_empty(), "{} acknowledged mails are lost: {lost:?}", lost.len());
    counts.values().map(|count| count - 1).sum()
}

fn home(next_hop: SocketAddr) -> Home {
    let home = Home::new("");
    home.domain("example.org", &format!("next-hop = \"{next_hop}\"\naccept = \"always\"\n"));
    home
}

fn name(mail: &Recorded) -> Option<String> {
    mail.text().split("X-Load: ").nth(1)?.split("\r\n").next().map(str::to_owned)
}

/// Waits until all that was acknowledged has arrived and nothing waits any more; what has arrived.
fn wait_until_empty(gateway: &Gateway<'_>, next_hop: &NextHop, acknowledged: &[String]) -> Vec<Recorded> {
    next_hop.wait(acknowledged.len());
    until("all that was acknowledged to arrive", || {
        let arrived: HashSet<String> = next_hop.mails().iter().filter_map(name).collect();
        acknowledged.iter().all(|name| arrived.contains(name)).then_some(())
    });
    gateway.wait_until_empty();
    next_hop.mails()
}

#[test]
fn mail_that_was_acknowledged_survives_every_kill_and_arrives_whole() {
    let next_hop = NextHop::start();
    let home = home(next_hop.address);
    let mut gateway = home.start();
    let load = Load::start(gateway.smtp);
    let kills = [300, 900, 1500];
    for moment in kills {
        load.wait_for(moment);
        gateway.kill();
        load.gateway_is_at(None);
        gateway = home.start();
        load.gateway_is_at(Some(gateway.smtp));
    }
    let acknowledged = load.finish();
    let arrived = wait_until_empty(&gateway, &next_hop, &acknowledged);
    let duplicates = check(&acknowledged, &arrived);
    // What a kill can repeat is what the next hop has taken and the disk doesn't know yet: on each
    // connection one mail whose reply was not read, and the outcomes that wait for the writer. A session
    // waits for the 250 of its mail, which comes with the group that its mail was written in, so no more
    // than one mail of each session belongs to a group, and two are under way: one is being written, the
    // other gathers.
    let bound = kills.len() * (CONNECTIONS + 2 * SESSIONS);
    println!("{} arrived, {duplicates} of them duplicates; up to {bound} are possible", arrived.len());
    assert!(duplicates <= bound, "{duplicates} duplicates, more than the {bound} that were on their way");
    gateway.stop();
}

#[test]
fn mail_that_is_held_while_the_next_hop_is_away_survives_kills_and_arrives_once() {
    let address = free_address();
    let home = home(address);
    let mut gateway = home.start();
    let load = Load::start(gateway.smtp);
    load.wait_for(MAILS / 2);
    gateway.kill();
    load.gateway_is_at(None);
    gateway = home.start();
    load.gateway_is_at(Some(gateway.smtp));
    let acknowledged = load.finish();
    until("everything to be held", || {
        let counts = &gateway.queue(&["--limit", "1"])["counts"];
        (counts["held"] == counts["recipients"]).then_some(())
    });
    gateway.kill();

    let gateway = home.start();
    let waiting = gateway.waiting() as usize;
    assert!((MAILS..=MAILS + SESSIONS).contains(&waiting), "{waiting} wait after the kill");
    let next_hop = NextHop::start_at(address, Behaviour::default());
    let arrived = wait_until_empty(&gateway, &next_hop, &acknowledged);
    assert_eq!((check(&acknowledged, &arrived), arrived.len()), (0, waiting));
    gateway.stop();
}

#[test]
fn a_gateway_that_is_told_to_stop_under_load_loses_and_repeats_nothing() {
    let next_hop = NextHop::start();
    let home = home(next_hop.address);
    let mut gateway = home.start();
    let load = Load::start(gateway.smtp);
    for moment in [400, 1200] {
        load.wait_for(moment);
        gateway.stop();
        load.gateway_is_at(None);
        gateway = home.start();
        load.gateway_is_at(Some(gateway.smtp));
    }
    let acknowledged = load.finish();
    let arrived = wait_until_empty(&gateway, &next_hop, &acknowledged);
    assert_eq!(check(&acknowledged, &arrived), 0, "duplicates");
    gateway.stop();
}

#[test]
fn a_second_process_on_the_same_data_directory_refuses_and_disturbs_nothing() {
    let next_hop = NextHop::start();
    let home = home(next_hop.address);
    let gateway = home.start();
    let second = home.command(&["run"]);
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(told.contains(&gateway.pid().to_string()) && told.contains("data/queue"), "{told}");
    assert_eq!(gateway.waiting(), 0, "the command line still finds the first");
    let mut client = Client::connect(gateway.smtp);
    assert!(client.mail("ann@client.test", "bob@example.org", &content("x")).starts_with("250 "));
    next_hop.wait(1);
    gateway.stop();
}
