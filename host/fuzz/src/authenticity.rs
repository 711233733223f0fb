//! A header section that wants to be believed.

use crate::oracle;
use bytes::Bytes;
use gateway::{author_domain, without_results_of};
use mail::{Content, Domain};
use mail_parser::MessageParser;

const HOSTNAME: &str = "mx.example.net";

/// No field is left that any reader takes for our Authentication-Results, and every other line is. Where an author is
/// found, another parser finds the same one.
pub fn authenticity(data: &[u8]) {
    // The gateway never has mail that is not lines.
    if oracle::first_fault(data).is_some() {
        return;
    }
    let content = Content::new(Bytes::copy_from_slice(data));
    let hostname: Domain = HOSTNAME.parse().expect("a domain");
    let cleaned = without_results_of(content.clone(), &hostname);
    assert_eq!(without_results_of(cleaned.clone(), &hostname), cleaned, "something was left");
    let (before, after) = (content.to_bytes(), cleaned.to_bytes());
    // It ends at the first empty line, which may be the first one of all.
    let section = match memchr::memmem::find(&after, b"\r\n\r\n") {
        _ if after.starts_with(b"\r\n") => &[],
        end => &after[..end.map_or(after.len(), |end| end + 2)],
    };
    assert!(unfolded(section).iter().all(|line| !is_ours(line)), "ours is left");
    // Nothing but whole lines went, and no other field.
    let mut left = before.split_inclusive(|byte| *byte == b'\n');
    for line in after.split_inclusive(|byte| *byte == b'\n') {
        let mut ahead = left.clone();
        match ahead.any(|other| other == line) {
            true => left = ahead,
            // A first line that begins with white space gets one in front of it.
            false => assert_eq!(line, b"\r\n", "a line that was not there"),
        }
    }
    if !before.to_ascii_lowercase().windows(22).any(|window| window == b"authentication-results") {
        assert_eq!(before, after, "another field went");
    }
    if let Ok(domain) = author_domain(&content) {
        check_author(&before, domain.as_str());
    }
}

fn check_author(mail: &[u8], domain: &str) {
    let parsed = MessageParser::default().parse(mail).expect("a mail with fields");
    let from = parsed.from().expect("a From field");
    for address in from.iter() {
        let theirs = address.address().expect("an address").rsplit('@').next().unwrap_or_default();
        // The other one leaves white space and comments in places where the grammar calls them obsolete.
        let Ok(theirs) = theirs.trim().parse::<mail::Domain>() else { continue };
        assert_eq!(theirs.as_str(), domain, "two readers, two authors");
    }
}

fn unfolded(section: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(section).replace("\r\n ", " ").replace("\r\n\t", " ");
    text.split("\r\n").map(str::to_ascii_lowercase).collect()
}

/// As the simplest reader has it.
fn is_ours(line: &str) -> bool {
    let Some((name, value)) = line.split_once(':') else { return false };
    let word = value.trim_start_matches([' ', '\t']).split([';', ' ', '\t']).next().unwrap_or_default();
    name.trim_end_matches([' ', '\t']) == "authentication-results" && word == HOSTNAME
}
