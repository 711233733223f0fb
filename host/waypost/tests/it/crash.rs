//! The process is killed under load, again and again: everything that was answered 250 arrives, whole.

use super::support::{
    load::{Load, check, content, home, wait_until_empty},
    next_hop::{Behaviour, NextHop, free_address},
    smtp::Client,
    until,
};

const MAILS: usize = 2000;
const SESSIONS: usize = 10;
/// Of the gateway to one next hop, at most.
const CONNECTIONS: usize = 20;

#[test]
fn mail_that_was_acknowledged_survives_every_kill_and_arrives_whole() {
    let next_hop = NextHop::start();
    let home = home(next_hop.address);
    let mut gateway = home.start();
    let load = Load::start(gateway.smtp, MAILS, SESSIONS);
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
    let load = Load::start(gateway.smtp, MAILS, SESSIONS);
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
    let load = Load::start(gateway.smtp, MAILS, SESSIONS);
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
