//! Mails that are hard to relay unchanged, and what is left of a relayed one without its trace.

use super::next_hop::Recorded;

/// A header section and about `size` bytes of text: dots at line starts, 8-bit bytes, empty lines,
/// long lines. The same for the same arguments.
pub fn sample(name: &str, size: usize) -> Vec<u8> {
    let mut content = format!("Subject: {name}\r\nFrom: ann@client.test\r\n\r\n").into_bytes();
    let mut state = size as u64 + 0x9E37_79B9;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    while content.len() + 2 < size {
        let line = random();
        let length = (line % 90) as usize;
        if line & 0x700 == 0 {
            content.push(b'.');
        }
        for _ in 0..length.min(size.saturating_sub(content.len() + 2)) {
            let byte = (random() >> 24) as u8;
            content.push(if matches!(byte, b'\r' | b'\n' | 0) { b'.' } else { byte });
        }
        content.extend_from_slice(b"\r\n");
    }
    content
}

impl Recorded {
    /// As the client sent it: the gateway's own fields on top, Received and what it has found out, are checked and taken off.
    pub fn without_trace(&self) -> &[u8] {
        let (received, rest) = first_field(&self.content);
        assert!(received.starts_with("Received: from "), "no trace field on top of {}", self.text());
        assert!(received.contains("(Waypost) with "), "not the gateway's field: {received}");
        match first_field(rest) {
            (field, behind) if field.starts_with("Authentication-Results: ") => behind,
            _ => rest,
        }
    }
}

/// With its folded lines; empty where no line ends.
fn first_field(content: &[u8]) -> (std::borrow::Cow<'_, str>, &[u8]) {
    let mut at = 0;
    while let Some(end) = content[at..].windows(2).position(|pair| pair == b"\r\n") {
        at += end + 2;
        if !matches!(content.get(at), Some(b' ' | b'\t')) {
            break;
        }
    }
    let (field, rest) = content.split_at(at);
    (String::from_utf8_lossy(field), rest)
}

/// Compares without printing megabytes.
pub fn assert_same(what: &str, sent: &[u8], arrived: &[u8]) {
    if sent == arrived {
        return;
    }
    let at = sent.iter().zip(arrived).take_while(|(a, b)| a == b).count();
    let around = |bytes: &[u8]| {
        let part = &bytes[at.saturating_sub(20).min(bytes.len())..(at + 20).min(bytes.len())];
        String::from_utf8_lossy(part).into_owned()
    };
    panic!(
        "{what}: {} bytes were sent, {} arrived; the first difference is at {at}: {:?} became {:?}",
        sent.len(),
        arrived.len(),
        around(sent),
        around(arrived)
    );
}
