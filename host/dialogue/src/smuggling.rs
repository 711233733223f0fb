//! Every way that is known to hide a second mail in a first one's data, and what must become of each.
//!
//! An end of data that one program sees and the next does not is what they all need: CVE-2023-51764, -51765, -51766,
//! CVE-2024-27305 and their kin.

/// What one program or another has taken for the line ends around the final dot.
const AROUND: [&str; 16] = [
    "", "\n", "\r", "\r\n", "\n\n", "\n\r", "\r\r", "\r\r\n", "\0", "\r\0\n", "\r\n\0", "\0\r\n", "\x1a", "\u{85}",
    "\r\n\r", "\x0b",
];
const DOTS: [&str; 4] = [".", "..", ". ", "\0."];

/// What the sender hides.
pub const HIDDEN: &str = "MAIL FROM:<eve@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nhidden\r\n";

/// A mail's data with something hidden in it, up to its real end and no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hiding {
    /// As it goes over the wire, the final dot included.
    pub data: Vec<u8>,
    /// Where the suspicious bytes begin and end.
    pub suspicious: std::ops::Range<usize>,
}

/// What is a real end in the middle hides nothing and is left out.
pub fn all() -> Vec<Hiding> {
    let mut all = Vec::new();
    for before in AROUND {
        for after in AROUND {
            all.extend(DOTS.iter().filter_map(|dots| hiding(&[before, dots, after].concat())));
        }
    }
    all
}

/// Those that have been exploited, in one program or another.
pub fn exploited() -> Vec<Hiding> {
    ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\r\n.\r\r\n", "\r\n\0.\r\n", "\n.\r", "\r\n.\0\r\n"]
        .iter()
        .filter_map(|variant| hiding(variant))
        .collect()
}

fn hiding(variant: &str) -> Option<Hiding> {
    let before = "Subject: hi\r\n\r\nbody";
    let data = [before, variant, HIDDEN, ".\r\n"].concat().into_bytes();
    let ends_once = data.windows(5).position(|window| window == b"\r\n.\r\n") == Some(data.len() - 5);
    let suspicious = before.len()..before.len() + variant.len();
    ends_once.then_some(Hiding { data, suspicious })
}

impl Hiding {
    /// Where it is worth while to cut the bytes: in and around the suspicious ones, and at the end.
    pub fn cuts(&self) -> impl Iterator<Item = usize> {
        let (start, end, len) = (self.suspicious.start, self.suspicious.end, self.data.len());
        (start.saturating_sub(2)..end + 3).chain(len.saturating_sub(5)..len)
    }
}

/// Only CRLF ends its lines, and there is no NUL: it may be relayed.
pub fn is_lines(data: &[u8]) -> bool {
    let mut rest = data;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        match rest.get(at..) {
            Some([b'\r', b'\n', behind @ ..]) => rest = behind,
            _ => return false,
        }
    }
    true
}

/// The content of what DATA has brought, final dot included, where bare line ends are made good. None where it holds a NUL.
pub fn normalised(data: &[u8]) -> Option<Vec<u8>> {
    let text = data.strip_suffix(b".\r\n")?;
    let mut content = Vec::new();
    for line in lines(text) {
        content.extend(made_good(line.strip_prefix(b".").unwrap_or(line))?);
    }
    Some(content)
}

/// The same for chunks, in which dots are not stuffed.
pub fn normalised_chunks(data: &[u8]) -> Option<Vec<u8>> {
    lines(data).map(made_good).collect::<Option<Vec<_>>>().map(|lines| lines.concat())
}

/// Each with its CRLF.
fn lines(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").map_or(rest.len(), |at| at + 2);
        let (line, behind) = rest.split_at_checked(end).filter(|(line, _)| !line.is_empty())?;
        rest = behind;
        Some(line)
    })
}

fn made_good(line: &[u8]) -> Option<Vec<u8>> {
    let (text, end) = match line.strip_suffix(b"\r\n") {
        Some(text) => (text, &b"\r\n"[..]),
        None => (line, &b""[..]),
    };
    let mut good = Vec::with_capacity(line.len());
    for byte in text {
        match byte {
            b'\n' => good.extend_from_slice(b"\r\n"),
            b'\r' => good.push(b' '),
            0 => return None,
            other => good.push(*other),
        }
    }
    good.extend_from_slice(end);
    Some(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_holds_what_has_been_exploited_and_no_real_end() {
        let all = all();
        assert!(all.len() > 900, "{}", all.len());
        for hiding in exploited().iter().filter(|hiding| !hiding.data.windows(2).any(|pair| pair == b".\0")) {
            assert!(all.contains(hiding), "{}", hiding.data.escape_ascii());
        }
        assert_eq!(exploited().len(), 10);
        assert!(all.iter().any(|hiding| is_lines(&hiding.data)) && all.iter().any(|hiding| !is_lines(&hiding.data)));
    }

    #[test]
    fn what_is_made_good_is_lines() {
        assert_eq!(normalised(b"a\n..b\r\n.\nc\rd\r\r\n.\r\n").unwrap(), b"a\r\n..b\r\n\r\nc d \r\n");
        assert_eq!(normalised_chunks(b".a\n\r\n.").unwrap(), b".a\r\n\r\n.");
        assert_eq!(normalised(b"a\0\r\n.\r\n"), None);
        for made in all().iter().filter_map(|hiding| normalised(&hiding.data)) {
            assert!(is_lines(&made));
        }
    }
}
