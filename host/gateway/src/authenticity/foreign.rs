//! Removes Authentication-Results fields that claim to be ours (RFC 8601 §5): whoever reads them behind us must find
//! none that a stranger wrote. Pure.

use super::author::is_whole;
use mail::{Content, Domain};

const FIELD: &[u8] = b"authentication-results";
/// In bytes; with more it is nobody's name.
const MAX_NAME: usize = 1024;

/// How much of the mail is looked at.
pub fn reads(content: &Content) -> usize {
    content.header().len() + if is_whole(content) { 0 } else { content.body().len() }
}

/// The same mail without them; those of other hosts stay.
pub fn remove(content: Content, hostname: &Domain) -> Content {
    let content = match has_ours(content.header(), hostname) {
        false => content,
        true => content.with_header(kept(content.header(), hostname).fold(Vec::new(), joined)),
    };
    if is_whole(&content) {
        return content;
    }
    // Some readers go on looking for fields behind a fault, up to the first empty line.
    let body = content.body();
    let end = memchr::memmem::find(body, b"\r\n\r\n").map_or(body.len(), |at| at + 2);
    let (section, rest) = body.split_at_checked(end).unwrap_or((body, &[]));
    if !has_ours(section, hostname) {
        return content;
    }
    let mut whole = Vec::with_capacity(content.len());
    whole.extend_from_slice(content.header());
    whole = kept(section, hostname).fold(whole, joined);
    whole.extend_from_slice(rest);
    Content::new(whole.into())
}

fn has_ours(section: &[u8], hostname: &Domain) -> bool {
    logical_lines(section).any(|field| is_ours(field, hostname))
}

/// The lines of a header section but for those of such fields.
fn kept<'a>(section: &'a [u8], hostname: &Domain) -> impl Iterator<Item = &'a [u8]> {
    logical_lines(section).filter(|field| !is_ours(field, hostname))
}

fn joined(mut before: Vec<u8>, field: &[u8]) -> Vec<u8> {
    before.extend_from_slice(field);
    before
}

/// Each with the lines that continue it. One after the other: a mail may be nothing but lines.
fn logical_lines(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', section).map(|at| at + 1).chain([section.len()]);
    ends.filter_map(move |end| {
        if matches!(section.get(end), Some(b' ' | b'\t')) || end <= start {
            return None;
        }
        section.get(std::mem::replace(&mut start, end)..end)
    })
}

fn is_ours(field: &[u8], hostname: &Domain) -> bool {
    let Some(colon) = memchr::memchr(b':', field) else { return false };
    let (name, value) = field.split_at(colon);
    if !name.trim_ascii().eq_ignore_ascii_case(FIELD) {
        return false;
    }
    let host = service(value.get(1..).unwrap_or_default());
    let host = host.strip_suffix(b".").unwrap_or(&host);
    // One that cannot be read could be anybody's.
    host.is_empty() || host.eq_ignore_ascii_case(hostname.as_str().as_bytes()) || is_written_as(host, hostname)
}

/// RFC 8601 §2.5: in letters of any script.
fn is_written_as(host: &[u8], hostname: &Domain) -> bool {
    let is_same = |host: &str| host.parse().is_ok_and(|host: Domain| host == *hostname);
    !host.is_ascii() && std::str::from_utf8(host).is_ok_and(is_same)
}

/// RFC 8601 §2.2's authserv-id: the first word, comments and quotes taken away.
fn service(value: &[u8]) -> Vec<u8> {
    let (mut word, mut depth, mut quoted) = (Vec::new(), 0_u32, false);
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if depth > 0 || quoted => {
                let escaped = bytes.next();
                word.extend(escaped.filter(|_| depth == 0));
            }
            b'(' if !quoted => depth = depth.saturating_add(1),
            b')' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            b'"' => quoted = !quoted,
            b'\r' | b'\n' => {}
            b' ' | b'\t' | b';' | b'=' | b'/' if !quoted => {
                if !word.is_empty() || byte == b';' {
                    break;
                }
            }
            byte if word.len() < MAX_NAME => word.push(byte),
            _ => break,
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn without(mail: &str) -> String {
        without_that_of("gw.test", mail)
    }

    fn without_that_of(hostname: &str, mail: &str) -> String {
        let content = remove(Content::new(Bytes::from(mail.to_owned())), &hostname.parse().unwrap());
        String::from_utf8(content.to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_field_with_our_name_goes_however_it_is_written() {
        for field in [
            "Authentication-Results: gw.test; spf=pass\r\n",
            "authentication-results : GW.test.; none\r\n",
            "Authentication-Results:gw.test;spf=pass\r\n",
            "Authentication-Results:\r\n\tgw.test 1;\r\n\tdkim=pass\r\n",
            "Authentication-Results: (a (comment) \\) ) gw.test; none\r\n",
            "Authentication-Results: \"gw.test\"; none\r\n",
            "Authentication-Results: \"g\\w.test\"; none\r\n",
            "Authentication-Results: gw.test(comment); none\r\n",
            "Authentication-Results: gw.test/1; none\r\n",
            "Authentication-Results: gw.test\r\n ; none\r\n",
            "Authentication-Results: ; spf=pass\r\n",
            "Authentication-Results: (unclosed gw.test; spf=pass\r\n",
            "Authentication-Results:\r\n",
        ] {
            let mail = |field: &str| format!("A: 1\r\n{field}B: 2\r\n 3\r\n\r\nbody\r\n");
            assert_eq!(without(&mail(field)), mail(""), "{field}");
        }
    }

    #[test]
    fn a_name_of_any_script_is_ours_in_both_its_forms() {
        for name in [
            "mäil.bücher.example",
            "MÄIL.Bücher.example.",
            "\"mäil.bücher.example\"",
            "xn--mil-qla.xn--bcher-kva.example",
        ] {
            let mail = format!("Authentication-Results: {name}; spf=pass\r\nA: 1\r\n\r\n");
            assert_eq!(without_that_of("mäil.bücher.example", &mail), "A: 1\r\n\r\n", "{name}");
            assert_eq!(without(&mail), mail, "{name}");
        }
    }

    #[test]
    fn everything_else_stays_as_it_was() {
        for mail in [
            "Authentication-Results: mx.example; spf=pass\r\n\r\nAuthentication-Results: gw.test; none\r\n",
            "Authentication-Results: not-gw.test; spf=pass\r\n\r\n",
            "ARC-Authentication-Results: i=1; gw.test; spf=pass\r\n\r\n",
            "X-Authentication-Results: gw.test; none\r\n\r\n",
            "",
            "\r\n",
            "no header\r\n\r\nAuthentication-Results: gw.test; none\r\n",
        ] {
            assert_eq!(without(mail), mail);
        }
    }

    #[test]
    fn whatever_stands_there_nothing_is_left_to_remove() {
        let parts =
            ["Authentication-Results", ":", " ", "\t", "\r\n", "gw.test", ";", "(", ")", "\"", "\\", "x", "A: 1\r\n"];
        let mut random = fastrand::Rng::with_seed(8601);
        for _ in 0..20_000 {
            let mail: String = (0..random.usize(..24)).map(|_| parts[random.usize(..parts.len())]).collect();
            let once = without(&mail);
            assert_eq!(without(&once), once, "{mail:?}");
        }
    }

    #[test]
    fn a_fault_in_the_header_section_hides_none() {
        assert_eq!(
            without("A: 1\r\nfault\r\nAuthentication-Results: gw.test; spf=pass\r\nB: 2\r\n\r\nbody\r\n"),
            "A: 1\r\nfault\r\nB: 2\r\n\r\nbody\r\n"
        );
        assert_eq!(without("fault\r\nAuthentication-Results: gw.test;\r\n spf=pass"), "fault\r\n");
    }
}
