//! Whole sessions, command lines and mail data, as a hostile client sends them.

use crate::{
    driver::{Driver, Mail, Said, config},
    oracle,
    pieces::{knob, pieces},
};
use mail::{Mailbox, Recipient};
use smtp::{BareLineEnds, ServerConfig, TlsOffer};

const HELLO: &[u8] = b"EHLO client.example\r\n";
const MAIL: &[u8] = b"MAIL FROM:<ann@client.example> SMTPUTF8\r\n";
const RCPT: &[u8] = b"RCPT TO:<bob@example.org>\r\n";

/// Any bytes as a session, in one piece and cut.
///
/// The mails are those that a naive reading of the bytes finds, no more; replies are well-formed; where the bytes are
/// cut changes nothing but whether the client is caught talking out of turn.
pub fn session(data: &[u8]) {
    let (cut, sent) = knob(data);
    let config = config_of(cut);
    let bare = config.bare_line_ends;
    let driver = || if cut & 4 == 0 { Driver::new(config.clone()) } else { Driver::trusted(config.clone()) };
    let whole = driver().run([sent]);
    let in_pieces = driver().run(pieces(cut, sent));
    for driver in [&whole, &in_pieces] {
        let contents: Vec<&[u8]> = driver.accepted.iter().map(|mail| &mail.content[..]).collect();
        assert_eq!(contents, oracle::accepted(sent, &driver.said(), bare), "mails that nobody sent");
        driver.accepted.iter().for_each(check_mail);
    }
    let (said, said_in_pieces) = (whole.said(), in_pieces.said());
    // Whatever was sent behind DATA or STARTTLS too early is seen only where it arrived together.
    match said.split_last() {
        Some((last, before)) if is_out_of_turn(last) => {
            assert!(said_in_pieces.starts_with(before), "{said:?} in one piece, {said_in_pieces:?} in many");
            assert!(in_pieces.accepted.starts_with(&whole.accepted));
        }
        _ => {
            assert_eq!(said, said_in_pieces, "cutting the input changes what is said");
            assert_eq!(whole.accepted, in_pieces.accepted);
            assert_eq!(whole.aborted, in_pieces.aborted);
        }
    }
}

/// One command line, in each state of a session: exactly one reply, and nothing unchecked in what is told.
pub fn command(data: &[u8]) {
    let line = memchr::memmem::find(data, b"\r\n").map_or(data, |end| &data[..end]);
    let wire = [line, b"\r\n"].concat();
    for before in [&[][..], &[HELLO], &[HELLO, MAIL], &[HELLO, MAIL, RCPT]] {
        let mut driver = Driver::trusted(ServerConfig { max_errors: 2, ..config() });
        before.iter().for_each(|command| driver.feed(command));
        let earlier = driver.said().len();
        driver.feed(&wire);
        let said = driver.said();
        check_answered(line, &said[earlier..], driver.closed);
        driver.eof();
        for name in &driver.hellos {
            assert!((1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()), "{name:?}");
        }
        for (recipient, raw) in &driver.recipients {
            check_recipient(recipient);
            let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
            assert!(raw.iter().all(|(name, value)| plain(name) && value.as_deref().is_none_or(plain)), "{raw:?}");
        }
        driver.accepted.iter().for_each(check_mail);
    }
}

/// Any bytes behind DATA, cut: only CRLF.CRLF ends them, and what comes out is what a naive reading gives.
pub fn data(data: &[u8]) {
    let (cut, text) = knob(data);
    let end = oracle::end_of_data(text);
    let (limit, bare) = (1000, bare_of(cut));
    let mut driver = in_transaction(limit, bare);
    driver.feed(b"DATA\r\n");
    let earlier = driver.said().len();
    // All but the last byte of the end: it decides.
    let (most, rest) = text.split_at(end.map_or(text.len(), |end| end - 1));
    pieces(cut, most).for_each(|piece| driver.feed(piece));
    assert_eq!(driver.said().len(), earlier, "ended too early");
    let Some(end) = end else { return driver.eof() };
    driver.feed(&rest[..1]);
    let content = oracle::canonical(&oracle::unstuffed(&text[..end]), bare);
    check_verdict(&driver, &content, limit, &driver.said()[earlier..]);
    driver.eof();
}

/// Any bytes in BDAT chunks of any sizes, cut: accepted as they are when they are lines, else refused as a whole.
pub fn bdat(data: &[u8]) {
    let (cut, rest) = knob(data);
    let (count, rest) = knob(rest);
    let count = usize::from(count % 8);
    let (sizes, text) = rest.split_at(count.min(rest.len()));
    let (limit, bare) = (1000, bare_of(cut));
    let mut driver = in_transaction(limit, bare);
    let earlier = driver.said().len();
    let mut left = text;
    let mut replies = 0;
    for size in sizes.iter().map(|size| Some(usize::from(*size))).chain([None]) {
        let (chunk, after) = left.split_at(size.unwrap_or(left.len()).min(left.len()));
        left = after;
        let last = if size.is_none() { " LAST" } else { "" };
        driver.feed(format!("BDAT {}{last}\r\n", chunk.len()).as_bytes());
        pieces(cut, chunk).for_each(|piece| driver.feed(piece));
        replies += 1;
        assert_eq!(driver.said().len(), earlier + replies, "each chunk has one reply");
    }
    let said = driver.said();
    let said = &said[earlier..];
    let refused = said.iter().find(|said| said.code != 250).cloned();
    let verdict = refused.unwrap_or_else(|| said[said.len() - 1].clone());
    let mut content = text.to_vec();
    oracle::end_last_line(&mut content, bare);
    let content = oracle::canonical(&content, bare);
    // A CR at the very end has no LF to come.
    let is_open = text.ends_with(b"\r") && bare == BareLineEnds::Refuse;
    // The end that a last line gets isn't counted.
    let size = oracle::canonical(text, bare).len() as u64;
    if is_open || oracle::first_fault(&content).is_some() || size > limit {
        assert!(driver.accepted.is_empty() && matches!(verdict.code, 550 | 552), "{verdict:?}");
    } else {
        check_verdict(&driver, &content, limit + 2, &[verdict]);
    }
    driver.feed(b"NOOP\r\n");
    assert_eq!(driver.said().last().map(|said| said.code), Some(250), "out of step");
    driver.eof();
}

fn config_of(knob: u8) -> ServerConfig {
    let tls = [TlsOffer::Optional, TlsOffer::None, TlsOffer::Required, TlsOffer::Optional][usize::from(knob >> 3) % 4];
    ServerConfig { tls, bare_line_ends: bare_of(knob), ..config() }
}

fn bare_of(knob: u8) -> BareLineEnds {
    if knob & 4 == 0 { BareLineEnds::Refuse } else { BareLineEnds::Normalise }
}

fn in_transaction(max_message_size: u64, bare_line_ends: BareLineEnds) -> Driver {
    let mut driver = Driver::new(ServerConfig { max_message_size, bare_line_ends, max_errors: u32::MAX, ..config() });
    [HELLO, MAIL, RCPT].iter().for_each(|command| driver.feed(command));
    driver
}

/// Both are answered 421 as soon as the bytes are there.
fn is_out_of_turn(said: &Said) -> bool {
    said.code == 421 && said.lines.iter().any(|line| line.contains("STARTTLS") || line.contains("reply to DATA"))
}

fn check_answered(line: &[u8], said: &[Said], closed: bool) {
    let is_chunk = line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"));
    match said {
        // Its bytes are still to come.
        [] => assert!(is_chunk, "not answered: {line:?}"),
        [first] => assert!(first.code != 421 || closed),
        [_, second] => assert!(second.code == 421 && closed, "{said:?}"),
        more => panic!("one command, {} replies: {more:?}", more.len()),
    }
    if line.iter().any(u8::is_ascii_control) && !is_chunk && !line.ends_with(b"\t") {
        assert!(said[0].code >= 500, "a control character was let through: {said:?}");
    }
}

fn check_mail(mail: &Mail) {
    if let Some(sender) = mail.envelope.sender.mailbox() {
        check_address(sender);
    }
    assert!((1..=5).contains(&mail.envelope.recipients.len()));
    mail.envelope.recipients.iter().for_each(check_recipient);
    assert!(mail.envelope.envid.as_deref().is_none_or(|envid| envid.len() <= 100 && is_harmless_xtext(envid)));
}

fn check_recipient(recipient: &Recipient) {
    check_address(&recipient.address);
    let original = recipient.orcpt.as_deref();
    assert!(original.is_none_or(|orcpt| orcpt.len() <= 500 && is_harmless_xtext(orcpt)), "{original:?}");
}

fn check_address(address: &Mailbox) {
    assert_eq!(address.as_str().parse::<Mailbox>().as_ref(), Ok(address), "does not read back");
    assert!(!address.as_str().contains(char::is_control), "{address:?}");
}

/// Decodes to printable ASCII.
fn is_harmless_xtext(text: &str) -> bool {
    let mut parts = text.split('+');
    let first = parts.next().unwrap_or_default();
    let decoded = |part: &str| part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
    first.bytes().all(|b| b.is_ascii_graphic())
        && parts.all(|part| {
            decoded(part).is_some_and(|b| (32..127).contains(&b)) && part.bytes().all(|b| b.is_ascii_graphic())
        })
}

/// That a mail's data was taken as it is, or refused for what is wrong first.
fn check_verdict(driver: &Driver, content: &[u8], limit: u64, said: &[Said]) {
    let [verdict] = said else { panic!("one reply is due: {said:?}") };
    let fault = oracle::first_fault(content);
    let is_too_large = fault.unwrap_or(content.len()) as u64 > limit;
    let expected = match (is_too_large, fault) {
        (true, _) => 552,
        (false, Some(_)) => 550,
        (false, None) if memchr::memmem::find(content, b"X-Reject").is_some() => 550,
        (false, None) => 250,
    };
    assert_eq!(verdict.code, expected, "{verdict:?}");
    let contents: Vec<&[u8]> = driver.accepted.iter().map(|mail| &mail.content[..]).collect();
    assert_eq!(contents, if expected == 250 { vec![content] } else { vec![] });
}
