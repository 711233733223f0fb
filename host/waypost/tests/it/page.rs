//! The page, in the browser that Debian ships, and the metrics that stand beside it.

use super::support::{
    admin::{admin, ask, get},
    gateway::{Gateway, Home},
    next_hop::NextHop,
    smtp::send,
    tools::{checked, tool},
    until,
};

/// What a browser has made of the page, some seconds of its clock later.
fn seen(home: &Home, url: &str) -> String {
    let profile = home.path("browser");
    let browser = tool("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"])
        .args(["--virtual-time-budget=4000", "--timeout=60000"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(url)
        .output()
        .expect("chromium starts");
    checked("chromium", browser)
}

/// `good.example` with two plugins, one of them a shadow, and a mail that waits for a person.
fn busy(home: &Home, next_hop: &NextHop) {
    home.with_plugin("tag").with_plugin("hostile");
    home.domain(
        "good.example",
        &format!(
            "next-hop = \"{}\"\naccept = \"always\"\nplugins = [\"tag\", {{ use = \"hostile\", mode = \"shadow\", config = {{ message = \"reject\" }} }}]\n",
            next_hop.address
        ),
    );
    home.domain("broken.example", "next-hop = \"127.0.0.1:1\"\naccept = \"always\"\n");
}

fn prepared(gateway: &Gateway<'_>, next_hop: &NextHop) {
    let reply = send(gateway.smtp, "ann@client.test", "bob@good.example", "hello");
    assert!(reply.starts_with("250 "), "{reply}");
    next_hop.wait(1);
    let strange = "\"<img/src=x/onerror=document.title='run'>\"@broken.example";
    let reply = send(gateway.smtp, "ann@client.test", strange, "hello");
    assert!(reply.starts_with("250 "), "{reply}");
}

#[test]
fn a_browser_shows_what_the_gateway_does_and_nothing_without_the_token() {
    let next_hop = NextHop::start();
    let home = Home::new("");
    busy(&home, &next_hop);
    let gateway = home.start();
    prepared(&gateway, &next_hop);
    home.domain("wrong.example", "next-hopp = \"mx:25\"\n");
    let (address, token) = admin(&home);
    until("the mistake to be told", || get(address, "/api/status", Some(&token)).contains("next-hopp").then_some(()));

    let locked = seen(&home, &format!("http://{address}/"));
    assert!(!locked.contains("good.example") && locked.contains("<main id=\"room\" hidden"), "{locked}");

    let open = seen(&home, &format!("http://{address}/#token={token}"));
    for told in ["wrong.example.toml:1:1", "good.example", ">hostile<", ">reject<", "onerror"] {
        assert!(open.contains(told), "{told} is missing in {open}");
    }
    assert!(!open.contains("<img"), "what came with a mail is text: {open}");
    assert!(open.contains("<title>Waypost</title>"), "no script of a mail's ran: {open}");
    gateway.stop();
}

#[test]
fn metrics_count_the_queue_and_the_plugins_for_those_who_know_the_token() {
    let next_hop = NextHop::start();
    let home = Home::new("");
    busy(&home, &next_hop);
    let gateway = home.start();
    prepared(&gateway, &next_hop);
    let (address, token) = admin(&home);
    for path in ["/metrics", "/api/queue", "/api/plugins", "/api/trace?recipient=bob@good.example"] {
        let refused = get(address, path, None);
        assert!(refused.starts_with("HTTP/1.1 401 ") && !refused.contains("good.example"), "{path}: {refused}");
        assert!(get(address, path, Some("wrong")).starts_with("HTTP/1.1 401 "), "{path}");
    }
    let calls = "waypost_plugin_calls_total{plugin=\"tag\",domain=\"good.example\"} 1\n";
    let metrics = until("the calls to be counted", || {
        let metrics = get(address, "/metrics", Some(&token));
        metrics.contains(calls).then_some(metrics)
    });
    for line in [
        "waypost_queue_health{state=\"healthy\"} 1",
        "waypost_configuration_faults 0",
        "# TYPE waypost_queue_mails gauge",
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    gateway.stop();
}

#[test]
fn the_admin_interface_answers_no_other_page_and_no_other_name_even_with_the_token() {
    let home = Home::new("");
    let gateway = home.start();
    let (address, token) = admin(&home);
    let token = format!("Authorization: Bearer {token}\r\n");
    let status = |what: &str, headers: &str| {
        let answer = ask(address, what, &format!("{token}{headers}"));
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let ours = format!("Host: {address}\r\n");
    for (what, headers, expected) in [
        ("GET /api/status", ours.clone(), "200"),
        ("GET /api/status", "Host: evil.example\r\n".to_owned(), "421"),
        ("GET /", "Host: evil.example\r\n".to_owned(), "421"),
        ("GET /api/status", String::new(), "421"),
        ("POST /api/reload", format!("{ours}Content-Length: 0\r\nOrigin: http://evil.example\r\n"), "403"),
        ("POST /api/reload", format!("{ours}Content-Length: 0\r\nOrigin: http://{address}\r\n"), "200"),
        ("POST /api/reload", format!("{ours}Content-Length: 1000000000\r\n"), "413"),
        ("GET /api/domains/..%2f..%2fadmin-token", ours.clone(), "400"),
        ("GET /api/trace?id=../../admin-token", ours.clone(), "400"),
        ("POST /api/queue/remove?id=../../x", format!("{ours}Content-Length: 0\r\n"), "400"),
    ] {
        assert_eq!(status(what, &headers), expected, "{what} {headers}");
    }
    let stranger = ask(address, "GET /api/status", &ours);
    assert!(stranger.starts_with("HTTP/1.1 401"), "{stranger}");
    gateway.stop();
}
