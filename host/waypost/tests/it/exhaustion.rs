//! No descriptors, little memory: the gateway goes on, and what it has acknowledged arrives.

use super::support::{
    gateway::{Gateway, Home, binary, memory},
    next_hop::{Behaviour, NextHop, free_address},
    smtp::{Client, send},
    tools::{checked, tool},
    until,
};
use std::time::Duration;

const DESCRIPTORS: usize = 120;
const WAITING: usize = 20;

fn is_greeted(client: &mut Client) -> bool {
    client.stream().set_read_timeout(Some(Duration::from_secs(1))).expect("set");
    client.reply().is_some_and(|reply| reply.starts_with("220 "))
}

/// Clients that say nothing, until one is no more greeted.
fn take_all(gateway: &Gateway<'_>) -> Vec<Client> {
    let mut clients = Vec::new();
    while clients.len() < 2 * DESCRIPTORS {
        let mut client = Client::open(gateway.smtp);
        let greeted = is_greeted(&mut client);
        clients.push(client);
        if !greeted {
            return clients;
        }
    }
    panic!("{DESCRIPTORS} descriptors are enough for {} clients", clients.len());
}

#[test]
fn without_descriptors_clients_wait_mail_is_kept_and_both_go_on_when_there_are_some_again() {
    let address = free_address();
    let home = Home::new("");
    home.domain("example.org", &format!("next-hop = \"{address}\"\naccept = \"always\"\n"));
    let mut limited = tool("prlimit");
    limited.arg(format!("--nofile={DESCRIPTORS}")).arg(binary());
    let gateway = home.start_by(limited);
    for n in 0..WAITING {
        assert!(send(gateway.smtp, "ann@client.test", &format!("r{n}@example.org"), "x").starts_with("250 "));
    }
    until("all to be held", || (gateway.listed(&["--state", "held"]).len() == WAITING).then_some(()));
    let mut clients = take_all(&gateway);
    until("the log to say so", || home.log().contains("Too many open files").then_some(()));

    // The next hop is back, but there is nothing to reach it with: its mail waits.
    let next_hop = NextHop::start_at(address, Behaviour::default());
    // A client that has got in before is served all the same.
    assert!(clients[0].command("NOOP").starts_with("250 "));
    let mut last = clients.pop().expect("the one that was not greeted");
    drop(clients);
    last.stream().set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    assert!(last.reply().is_some_and(|reply| reply.starts_with("220 ")), "who waited is greeted");
    assert!(last.command("EHLO client.test").starts_with("250 "));
    let reply = last.mail("ann@client.test", "last@example.org", "Subject: last\r\n\r\nHello.");
    assert!(reply.starts_with("250 "), "{reply}");
    next_hop.wait(WAITING + 1);
    gateway.wait_until_empty();
    assert_eq!(next_hop.count(), WAITING + 1, "each once");
    gateway.stop();
}

const LARGE: usize = 40;
const LARGE_BYTES: usize = 4 << 20;
/// What it gets beside what it has after its start: far less than all of the mails at once.
const MORE: u64 = 32 << 20;

#[test]
fn with_little_memory_mail_is_put_off_or_the_process_ends_and_what_was_acknowledged_arrives() {
    let address = free_address();
    let home = Home::new("");
    home.domain("example.org", &format!("next-hop = \"{address}\"\naccept = \"always\"\n"));
    let gateway = home.start();
    for n in 0..WAITING {
        assert!(send(gateway.smtp, "ann@client.test", &format!("small{n}@example.org"), "x").starts_with("250 "));
    }
    let limit = memory(&gateway, "VmData") + MORE;
    let limited = tool("prlimit").args(["--pid", &gateway.pid().to_string(), &format!("--data={limit}")]).output();
    checked("prlimit", limited.expect("prlimit starts"));
    let smtp = gateway.smtp;
    let senders: Vec<_> = (0..LARGE).map(|n| std::thread::spawn(move || large(smtp, n))).collect();
    let replies: Vec<String> = senders.into_iter().map(|sender| sender.join().expect("ended")).collect();
    let large = (0..LARGE).filter(|n| replies[*n].starts_with("250 ")).map(|n| format!("large{n}@example.org"));
    let acknowledged: Vec<String> = large.chain((0..WAITING).map(|n| format!("small{n}@example.org"))).collect();
    for reply in &replies {
        assert!(reply.is_empty() || reply.starts_with("250 ") || reply.starts_with('4'), "{reply}");
    }
    // One that is about to end may still let clients connect.
    let outlived = Client::try_open(smtp).is_ok_and(|mut client| is_greeted(&mut client));
    println!("{} of {LARGE} acknowledged; the process outlived it: {outlived}", acknowledged.len() - WAITING);
    let gateway = if outlived {
        gateway
    } else {
        gateway.kill();
        home.start()
    };
    let next_hop = NextHop::start_at(address, Behaviour::default());
    until("all that was acknowledged to arrive", || {
        let arrived: Vec<String> = next_hop.mails().iter().map(|mail| mail.recipients[0].clone()).collect();
        acknowledged.iter().all(|recipient| arrived.contains(recipient)).then_some(())
    });
    for mail in next_hop.mails() {
        assert!(mail.recipients[0].starts_with("small") || mail.content.len() > LARGE_BYTES, "half of a mail");
    }
    gateway.wait_until_empty();
    gateway.stop();
}

/// The final reply; none where the connection ended.
fn large(gateway: std::net::SocketAddr, n: usize) -> String {
    let Ok(mut client) = Client::try_open(gateway) else { return String::new() };
    if client.reply().is_none() || client.command("EHLO client.test").is_empty() {
        return String::new();
    }
    let line = format!("{}\r\n", "x".repeat(78));
    let content = format!("Subject: large\r\n\r\n{}end", line.repeat(LARGE_BYTES / line.len() + 1));
    client.mail("ann@client.test", &format!("large{n}@example.org"), &content)
}
