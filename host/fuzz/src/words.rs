//! The field's words as strangers write them: addresses, header fields, next hops.

use crate::{oracle, pieces::knob};
use bytes::Bytes;
use mail::{Content, Domain, Edit, Mailbox, NextHop, Reply, ReversePath, Survey};

/// A mailbox, a domain and a next hop: whatever is read is written as one line that reads back as the same.
pub fn address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(mailbox) = text.parse::<Mailbox>() {
        let shown = mailbox.to_string();
        assert!(!shown.contains(char::is_control), "{shown:?}");
        assert_eq!(shown.parse().as_ref(), Ok(&mailbox));
        assert_eq!(Mailbox::new(mailbox.local_part(), &mailbox.domain()).as_ref(), Ok(&mailbox));
        // Byte for byte, quotes included.
        assert!(text.starts_with(mailbox.local_part()) && mailbox.local_part().len() <= 64);
        assert_eq!(mailbox.domain_str().parse(), Ok(mailbox.domain()));
        let path: ReversePath = shown.parse().expect("a mailbox is a reverse-path");
        assert_eq!(path.mailbox(), Some(&mailbox));
        let json = serde_json::to_string(&mailbox).expect("text");
        assert_eq!(serde_json::from_str::<Mailbox>(&json).expect("what was written"), mailbox);
    }
    if let Ok(domain) = text.parse::<Domain>() {
        let shown = domain.as_str();
        assert!(shown.is_ascii() && !shown.contains(|c: char| c.is_ascii_uppercase() && !domain.is_address_literal()));
        assert!(shown.bytes().all(|b| b.is_ascii_graphic() && !b"<>@\"(),;\\".contains(&b)), "{shown:?}");
        assert!((1..=255).contains(&shown.len()));
        assert_eq!(shown.parse().as_ref(), Ok(&domain), "one form only");
    }
    if let Ok(hop) = text.parse::<NextHop>() {
        let shown = hop.to_string();
        assert!(!shown.contains(char::is_control) && !shown.contains(' '), "{shown:?}");
        assert_eq!(shown.parse(), Ok(hop));
    }
}

/// A mail's header section: nothing is lost in splitting it, and an edit touches what it names and nothing else.
///
/// The first line of the input is `name: value` of an edit, the rest is the mail.
pub fn header(data: &[u8]) {
    let (choice, rest) = knob(data);
    let (edit, mail) = match memchr::memchr(b'\n', rest) {
        Some(end) => (&rest[..end], &rest[end + 1..]),
        None => (rest, &b""[..]),
    };
    let content = Content::new(Bytes::copy_from_slice(mail));
    assert_eq!(content.to_bytes(), mail);
    assert_eq!(content.fields().map(|field| field.raw).collect::<Vec<_>>().concat(), content.header()[..]);
    for field in content.fields() {
        assert!(!field.name.is_empty() && field.name.iter().all(u8::is_ascii_graphic), "{:?}", field.name);
        assert!(field.raw.starts_with(field.name) && field.raw.ends_with(b"\r\n"));
    }
    check_outline(&content, choice);
    let (Ok(edit), None) = (std::str::from_utf8(edit), oracle::first_fault(mail)) else { return };
    let (name, value) = edit.split_once(':').unwrap_or((edit, ""));
    let edit = match choice % 4 {
        0 => Edit::add_header(name, value),
        1 => Edit::set_header(name, value),
        2 => Edit::remove_header(name),
        _ => Edit::replace_body(value, name.as_bytes()),
    };
    if let Ok(edit) = edit {
        check_edit(&content, &edit, name, choice % 4);
    }
}

/// As its pieces give it, and as anybody sees it.
fn check_outline(content: &Content, step: u8) {
    let whole = content.outline();
    let mut survey = Survey::default();
    let step = usize::from(step) + 1;
    content.header().chunks(step).for_each(|piece| survey.header(piece));
    content.body().chunks(step).for_each(|piece| survey.body(piece));
    assert_eq!(survey.finish(), whole);
    let bytes = content.to_bytes();
    assert_eq!(whole.is_lines, oracle::first_fault(&bytes).is_none());
    assert_eq!((whole.len, whole.is_8bit), (bytes.len() as u64, !bytes.is_ascii()));
}

fn check_edit(before: &Content, edit: &Edit, name: &str, choice: u8) {
    let after = before.edited(std::slice::from_ref(edit));
    assert!(edit.diff(before).iter().all(|line| !line.contains(['\r', '\n'])));
    assert!(!edit.summary().contains(['\r', '\n']));
    // A reader that starts anew finds the same sections.
    let bytes = after.to_bytes();
    assert_eq!(oracle::first_fault(&bytes), None);
    let reread = Content::new(bytes);
    assert_eq!(reread.header(), after.header(), "what was body is taken for header, or the other way round");
    let ours = |field: &mail::HeaderField<'_>| {
        field.is(name)
            || (choice == 3 && (field.is("MIME-Version") || field.name.to_ascii_lowercase().starts_with(b"content-")))
    };
    let others = |content: &Content| -> Vec<Vec<u8>> {
        content.fields().filter(|field| !ours(field)).map(|field| field.raw.to_vec()).collect()
    };
    assert_eq!(others(before), others(&after), "another field was touched");
    let count = |content: &Content| content.fields().filter(|field| field.is(name)).count();
    match choice {
        0 => assert_eq!(count(&after), count(before) + 1),
        1 => assert_eq!(count(&after), 1),
        2 => assert_eq!(count(&after), 0),
        _ => {}
    }
    if choice != 3 {
        let bytes = after.to_bytes();
        assert!(bytes.ends_with(before.body()), "the body was touched");
    }
}

/// What a plugin, or another stranger, wants said to a client: refused, or one line and no more.
pub fn foreign_reply(data: &[u8]) {
    let (high, rest) = knob(data);
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let (enhanced, text) = text.split_once('|').map_or((None, text), |(code, text)| (Some(code), text));
    let Ok(reply) = Reply::checked(u16::from(high) * 3, enhanced, text) else { return };
    let mut wire = Vec::new();
    reply.write_to(&mut wire);
    let line = wire.strip_suffix(b"\r\n").expect("a whole line");
    assert!(!line.iter().any(|b| b.is_ascii_control()), "{line:?}");
    assert!((200..=559).contains(&reply.code) && line.starts_with(reply.code.to_string().as_bytes()));
}
