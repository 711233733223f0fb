//! Reads the PROXY protocol's header, version 1 or 2: who a load balancer says that the client is.
//!
//! Pure, and strict about every byte: it stands before all else at the wire. Whether the sender may say so is the
//! listener's to decide, and never decided here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// At least this many bytes more belong to the header: reading no more than that never takes what comes behind it.
    NeedsMore(usize),
    Header(Header),
    Invalid,
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// In bytes.
    pub length: usize,
    /// None where the balancer speaks for itself (`LOCAL`) or doesn't know (`UNKNOWN`): the connection's own end counts.
    pub client: Option<SocketAddr>,
}

/// The whole line of version 1, CRLF included.
const V1_MOST: usize = 107;
/// `PROXY UNKNOWN` and CRLF: no header is shorter.
const LEAST: usize = 15;
const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The fixed part of version 2.
const V2_FIXED: usize = 16;
/// Addresses and all that is said about the connection beside them; a balancer says a few hundred bytes.
const V2_MOST: usize = V2_FIXED + 4096;

pub fn parse(bytes: &[u8]) -> Parsed {
    if bytes.starts_with(V1) {
        return version_1(bytes);
    }
    if bytes.starts_with(V2) {
        return version_2(bytes).unwrap_or(Parsed::Invalid);
    }
    match V1.starts_with(bytes) || V2.starts_with(bytes) {
        true => Parsed::NeedsMore(LEAST.saturating_sub(bytes.len()).max(1)),
        false => Parsed::Invalid,
    }
}

fn version_1(bytes: &[u8]) -> Parsed {
    let window = bytes.get(..V1_MOST).unwrap_or(bytes);
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return match window.len() {
            V1_MOST.. => Parsed::Invalid,
            have => Parsed::NeedsMore(LEAST.saturating_sub(have).max(1)),
        };
    };
    let line = window.get(..end).and_then(|line| line.strip_suffix(b"\r")).and_then(|line| str::from_utf8(line).ok());
    let words = line.and_then(|line| line.strip_prefix("PROXY ")).filter(|words| !words.bytes().any(is_control));
    match words.and_then(client_of_words) {
        Some(client) => Parsed::Header(Header { length: end + 1, client }),
        None => Parsed::Invalid,
    }
}

/// The outer option: whether they can be read.
fn client_of_words(words: &str) -> Option<Option<SocketAddr>> {
    // What follows UNKNOWN must be ignored.
    if words == "UNKNOWN" || words.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let mut words = words.split(' ');
    let client = match words.next()? {
        "TCP4" => ends::<Ipv4Addr>(&mut words)?,
        "TCP6" => ends::<Ipv6Addr>(&mut words)?,
        _ => return None,
    };
    words.next().is_none().then_some(Some(client))
}

/// Where the connection comes from; where it went must be well-formed too.
fn ends<'a, A: std::str::FromStr + Into<IpAddr>>(words: &mut impl Iterator<Item = &'a str>) -> Option<SocketAddr> {
    let mut address = || words.next()?.parse::<A>().ok();
    let (client, _) = (address()?, address()?);
    let mut port = || words.next().and_then(port);
    let (client_port, _) = (port()?, port()?);
    Some(SocketAddr::new(client.into().to_canonical(), client_port))
}

/// Decimal, without signs or leading zeros.
fn port(digits: &str) -> Option<u16> {
    let plain = digits == "0" || !digits.starts_with(['0', '+']);
    digits.parse().ok().filter(|_| plain)
}

/// None where it is malformed.
fn version_2(bytes: &[u8]) -> Option<Parsed> {
    let Some(&[command, family, high, low]) = bytes.get(V2.len()..V2_FIXED) else {
        return Some(Parsed::NeedsMore(V2_FIXED - bytes.len()));
    };
    let length = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    // Judged before its rest is waited for.
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return None,
    };
    let ends = match (is_local, family) {
        // What a balancer says of itself is skipped, whatever it is.
        (true, _) | (false, 0x00) => 0,
        (false, 0x11) => 2 * 4 + 2 * 2,
        (false, 0x21) => 2 * 16 + 2 * 2,
        // A socket in the file system has no address.
        (false, 0x31) => 2 * 108,
        // Datagrams bring no SMTP.
        _ => return None,
    };
    if length < V2_FIXED + ends || length > V2_MOST {
        return None;
    }
    if bytes.len() < length {
        return Some(Parsed::NeedsMore(length - bytes.len()));
    }
    let block = bytes.get(V2_FIXED..length)?;
    let client = match (is_local, family) {
        (false, 0x11) => {
            let (address, port) = (*block.first_chunk::<4>()?, *block.get(8..)?.first_chunk::<2>()?);
            Some((IpAddr::from(address), port))
        }
        (false, 0x21) => {
            let (address, port) = (*block.first_chunk::<16>()?, *block.get(32..)?.first_chunk::<2>()?);
            Some((IpAddr::from(address), port))
        }
        _ => None,
    };
    let client = client.map(|(address, port)| SocketAddr::new(address.to_canonical(), u16::from_be_bytes(port)));
    Some(Parsed::Header(Header { length, client }))
}

fn is_control(byte: u8) -> bool {
    !byte.is_ascii_graphic() && byte != b' '
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length, block].concat()
    }

    fn tcp4(extra: &[u8]) -> Vec<u8> {
        v2(0x21, 0x11, &[&[192, 0, 2, 7, 198, 51, 100, 1, 0x10, 0x00, 0, 25][..], extra].concat())
    }

    fn tcp6() -> Vec<u8> {
        let (client, here): (Ipv6Addr, Ipv6Addr) = ("2001:db8::7".parse().unwrap(), "2001:db8::1".parse().unwrap());
        v2(0x21, 0x21, &[&client.octets()[..], &here.octets(), &[0x10, 0, 0, 25]].concat())
    }

    fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
        vec![
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 4096 25\r\n".to_vec(), Some("192.0.2.7:4096")),
            (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(), Some("255.255.255.255:65535")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 0 25\r\n".to_vec(), Some("[2001:db8::7]:0")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 25\r\n".to_vec(), Some("192.0.2.7:1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 what 65535 ever\r\n".to_vec(), None),
            (tcp4(b""), Some("192.0.2.7:4096")),
            (tcp4(b"\x03\x00\x04\x01\x02\x03\x04"), Some("192.0.2.7:4096")),
            (tcp6(), Some("[2001:db8::7]:4096")),
            (v2(0x20, 0x00, b""), None),
            (v2(0x20, 0x99, b"anything"), None),
            (v2(0x21, 0x00, b"\x03\x00\x00"), None),
            (v2(0x21, 0x31, &[b'/'; 216]), None),
        ]
    }

    #[test]
    fn a_header_is_read_to_its_own_end_and_no_further_however_it_is_cut() {
        for (bytes, client) in good() {
            let expected = Parsed::Header(Header { length: bytes.len(), client: client.map(|c| c.parse().unwrap()) });
            let behind = [&bytes[..], b"EHLO client.test\r\n"].concat();
            assert_eq!(parse(&behind), expected, "{bytes:?}");
            // Read as asked for, nothing of what follows is taken.
            let mut have = 0;
            while let Parsed::NeedsMore(more) = parse(&behind[..have]) {
                assert!(more > 0);
                have += more;
            }
            assert_eq!((have, parse(&behind[..have])), (bytes.len(), expected), "{bytes:?}");
            for cut in 0..bytes.len() {
                let Parsed::NeedsMore(more) = parse(&bytes[..cut]) else { panic!("{bytes:?} at {cut}") };
                assert!(cut + more <= bytes.len(), "{bytes:?} at {cut} asks for {more}");
            }
        }
    }

    #[test]
    fn what_is_no_header_to_the_letter_is_invalid() {
        for line in [
            "EHLO client.test\r\n",
            "proxy TCP4 192.0.2.7 198.51.100.1 4096 25\r\n",
            "PROXY\r\n",
            "PROXY \r\n",
            "PROXY  TCP4 192.0.2.7 198.51.100.1 4096 25\r\n",
            "PROXY TCP4  192.0.2.7 198.51.100.1 4096 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4096 25 \r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4096 25 more\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4096\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4096 25\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4096 25\r\r\n",
            "PROXY TCP4 192.0.2.7\t198.51.100.1 4096 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +4096 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 04096 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n",
            "PROXY TCP4 192.0.2.07 198.51.100.1 4096 25\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 4096 25\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 4096 25\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 4096 25\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 4096 25\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY UNKNOWN \0\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Parsed::Invalid, "{line:?}");
        }
        let endless = [V1, &[b'U'; 200]].concat();
        assert_eq!(parse(&endless), Parsed::Invalid);
        for (command, family, block) in [
            (0x11, 0x11, &[0; 12][..]),
            (0x22, 0x11, &[0; 12]),
            (0x21, 0x11, &[0; 11]),
            (0x21, 0x21, &[0; 35]),
            (0x21, 0x31, &[0; 215]),
            (0x21, 0x12, &[0; 12]),
            (0x21, 0x41, &[0; 12]),
            (0x21, 0x01, &[0; 12]),
            (0x21, 0x11, &[0; 4097]),
            (0x20, 0x00, &[0; 4097]),
        ] {
            // Its fixed part is enough to tell.
            assert_eq!(parse(&v2(command, family, block)[..V2_FIXED]), Parsed::Invalid, "{command:x} {family:x}");
        }
    }
}
