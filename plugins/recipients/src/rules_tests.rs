//! The promises of [`Rules`]; no host is needed.

use super::*;
use waypost_sdk::config::parse;

fn rules(json: &str) -> Result<Rules, String> {
    Rules::new(parse(json, Settings::EXAMPLE)?)
}

fn passes(json: &str, address: &str) -> bool {
    match rules(json).unwrap().decide(address) {
        Verdict::Pass => true,
        Verdict::Reject(_) => false,
        other => panic!("{other:?}"),
    }
}

fn refusal(json: &str) -> String {
    rules(json).map(|_| ()).unwrap_err()
}

#[test]
fn without_a_list_nobody_is_refused() {
    for json in ["{}", r#"{"addresses":[]}"#, r#"{"fold-case":false}"#] {
        assert!(passes(json, "anyone@example.org"), "{json}");
    }
}

#[test]
fn who_is_listed_passes_and_who_is_not_is_refused() {
    let json = r#"{"addresses":["ann","bob@example.org","\"john doe\"","\"a@b\"","\"c@d\"@example.org"],"patterns":["sales-*","x?"]}"#;
    for (address, passes_here) in [
        ("ann@example.org", true),
        ("ann@other.example", true),
        ("bob@example.org", true),
        ("bob@other.example", false),
        ("\"ann\"@example.org", true),
        ("\"john doe\"@example.org", true),
        ("\"a@b\"@example.org", true),
        ("\"c@d\"@example.org", true),
        ("b@example.org", false),
        ("sales-eu@example.org", true),
        ("sales@example.org", false),
        ("x1@example.org", true),
        ("x12@example.org", false),
        ("anna@example.org", false),
        ("ann.x@example.org", false),
        ("\"ann@example.org\"@example.org", false),
    ] {
        assert_eq!(passes(json, address), passes_here, "{address}");
    }
}

#[test]
fn an_unknown_recipient_reads_a_stable_code() {
    let verdict = rules(r#"{"addresses":["ann"]}"#).unwrap().decide("zoe@example.org");
    assert_eq!(verdict, Verdict::reject(550, "5.1.1", "[WP-RCPT] No such user here"));
    let verdict = rules(r#"{"addresses":["ann"],"unknown":"Ask reception"}"#).unwrap().decide("zoe@example.org");
    assert_eq!(verdict, Verdict::reject(550, "5.1.1", "[WP-RCPT] Ask reception"));
    let verdict = rules(r#"{"addresses":["ann"],"unknown":"[WP-RCPT] Gone"}"#).unwrap().decide("zoe@example.org");
    assert_eq!(verdict, Verdict::reject(550, "5.1.1", "[WP-RCPT] Gone"));
}

#[test]
fn postmaster_always_passes() {
    let json = r#"{"addresses":["ann"],"fold-case":false}"#;
    for address in ["postmaster@example.org", "Postmaster@example.org", "POSTMASTER@example.org"] {
        assert!(passes(json, address), "{address}");
    }
    assert!(!passes(json, "postmaster2@example.org"));
}

#[test]
fn a_tag_is_ignored_unless_that_is_turned_off() {
    let list = r#""addresses":["ann","bob@example.org","eve+only"]"#;
    let on = format!("{{{list}}}");
    for (address, passes_here) in [
        ("ann+news@example.org", true),
        ("ann+a+b@example.org", true),
        ("ann+@example.org", true),
        ("bob+news@example.org", true),
        ("eve+only@example.org", true),
        ("eve+other@example.org", false),
        ("+ann@example.org", false),
        ("ann-news@example.org", false),
    ] {
        assert_eq!(passes(&on, address), passes_here, "{address}");
    }
    assert!(!passes(&format!("{{{list},\"plus-addressing\":false}}"), "ann+news@example.org"));
    let dashes = format!("{{{list},\"plus-separator\":\"-\"}}");
    assert!(passes(&dashes, "ann-news@example.org"));
    assert!(!passes(&dashes, "ann+news@example.org"));
}

#[test]
fn a_pattern_sees_the_local_part_without_its_tag_too() {
    assert!(passes(r#"{"patterns":["sales-?"]}"#, "sales-1+quote@example.org"));
    assert!(!passes(r#"{"patterns":["sales-?"],"plus-addressing":false}"#, "sales-1+quote@example.org"));
}

#[test]
fn case_makes_no_difference_unless_it_is_asked_for() {
    let list = r#""addresses":["Ann","BOB@Example.ORG","Grün"],"patterns":["Sales-*"]"#;
    let folding = format!("{{{list}}}");
    for address in ["aNN@example.org", "bob@example.org", "SALES-x@example.org", "GRÜN@example.org"] {
        assert!(passes(&folding, address), "{address}");
    }
    let exact = format!("{{{list},\"fold-case\":false}}");
    assert!(passes(&exact, "Ann@example.org") && !passes(&exact, "ann@example.org"));
    // A domain has no case.
    assert!(passes(&exact, "BOB@example.org") && !passes(&exact, "bob@example.org"));
    assert!(passes(&exact, "Sales-x@example.org") && !passes(&exact, "sales-x@example.org"));
}

#[test]
fn ten_thousand_addresses_are_looked_up_in_a_hash() {
    let names: Vec<String> = (0..10_000).map(|n| format!("\"user{n}\"")).collect();
    let rules = rules(&format!("{{\"addresses\":[{}]}}", names.join(","))).unwrap();
    for n in 0..10_000 {
        assert_eq!(rules.decide(&format!("user{n}@example.org")), Verdict::Pass);
        assert_ne!(rules.decide(&format!("nobody{n}@example.org")), Verdict::Pass);
    }
}

#[test]
fn a_bad_configuration_is_refused_with_its_key_and_an_example() {
    for (json, parts) in [
        (r#"{"adresses":["ann"]}"#, ["`adresses` is not a key here", "did you mean `addresses`?", "[\"ann\", "]),
        (r#"{"addresses":"ann"}"#, ["`addresses`", "expected a list", "for instance: addresses = "]),
        (r#"{"addresses":["ann",7]}"#, ["`addresses[1]`", "expected a string", "found 7"]),
        (r#"{"addresses":["a","@example.org"]}"#, ["`addresses[1]`", "half an address", "for instance \"ann\""]),
        (r#"{"addresses":["ann@"]}"#, ["`addresses[0]`", "half an address", "ann@example.org"]),
        (r#"{"addresses":[" "]}"#, ["`addresses[0]`", "is no address", "for instance"]),
        (r#"{"addresses":["\"\""]}"#, ["`addresses[0]`", "is no address", "for instance"]),
        (r#"{"addresses":["a@bücher.example"]}"#, ["`addresses[0]`", "ASCII form", "xn--"]),
        (r#"{"patterns":["*@example.org"]}"#, ["`patterns[0]`", "local part", "`addresses`"]),
        (r#"{"patterns":[""]}"#, ["`patterns[0]`", "is not a pattern", "sales-*"]),
        (r#"{"plus-separator":""}"#, ["`plus-separator`", "empty", "plus-separator = \"+\""]),
        (r#"{"fold-case":"no"}"#, ["`fold-case`", "true or false", "fold-case = true"]),
        (r#"{"unknown":"a\r\nb"}"#, ["`unknown`", "one line", "No such user here"]),
        (r#"{"unknown":""}"#, ["`unknown`", "is empty", "No such user here"]),
    ] {
        let message = refusal(json);
        for part in parts {
            assert!(message.contains(part), "{json}: {message}");
        }
    }
}

#[test]
fn the_examples_in_readme_and_messages_are_valid() {
    let readme = include_str!("../README.md");
    let block = readme.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let file: serde_json::Value = toml::from_str(block).unwrap();
    let example: serde_json::Value = toml::from_str(Settings::EXAMPLE).unwrap();
    for table in [&file["config"]["recipients"], &example] {
        rules(&table.to_string()).map(drop).unwrap();
    }
}
