//! A client is gone before it has read what its data was answered, and sends again: its mail arrives once or twice, whole.

use super::support::{
    load::{content, home, name},
    next_hop::NextHop,
    smtp::Client,
};
use socket2::SockRef;
use std::{collections::BTreeMap, time::Duration};

const MAILS: usize = 60;

/// How it goes.
#[derive(Clone, Copy)]
enum Way {
    Close,
    Reset,
    /// Nothing is said: the host is gone, and the connection stays.
    Silence,
}

/// The whole mail, and no look at the reply.
fn vanish(client: Client, content: &str, way: Way, gone: &mut Vec<Client>) {
    let mut client = client;
    for line in ["MAIL FROM:<ann@client.test>", "RCPT TO:<bob@example.org>", "DATA"] {
        assert!(client.command(line).starts_with(['2', '3']), "{line}");
    }
    client.send(format!("{content}\r\n.\r\n").as_bytes()).expect("sent");
    match way {
        Way::Close => drop(client),
        Way::Reset => {
            // With a linger of zero the kernel says RST.
            SockRef::from(client.stream()).set_linger(Some(Duration::ZERO)).expect("set");
            drop(client);
        }
        Way::Silence => gone.push(client),
    }
}

#[test]
fn mail_of_a_client_that_vanished_after_the_dot_arrives_once_or_twice() {
    let next_hop = NextHop::start();
    let home = home(next_hop.address);
    let gateway = home.start();
    let mut gone = Vec::new();
    for n in 0..MAILS {
        let way = [Way::Close, Way::Reset, Way::Silence][n % 3];
        vanish(Client::connect(gateway.smtp), &content(&n.to_string()), way, &mut gone);
        // As it must where it has no reply.
        let reply = Client::connect(gateway.smtp).mail("ann@client.test", "bob@example.org", &content(&n.to_string()));
        assert!(reply.starts_with("250 "), "{reply}");
    }
    next_hop.wait(MAILS);
    drop(gone);
    // Sessions end before the gateway does: nothing is on its way any more.
    gateway.stop();
    let gateway = home.start();
    gateway.wait_until_empty();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for mail in next_hop.mails() {
        let name = name(&mail).expect("a name");
        assert_eq!(mail.below_marker("X-Load: "), Some(format!("{}\r\n", content(&name)).as_bytes()), "{name}");
        *counts.entry(name).or_default() += 1;
    }
    let twice = counts.values().filter(|count| **count == 2).count();
    println!("{twice} of {MAILS} arrived twice");
    assert_eq!(counts.len(), MAILS);
    assert!(counts.values().all(|count| (1..=2).contains(count)), "{counts:?}");
    gateway.stop();
}
