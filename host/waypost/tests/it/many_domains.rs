//! One gateway for very many domains, each with plugins of its own choice.

use super::support::{
    gateway::{Home, memory},
    next_hop::NextHop,
    smtp::{Client, send},
};

const DOMAINS: usize = 1000;

#[test]
fn a_thousand_domains_with_three_plugins_each_fit_in_a_gigabyte() {
    let next_hop = NextHop::start();
    let home = Home::new("");
    home.with_plugin("recipients").with_plugin("greylist").with_plugin("tag");
    for n in 0..DOMAINS {
        let text = format!(
            "next-hop = \"{}\"\naccept = \"always\"\nplugins = [\"recipients\", \"greylist\", \"tag\"]\n[config.recipients]\naddresses = [\"bob\"]\n[config.tag]\nheaders = {{ X-Number = \"{n}\" }}\n",
            next_hop.address
        );
        home.domain(&format!("d{n}.example"), &text);
    }
    let gateway = home.start();
    let mut client = Client::connect(gateway.smtp);
    for n in 0..DOMAINS {
        let reply = client.mail("ann@client.test", &format!("bob@d{n}.example"), "Subject: hello\r\n\r\nHello.");
        assert!(reply.starts_with("250 "), "d{n}.example: {reply}");
    }
    let unknown = send(gateway.smtp, "ann@client.test", "eve@d500.example", "hello");
    assert!(unknown.starts_with("550 "), "{unknown}");
    for mail in next_hop.wait(DOMAINS) {
        let number = mail.recipients[0].split_once("bob@d").and_then(|(_, rest)| rest.split_once('.')).unwrap().0;
        assert!(mail.text().contains(&format!("X-Number: {number}\r\n")), "{}: {}", mail.recipients[0], mail.text());
    }
    let most = memory(&gateway, "VmHWM");
    assert!(most < 1 << 30, "{} MiB at the most", most >> 20);
    gateway.stop();
}
