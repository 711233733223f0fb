//! Clients that send as mail servers do, and a check of what became of their mails.

use super::{
    gateway::{Gateway, Home},
    next_hop::{NextHop, Recorded},
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

/// Sessions that submit mails for bob@example.org, each until they have read a 250 for it.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Where the gateway listens now; none while it is down.
    gateway: Mutex<Option<SocketAddr>>,
    next: AtomicUsize,
    /// How many mails there are.
    end: AtomicUsize,
    /// The names of the mails whose 250 was read.
    acknowledged: Mutex<Vec<String>>,
    /// Replies to a command, or to the data, that were no 2yz or 3yz.
    refusals: Mutex<Vec<String>>,
    given_up: AtomicBool,
}

impl Load {
    pub fn start(gateway: SocketAddr, mails: usize, sessions: usize) -> Self {
        let shared = Arc::new(Shared {
            gateway: Mutex::new(Some(gateway)),
            next: AtomicUsize::new(0),
            end: AtomicUsize::new(mails),
            acknowledged: Mutex::default(),
            refusals: Mutex::default(),
            given_up: AtomicBool::new(false),
        });
        let threads = (0..sessions).map(|_| shared.clone()).map(|shared| std::thread::spawn(move || shared.submit()));
        Self { threads: threads.collect(), shared }
    }

    pub fn gateway_is_at(&self, address: Option<SocketAddr>) {
        *self.shared.gateway.lock().unwrap() = address;
    }

    pub fn acknowledged(&self) -> usize {
        self.shared.acknowledged.lock().unwrap().len()
    }

    pub fn refusals(&self) -> Vec<String> {
        self.shared.refusals.lock().unwrap().clone()
    }

    pub fn wait_for(&self, count: usize) {
        until_within(Duration::from_secs(180), &format!("{count} acknowledged mails"), &mut || {
            (self.acknowledged() >= count).then_some(())
        });
    }

    /// The names of all that were acknowledged, once everything is submitted; without an end: what has been begun.
    pub fn finish(mut self) -> Vec<String> {
        let begun = self.shared.next.load(Ordering::SeqCst);
        self.shared
            .end
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |end| (end == usize::MAX).then_some(begun))
            .ok();
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
        let next = || {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            (number < self.end.load(Ordering::SeqCst)).then_some(number)
        };
        while let Some(number) = next() {
            // Each attempt has a name of its own: whether an unacknowledged one was stored is not known,
            // and if both arrive then neither is the other's duplicate.
            for attempt in 0.. {
                let name = format!("{number}-{attempt}");
                if self.given_up.load(Ordering::SeqCst) {
                    return;
                }
                let Some(mut client) = session.take().or_else(|| self.connect()) else { continue };
                let reply = client.mail("load@client.test", "bob@example.org", &content(&name));
                if reply.starts_with("250 ") {
                    self.acknowledged.lock().unwrap().push(name);
                    session = Some(client);
                    break;
                }
                if reply.starts_with(['4', '5']) {
                    self.refusals.lock().unwrap().push(reply);
                    std::thread::park_timeout(Duration::from_millis(10));
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
pub fn content(name: &str) -> String {
    let mut state = name.bytes().fold(17_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut text = format!("X-Load: {name}\r\nSubject: load\r\n\r\n");
    for _ in 0..state % 70 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text += &format!("{state:064x}\r\n");
    }
    text + "the end"
}

/// Checks that every acknowledged mail has arrived and that each that has is whole; how many came more than once.
pub fn check(acknowledged: &[String], arrived: &[Recorded]) -> usize {
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

/// Of the mail that `content` made; none for another.
pub fn name(mail: &Recorded) -> Option<String> {
    mail.text().split("X-Load: ").nth(1)?.split("\r\n").next().map(str::to_owned)
}

/// With example.org, as a load needs it.
pub fn home(next_hop: SocketAddr) -> Home {
    let home = Home::new("");
    home.domain("example.org", &format!("next-hop = \"{next_hop}\"\naccept = \"always\"\n"));
    home
}

/// Waits until all that was acknowledged has arrived and nothing waits any more; what has arrived.
pub fn wait_until_empty(gateway: &Gateway<'_>, next_hop: &NextHop, acknowledged: &[String]) -> Vec<Recorded> {
    next_hop.wait(acknowledged.len());
    until("all that was acknowledged to arrive", || {
        let arrived: HashSet<String> = next_hop.mails().iter().filter_map(name).collect();
        acknowledged.iter().all(|name| arrived.contains(name)).then_some(())
    });
    gateway.wait_until_empty();
    next_hop.mails()
}
