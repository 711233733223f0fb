//! Every known way to hide a second mail in the first one, cut at every byte.

use crate::gateway::{Gateway, config};
use memchr::memmem;

const HIDDEN: &str = "MAIL FROM:<eve@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nhidden\r\n";
const HELLO: &[u8] = b"EHLO client.example\r\nMAIL FROM:<ann@client.example>\r\nRCPT TO:<bob@example.org>\r\n";

/// Whatever one program or another has taken for the line ends around the final dot.
fn variants() -> Vec<Vec<u8>> {
    const AROUND: [&str; 14] = [
        "", "\n", "\r", "\r\n", "\n\n", "\n\r", "\r\r", "\r\r\n", "\0", "\r\0\n", "\r\n\0", "\0\r\n", "\x1a", "\u{85}",
    ];
    let mut variants = Vec::new();
    for before in AROUND {
        for after in AROUND {
            for dots in [".", "..", ". "] {
                variants.push(format!("{before}{dots}{after}").into_bytes());
            }
        }
    }
    variants
}

/// The mail's data up to its real end, or none where `variant` is a real end.
fn data_with(variant: &[u8]) -> Option<Vec<u8>> {
    let data = [b"Subject: hi\r\n\r\nbody", variant, HIDDEN.as_bytes(), b".\r\n"].concat();
    (memmem::find(&data, b"\r\n.\r\n") == Some(data.len() - 5)).then_some(data)
}

fn is_lines(data: &[u8]) -> bool {
    let stripped = String::from_utf8_lossy(data).replace("\r\n", "");
    !stripped.contains(['\r', '\n', '\0'])
}

/// Runs the parts as writes of their own; what the server says to the last of them, and how many mails it took.
fn run(max_message_size: u64, parts: &[&[u8]]) -> (String, usize) {
    let mut config = config();
    config.max_message_size = max_message_size;
    let mut gateway = Gateway::new(config);
    let mut said = Vec::new();
    for (nth, part) in parts.iter().enumerate() {
        let written = gateway.feed(part);
        if nth > 1 {
            said.extend_from_slice(&written);
        }
    }
    (String::from_utf8(said).unwrap(), gateway.accepted.len())
}

fn assert_refused_or_whole(data: &[u8], (said, mails): (String, usize), refusal: &str) {
    let shown = String::from_utf8_lossy(data);
    assert_eq!(said.lines().count(), 2, "{shown:?} made the server say {said}");
    assert!(said.ends_with("250 2.0.0 OK\r\n"), "{said}");
    if is_lines(data) && refusal.starts_with("550") {
        assert!(said.starts_with("250 2.0.0 Queued") && mails == 1, "{shown:?}: {said}");
    } else {
        assert!(said.starts_with(refusal) && mails == 0, "{shown:?}: {said}");
    }
}

fn for_each_cut(data: &[u8], mut check: impl FnMut(&[u8], &[u8])) {
    // The hidden mail's own bytes are all alike: cuts around the variant and the end are what matters.
    for cut in (17..data.len()).filter(|cut| *cut < 36 || *cut > data.len() - 6) {
        let (first, second) = data.split_at(cut);
        check(first, second);
    }
}

#[test]
fn no_variant_of_the_final_dot_hides_a_mail_in_data() {
    for data in variants().iter().filter_map(|variant| data_with(variant)) {
        for_each_cut(&data, |first, second| {
            let result = run(1 << 20, &[HELLO, b"DATA\r\n", first, second, b"NOOP\r\n"]);
            assert_refused_or_whole(&data, result, "550 5.6.0");
        });
    }
}

#[test]
fn no_variant_hides_a_mail_behind_one_that_is_too_large() {
    for data in variants().iter().filter_map(|variant| data_with(variant)) {
        for_each_cut(&data, |first, second| {
            let (said, mails) = run(20, &[HELLO, b"DATA\r\n", first, second, b"NOOP\r\n"]);
            let refusal = if said.starts_with("552") { "552 5.3.4" } else { "550 5.6.0" };
            if refusal.starts_with("550") {
                assert!(!is_lines(&data), "{said}");
            }
            assert_refused_or_whole(&data, (said, mails), refusal);
        });
    }
}

#[test]
fn no_variant_hides_a_mail_in_a_chunk() {
    for data in variants().iter().filter_map(|variant| data_with(variant)) {
        let bdat = format!("BDAT {} LAST\r\n", data.len());
        for_each_cut(&data, |first, second| {
            let result = run(1 << 20, &[HELLO, bdat.as_bytes(), first, second, b"NOOP\r\n"]);
            assert_refused_or_whole(&data, result, "550 5.6.0");
        });
    }
}

#[test]
fn no_variant_hides_a_mail_across_two_chunks() {
    for data in variants().iter().filter_map(|variant| data_with(variant)) {
        for_each_cut(&data, |first, second| {
            let one = [format!("BDAT {}\r\n", first.len()).as_bytes(), first].concat();
            let two = [format!("BDAT {} LAST\r\n", second.len()).as_bytes(), second].concat();
            let (said, mails) = run(1 << 20, &[HELLO, b"", &one, &two, b"NOOP\r\n"]);
            assert_eq!(said.lines().count(), 3, "{said}");
            assert!(said.ends_with("OK\r\n"), "{said}");
            assert_eq!(mails, usize::from(is_lines(&data)), "{:?}", String::from_utf8_lossy(&data));
        });
    }
}

#[test]
fn what_is_buffered_is_bounded_whatever_comes() {
    let junk: [&[u8]; 5] = [&[b'x'; 4096], &[b'\r'; 4096], &[b'\n'; 4096], &[b'.'; 4096], &[0; 4096]];
    let data = [HELLO, b"DATA\r\n"].concat();
    let chunk = [HELLO, b"BDAT 100000000\r\n"].concat();
    for start in [&b""[..], HELLO, &data, &chunk] {
        for piece in junk {
            let mut config = config();
            config.max_message_size = 1 << 30;
            config.max_errors = u32::MAX;
            let mut gateway = Gateway::new(config);
            gateway.feed(start);
            for _ in 0..200 {
                gateway.feed(piece);
                assert!(gateway.server.input().len() <= 2048, "{} octets are kept", gateway.server.input().len());
            }
        }
    }
}
