//! The next hop is away: what is listed goes elsewhere, the rest waits and arrives when it is back.

use super::support::{
    gateway::Home,
    next_hop::{Behaviour, NextHop, free_address},
    smtp::send,
    until,
};

#[test]
fn while_the_next_hop_is_away_listed_senders_go_to_the_backup_and_the_rest_arrives_when_it_is_back() {
    let (address, backup) = (free_address(), NextHop::start());
    let home = Home::new("");
    home.with_plugin("vip-redirect").domain(
        "example.org",
        &format!(
            "next-hop = \"{address}\"\naccept = \"always\"\nplugins = [\"vip-redirect\"]\n[config.vip-redirect]\nsenders = [\"boss@partner.example\"]\nbackup = \"{}\"\n",
            backup.address
        ),
    );
    let gateway = home.start();
    for i in 0..5 {
        assert!(send(gateway.smtp, "boss@partner.example", "ann@example.org", &format!("vip {i}")).starts_with("250 "));
        assert!(
            send(gateway.smtp, "other@partner.example", "ann@example.org", &format!("rest {i}")).starts_with("250 ")
        );
    }
    let redirected = backup.wait(5);
    assert!(redirected.iter().all(|mail| mail.mail.contains("<boss@partner.example>")));
    let held = until("the rest to be held", || {
        let queue = gateway.queue(&["--state", "held"]);
        (queue["recipients"].as_array()?.len() == 5).then_some(queue)
    });
    assert!(held["recipients"][0]["waiting-for"].as_str().unwrap().contains(&address.to_string()));

    let back = NextHop::start_at(address, Behaviour::default());
    let arrived = back.wait(5);
    assert!(arrived.iter().all(|mail| mail.mail.contains("<other@partner.example>")));
    until("the queue to be empty", || (gateway.waiting() == 0).then_some(()));
    assert_eq!((backup.count(), back.count()), (5, 5));
    gateway.stop();
}
