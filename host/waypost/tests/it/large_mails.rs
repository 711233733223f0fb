//! Large mails cost disk, not memory: while they come in slowly, wait, and go out slowly.

use super::support::{
    content,
    faulty_hop::{Act, Fault, FaultyHop, Step},
    gateway::{Gateway, Home},
    next_hop::NextHop,
    smtp::Client,
    until,
};
use std::{collections::HashSet, fs};

const MIB: usize = 1 << 20;
/// What mail may take of memory here. The largest message is half of that.
const KEYS: &str = "max-message-size = \"8 MiB\"\nmax-mail-in-memory = \"16 MiB\"";
/// Beside mail: buffers of sessions, of the allocator and of the database.
const SLACK: usize = 32 * MIB;

/// The most memory that the process has had, in bytes.
fn peak(gateway: &Gateway<'_>) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn dotted(bytes: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(bytes.len() + bytes.len() / 50);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    stuffed
}

fn begin(gateway: &Gateway<'_>, recipient: &str) -> Client {
    let mut client = Client::connect(gateway.smtp);
    for line in ["MAIL FROM:<ann@client.test> BODY=8BITMIME".to_owned(), format!("RCPT TO:<{recipient}>")] {
        assert!(client.command(&line).starts_with("250 "));
    }
    assert!(client.command("DATA").starts_with("354 "));
    client
}

#[test]
fn forty_slow_senders_of_large_mails_cost_no_more_memory_than_is_set() {
    const SENDERS: usize = 40;
    const SIZE: usize = 4 * MIB;
    let next_hop = NextHop::start();
    let home = Home::new(KEYS);
    home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n", next_hop.address));
    let gateway = home.start();
    let before = peak(&gateway);
    let mails: Vec<Vec<u8>> = (0..SENDERS).map(|n| content::sample(&format!("large-{n}"), SIZE)).collect();
    // Nobody ends before all have sent all but the last: 160 MiB are under way then.
    let mut clients: Vec<Client> = Vec::new();
    for mail in &mails {
        let mut client = begin(&gateway, "bob@example.org");
        client.send(&dotted(mail)).unwrap();
        clients.push(client);
    }
    let mut small = Client::connect(gateway.smtp);
    assert!(small.mail("ann@client.test", "bob@example.org", "Subject: small\r\n\r\nx").starts_with("250 "));
    next_hop.wait(1);
    // All end at once: they are read back in turn.
    for client in &mut clients {
        client.send(b".\r\n").unwrap();
    }
    for client in &mut clients {
        let reply = client.reply().unwrap();
        assert!(reply.starts_with("250 "), "{reply}");
    }
    let arrived = next_hop.wait(SENDERS + 1);
    gateway.wait_until_empty();
    let grown = peak(&gateway) - before;
    let bound = 16 * MIB + SLACK;
    assert!(grown < bound, "{} MiB more than at the start, where {} are allowed", grown / MIB, bound / MIB);
    let arrived: HashSet<&[u8]> = arrived.iter().map(|mail| mail.without_trace()).collect();
    assert!(mails.iter().all(|mail| arrived.contains(&mail[..])), "not as they were sent");
    gateway.stop();
}

#[test]
fn a_next_hop_at_a_byte_a_second_takes_no_more_than_its_share_and_keeps_nobody_waiting() {
    const SLOW: usize = 24;
    const SIZE: usize = 4 * MIB;
    let slow = FaultyHop::start(Fault { step: Step::Content, act: Act::Trickle, lmtp: false });
    let honest = NextHop::start();
    let home = Home::new(KEYS);
    home.domain("slow.example", &format!("next-hop = \"{}\"\naccept = \"always\"\n", slow.address));
    home.domain("honest.example", &format!("next-hop = \"{}\"\naccept = \"always\"\n", honest.address));
    let gateway = home.start();
    let before = peak(&gateway);
    let mail = content::sample("large", SIZE);
    let send = |recipient: &str| {
        let mut client = begin(&gateway, recipient);
        client.send(&[&dotted(&mail)[..], b".\r\n"].concat()).unwrap();
        let reply = client.reply().unwrap();
        assert!(reply.starts_with("250 "), "{reply}");
    };
    // 96 MiB wait for the slow one, six times of what mail may take of memory.
    (0..SLOW).for_each(|_| send("bob@slow.example"));
    until("the slow next hop to be busy", || {
        (!gateway.listed(&["--domain", "slow.example", "--state", "claimed"]).is_empty()).then_some(())
    });
    (0..4).for_each(|_| send("bob@honest.example"));
    let arrived = honest.wait(4);
    assert!(arrived.iter().all(|arrived| arrived.without_trace() == mail));
    assert_eq!(gateway.listed(&["--domain", "slow.example"]).len(), SLOW, "nothing of it is lost meanwhile");
    let (grown, bound) = (peak(&gateway) - before, 16 * MIB + SLACK);
    assert!(grown < bound, "{} MiB more than at the start, where {} are allowed", grown / MIB, bound / MIB);
    gateway.kill();
}

#[test]
fn while_memory_is_short_new_mail_and_then_new_sessions_are_put_off_and_what_is_under_way_ends_well() {
    // Under the threshold of short memory, 16 KiB, so all of it stays in memory: of 512 KiB.
    const SENDERS: usize = 34;
    let next_hop = NextHop::start();
    let home =
        Home::new("max-message-size = \"256 KiB\"\nmax-mail-in-memory = \"1 MiB\"\nspool-threshold = \"16 KiB\"");
    home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n", next_hop.address));
    let gateway = home.start();
    let mail = dotted(&content::sample("held", 15_000));
    let mut clients: Vec<Client> = (0..SENDERS).map(|_| begin(&gateway, "bob@example.org")).collect();
    let mut waiting = Client::connect(gateway.smtp);
    let send = |clients: &mut [Client]| clients.iter_mut().for_each(|client| client.send(&mail).unwrap());
    send(&mut clients[..29]);
    until("MAIL to be put off", || {
        let reply = waiting.command("MAIL FROM:<ann@client.test>");
        waiting.command("RSET");
        reply.starts_with("452 4.3.1 [WP-MEMORY]").then_some(())
    });
    drop(Client::connect(gateway.smtp));
    send(&mut clients[29..]);
    until("sessions to be put off", || {
        let greeting = Client::open(gateway.smtp).reply().unwrap_or_default();
        greeting.starts_with("421 4.3.1 [WP-MEMORY]").then_some(())
    });
    for client in &mut clients {
        client.send(b".\r\n").unwrap();
        let reply = client.reply().unwrap();
        assert!(reply.starts_with("250 "), "{reply}");
    }
    until("mail to be accepted again", || {
        waiting.mail("ann@client.test", "bob@example.org", "Subject: late\r\n\r\nx").starts_with("250 ").then_some(())
    });
    next_hop.wait(SENDERS + 1);
    gateway.stop();
}

#[test]
fn nothing_is_left_of_a_large_mail_that_a_kill_cut_off() {
    let home = Home::new(KEYS);
    home.domain("example.org", "next-hop = \"127.0.0.1:1\"\naccept = \"always\"\n");
    let mut gateway = home.start();
    let disk_use = || fs::read_dir(home.path("data/incoming")).unwrap().count();
    for _ in 0..3 {
        let mut client = begin(&gateway, "bob@example.org");
        client.send(&dotted(&content::sample("cut", 3 * MIB))).unwrap();
        until("the data to be on disk", || (open_files(&gateway) > 0).then_some(()));
        assert_eq!(disk_use(), 0, "it has no name");
        gateway.kill();
        assert_eq!(client.reply(), None);
        gateway = home.start();
        assert_eq!((disk_use(), gateway.waiting(), open_files(&gateway)), (0, 0, 0));
    }
    gateway.stop();
}

/// Of mail that is coming in.
fn open_files(gateway: &Gateway<'_>) -> usize {
    let files = fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().flatten();
    let names = files.filter_map(|file| fs::read_link(file.path()).ok());
    names.filter(|name| name.to_string_lossy().contains("/data/incoming/")).count()
}
