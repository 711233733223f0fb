//! A plugin in shadow mode is asked, and changes nothing; what it would have changed is counted.

use crate::support::{gateway::Home, next_hop::NextHop, smtp::send, until};

#[test]
fn a_shadow_refuses_nobody_and_its_differences_are_told_with_samples() {
    let next_hop = NextHop::start();
    let home = Home::new("");
    home.with_plugin("hostile").domain(
        "example.org",
        &format!(
            "next-hop = \"{}\"\naccept = \"always\"\nplugins = [{{ use = \"hostile\", mode = \"shadow\", config = {{ message = \"reject\" }} }}]\n",
            next_hop.address
        ),
    );
    let gateway = home.start();
    for n in 0..4 {
        assert!(send(gateway.smtp, "a@x.test", "b@example.org", &format!("shadow {n}")).starts_with("250 "));
    }
    next_hop.wait(4);
    let diff = || -> serde_json::Value {
        serde_json::from_str(&home.output(&["plugin", "diff", "hostile", "--json"])).unwrap()
    };
    let found = until("four differences", || {
        let found = diff();
        let rejected = found.as_array()?.iter().find(|d| d["would"] == "reject" && d["did"] == "pass")?.clone();
        (rejected["count"] == 4).then_some(rejected)
    });
    assert_eq!((found["hook"].as_str(), found["domain"].as_str()), (Some("on-message"), Some("example.org")));
    assert_eq!(found["samples"].as_array().unwrap().len(), 3);
    let sample = found["samples"][0].as_str().unwrap();
    assert!(home.output(&["trace", sample]).contains("on-message (shadow: changes nothing): reject 550 5.7.1 Refused"));
    let text = home.output(&["plugin", "diff"]);
    assert!(text.contains("hostile for example.org, on-message: 4 asked, 0 the same"), "{text}");
    gateway.stop();
}
