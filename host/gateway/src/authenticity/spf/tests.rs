//! RFC 7208's rules and limits, with a DNS that says what is wanted.

use super::{super::fake_dns::FakeDns, *};

const IP: &str = "192.0.2.7";

async fn of(dns: &FakeDns, ip: &str) -> AuthResult {
    let client = Client { ip: ip.parse().unwrap(), helo: Some("mail.example.org"), hostname: "gw.test" };
    check(dns, &client, &ReversePath::Mailbox("ann@example.org".parse().unwrap())).await.result
}

fn record(text: &str) -> FakeDns {
    FakeDns::default().with_txt("example.org", text)
}

#[tokio::test]
async fn each_mechanism_matches_what_it_names() {
    let dns = |text: &str| {
        let mut dns = record(text)
            .with_txt("in.example.org", "v=spf1 ip4:192.0.2.0/24 -all")
            .with_address("example.org", "192.0.2.9")
            .with_address("mx.example.org", IP)
            .with_address("mx.example.org", "2001:db8::7")
            .with_address("7.2.0.192.list.example.org", "127.0.0.2");
        dns.mx.insert("example.org".to_owned(), vec!["mx.example.org".to_owned()]);
        dns.names.insert(IP.parse().unwrap(), vec!["mx.example.org".to_owned(), "liar.example.net".to_owned()]);
        dns
    };
    for (text, ip, expected) in [
        ("v=spf1 +all", IP, AuthResult::Pass),
        ("V=SPF1 -all", IP, AuthResult::Fail),
        ("v=spf1 ~all", IP, AuthResult::SoftFail),
        ("v=spf1 ?all", IP, AuthResult::Neutral),
        ("v=spf1", IP, AuthResult::Neutral),
        ("v=spf10 -all", IP, AuthResult::None),
        ("v=spf1 ip4:192.0.2.0/29 -all", IP, AuthResult::Pass),
        ("v=spf1 ip4:192.0.2.8/29 -all", IP, AuthResult::Fail),
        ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8:1::1", AuthResult::Pass),
        ("v=spf1 ip4:0.0.0.0/0 -all", "2001:db8::1", AuthResult::Fail),
        ("v=spf1 a -all", IP, AuthResult::Fail),
        ("v=spf1 a/28 -all", IP, AuthResult::Pass),
        ("v=spf1 a:mx.example.org -all", "2001:db8::7", AuthResult::Pass),
        ("v=spf1 mx -all", IP, AuthResult::Pass),
        ("v=spf1 mx -all", "192.0.2.8", AuthResult::Fail),
        ("v=spf1 include:in.example.org -all", IP, AuthResult::Pass),
        ("v=spf1 include:in.example.org ~all", "198.51.100.1", AuthResult::SoftFail),
        ("v=spf1 redirect=in.example.org", "198.51.100.1", AuthResult::Fail),
        ("v=spf1 ptr -all", IP, AuthResult::Pass),
        ("v=spf1 ptr:example.net -all", IP, AuthResult::Fail),
        ("v=spf1 exists:%{ir}.list.%{d} -all", IP, AuthResult::Pass),
        ("v=spf1 exists:%{ir}.list.%{d} -all", "192.0.2.8", AuthResult::Fail),
        ("v=spf1 a:%{p} -all", IP, AuthResult::Pass),
        ("v=spf1 include:nothing.example -all", IP, AuthResult::PermError),
        ("v=spf1 redirect=nothing.example", IP, AuthResult::PermError),
        ("v=spf1 unknown:x -all", IP, AuthResult::PermError),
        ("v=spf1 unknown=x -all", IP, AuthResult::Fail),
    ] {
        assert_eq!(of(&dns(text), ip).await, expected, "{text} {ip}");
    }
}

#[tokio::test]
async fn an_included_record_leaves_no_trace_in_the_one_around_it() {
    let dns = record("v=spf1 include:in.example.net a:%{d2} -all")
        .with_txt("in.example.net", "v=spf1 -all")
        .with_address("example.org", IP);
    assert_eq!(of(&dns, IP).await, AuthResult::Pass);
}

#[tokio::test]
async fn two_records_are_an_error_and_other_texts_are_not() {
    let one = record("v=spf1 +all").with_txt("example.org", "google-site-verification=x");
    assert_eq!(of(&one, IP).await, AuthResult::Pass);
    assert_eq!(of(&one.with_txt("example.org", "v=spf1 -all"), IP).await, AuthResult::PermError);
}

#[tokio::test]
async fn the_eleventh_term_that_asks_dns_is_a_permerror() {
    for (terms, expected) in [(10, AuthResult::Pass), (11, AuthResult::PermError)] {
        let mut dns = FakeDns::default();
        let includes: String = (1..terms).map(|n| format!("a:h{n}.example ")).collect();
        for n in 1..terms {
            dns = dns.with_address(&format!("h{n}.example"), "198.51.100.9");
        }
        let dns = dns
            .with_txt("example.org", &format!("v=spf1 {includes} a:here.example -all"))
            .with_address("here.example", IP);
        assert_eq!(of(&dns, IP).await, expected, "{terms}");
    }
}

#[tokio::test]
async fn the_third_empty_answer_is_a_permerror() {
    let two = record("v=spf1 a:gone1.example exists:gone2.example ip4:192.0.2.7 -all");
    assert_eq!(of(&two, IP).await, AuthResult::Pass);
    let three = record("v=spf1 a:gone1.example exists:gone2.example mx:gone3.example ip4:192.0.2.7 -all");
    assert_eq!(of(&three, IP).await, AuthResult::PermError);
}

#[tokio::test]
async fn exchangers_without_an_address_of_the_clients_family_are_no_empty_answers() {
    let mut dns =
        record("v=spf1 mx include:provider.example -all").with_txt("provider.example", "v=spf1 ip6:2001:db8::/32 -all");
    let names: Vec<String> = (0..4).map(|n| format!("mx{n}.example.org")).collect();
    for name in &names {
        dns = dns.with_address(name, "198.51.100.9");
    }
    dns.mx.insert("example.org".to_owned(), names);
    assert_eq!(of(&dns, "2001:db8::7").await, AuthResult::Pass);
}

#[tokio::test]
async fn an_error_about_the_clients_name_is_no_empty_answer() {
    let dns = record("v=spf1 ptr a:gone1.example exists:gone2.example ip4:192.0.2.7 -all");
    assert_eq!(of(&dns, IP).await, AuthResult::PermError);
    assert_eq!(of(&dns.with_failing(IP), IP).await, AuthResult::Pass);
}

#[tokio::test]
async fn records_that_lead_round_in_circles_end() {
    let dns = record("v=spf1 include:b.example -all").with_txt("b.example", "v=spf1 include:example.org -all");
    assert_eq!(of(&dns, IP).await, AuthResult::PermError);
    assert!(dns.asked.lock().unwrap().len() <= 12);
    let dns = record("v=spf1 redirect=example.org");
    assert_eq!(of(&dns, IP).await, AuthResult::PermError);
    assert!(dns.asked.lock().unwrap().len() <= 12);
}

#[tokio::test]
async fn a_host_with_more_than_ten_exchangers_is_a_permerror() {
    let mut dns = record("v=spf1 mx -all");
    let names: Vec<String> = (0..11).map(|n| format!("mx{n}.example.org")).collect();
    for name in &names {
        dns = dns.with_address(name, "198.51.100.9");
    }
    dns.mx.insert("example.org".to_owned(), names);
    assert_eq!(of(&dns, IP).await, AuthResult::PermError);
}

#[tokio::test]
async fn what_dns_cannot_tell_is_a_temperror_and_never_a_fail() {
    for text in [
        "v=spf1 a:down.example -all",
        "v=spf1 mx:down.example -all",
        "v=spf1 include:down.example -all",
        "v=spf1 exists:down.example -all",
        "v=spf1 redirect=down.example",
    ] {
        assert_eq!(of(&record(text).with_failing("down.example"), IP).await, AuthResult::TempError, "{text}");
    }
    assert_eq!(of(&record("v=spf1 -all").with_failing("example.org"), IP).await, AuthResult::TempError);
    // RFC 7208 §5.5.
    assert_eq!(of(&record("v=spf1 ptr -all").with_failing(IP), IP).await, AuthResult::Fail);
}

#[tokio::test]
async fn the_null_reverse_path_is_checked_by_the_name_of_the_helo() {
    let dns = FakeDns::default().with_txt("mail.example.org", "v=spf1 ip4:192.0.2.7 -all");
    let check_helo = async |helo: Option<&str>| {
        let client = Client { ip: IP.parse().unwrap(), helo, hostname: "gw.test" };
        check(&dns, &client, &ReversePath::Null).await
    };
    let checked = check_helo(Some("Mail.Example.org")).await;
    assert_eq!(checked.result, AuthResult::Pass);
    assert_eq!(checked.identity, Some(Identity::Helo("mail.example.org".parse().unwrap())));
    for helo in [None, Some("localhost"), Some("[192.0.2.7]"), Some("a..b"), Some("x\r\ny.example")] {
        assert_eq!(check_helo(helo).await, Checked::default(), "{helo:?}");
    }
}
