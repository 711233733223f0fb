//! Every known way to hide a second mail in the first one, cut at every byte, with both settings for bare line ends.

use crate::gateway::{Gateway, config};
use dialogue::smuggling::{self, Hiding, is_lines, normalised, normalised_chunks};
use smtp::BareLineEnds;

const HELLO: &[u8] = b"EHLO client.example\r\nMAIL FROM:<ann@client.example>\r\nRCPT TO:<unknown@example.org>\r\nRCPT TO:<bob@example.org>\r\n";
const SETTINGS: [BareLineEnds; 2] = [BareLineEnds::Refuse, BareLineEnds::Normalise];

/// What a session with parts that are writes of their own came to.
struct End {
    /// What the server said to those behind the first two.
    said: String,
    contents: Vec<Vec<u8>>,
}

fn run(bare: BareLineEnds, max_message_size: u64, parts: &[&[u8]]) -> End {
    let mut config = config();
    (config.max_message_size, config.bare_line_ends) = (max_message_size, bare);
    let mut gateway = Gateway::new(config);
    let mut said = Vec::new();
    for (nth, part) in parts.iter().enumerate() {
        let written = gateway.feed(part);
        if nth > 1 {
            said.extend_from_slice(&written);
        }
    }
    let contents = gateway.accepted.into_iter().map(|mail| mail.content).collect();
    End { said: String::from_utf8(said).unwrap(), contents }
}

/// The mail is relayed as it must be, or refused; the reply to NOOP behind it is the only other thing that is said.
fn assert_one_mail_or_none(data: &[u8], end: &End, replies: usize, expected: Option<Vec<u8>>) {
    let (shown, said) = (data.escape_ascii(), &end.said);
    assert_eq!(said.lines().count(), replies, "{shown} made the server say {said}");
    assert!(said.ends_with("250 2.0.0 OK\r\n"), "{shown}: {said}");
    assert_eq!(end.contents, Vec::from_iter(expected), "{shown}: {said}");
    if end.contents.is_empty() {
        assert!(said.contains("550 5.6.0"), "{shown}: {said}");
    }
}

fn for_each_cut(check: impl Fn(BareLineEnds, &Hiding, &[u8], &[u8])) {
    for hiding in smuggling::all() {
        for bare in SETTINGS {
            for cut in hiding.cuts() {
                let (first, second) = hiding.data.split_at(cut);
                check(bare, &hiding, first, second);
            }
        }
    }
}

/// What DATA must come to.
fn content(bare: BareLineEnds, data: &[u8]) -> Option<Vec<u8>> {
    normalised(data).filter(|_| bare == BareLineEnds::Normalise || is_lines(data))
}

fn chunked_content(bare: BareLineEnds, data: &[u8]) -> Option<Vec<u8>> {
    normalised_chunks(data).filter(|_| bare == BareLineEnds::Normalise || is_lines(data))
}

#[test]
fn no_variant_of_the_final_dot_hides_a_mail_in_data() {
    for_each_cut(|bare, hiding, first, second| {
        let end = run(bare, 1 << 20, &[HELLO, b"DATA\r\n", first, second, b"NOOP\r\n"]);
        assert_one_mail_or_none(&hiding.data, &end, 2, content(bare, &hiding.data));
    });
}

#[test]
fn no_variant_hides_a_mail_behind_one_that_is_too_large() {
    for_each_cut(|bare, hiding, first, second| {
        let data = &hiding.data;
        let End { said, contents } = run(bare, 20, &[HELLO, b"DATA\r\n", first, second, b"NOOP\r\n"]);
        assert!(contents.is_empty() && said.lines().count() == 2, "{}: {said}", data.escape_ascii());
        assert!(said.ends_with("250 2.0.0 OK\r\n"), "{said}");
        // What came first is told.
        let refusals = ["552 5.3.4", "550 5.6.0"];
        assert!(refusals.iter().any(|refusal| said.starts_with(refusal)), "{said}");
        assert!(said.starts_with("552") || content(bare, data).is_none(), "{}: {said}", data.escape_ascii());
    });
}

#[test]
fn no_variant_hides_a_mail_in_a_chunk() {
    for_each_cut(|bare, hiding, first, second| {
        let bdat = format!("BDAT {} LAST\r\n", hiding.data.len());
        let end = run(bare, 1 << 20, &[HELLO, bdat.as_bytes(), first, second, b"NOOP\r\n"]);
        assert_one_mail_or_none(&hiding.data, &end, 2, chunked_content(bare, &hiding.data));
    });
}

#[test]
fn no_variant_hides_a_mail_across_two_chunks() {
    for_each_cut(|bare, hiding, first, second| {
        let one = [format!("BDAT {}\r\n", first.len()).as_bytes(), first].concat();
        let two = [format!("BDAT {} LAST\r\n", second.len()).as_bytes(), second].concat();
        let end = run(bare, 1 << 20, &[HELLO, b"", &one, &two, b"NOOP\r\n"]);
        assert_one_mail_or_none(&hiding.data, &end, 3, chunked_content(bare, &hiding.data));
    });
}

#[test]
fn what_is_buffered_is_bounded_whatever_comes() {
    let junk: [&[u8]; 5] = [&[b'x'; 4096], &[b'\r'; 4096], &[b'\n'; 4096], &[b'.'; 4096], &[0; 4096]];
    let data = [HELLO, b"DATA\r\n"].concat();
    let chunk = [HELLO, b"BDAT 100000000\r\n"].concat();
    for (start, bare) in [&b""[..], HELLO, &data, &chunk].iter().flat_map(|start| SETTINGS.map(|bare| (start, bare))) {
        for piece in junk {
            let mut config = config();
            (config.max_message_size, config.max_errors, config.bare_line_ends) = (1 << 30, u32::MAX, bare);
            let mut gateway = Gateway::new(config);
            gateway.feed(start);
            for _ in 0..50 {
                gateway.feed(piece);
                assert!(gateway.server.input().len() <= 2048, "{} octets are kept", gateway.server.input().len());
            }
        }
    }
}
