//! What is remembered, and how it is written. Text, so that a person can read it in the store.

/// Of a client's network, sender and recipient. Times in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Triplet {
    /// Has come once, and must come again.
    Waiting { since: u64 },
    /// Has come back. `seen` is when this was last written, not the last contact.
    Known { seen: u64 },
}

/// Of a client's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// Triplets that came back.
    pub(crate) returned: u32,
    pub(crate) seen: u64,
}

impl Triplet {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Waiting { since } => format!("waiting {since}").into_bytes(),
            Self::Known { seen } => format!("known {seen}").into_bytes(),
        }
    }

    /// None for what this version didn't write: as good as never seen.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (state, at) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
        let at = at.parse().ok()?;
        match state {
            "waiting" => Some(Self::Waiting { since: at }),
            "known" => Some(Self::Known { seen: at }),
            _ => None,
        }
    }
}

impl Client {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        format!("{} {}", self.returned, self.seen).into_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (returned, seen) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
        Some(Self { returned: returned.parse().ok()?, seen: seen.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_as_they_were_written() {
        for triplet in [Triplet::Waiting { since: 0 }, Triplet::Known { seen: u64::MAX }] {
            assert_eq!(Triplet::from_bytes(&triplet.to_bytes()), Some(triplet));
        }
        let client = Client { returned: 7, seen: 99 };
        assert_eq!(Client::from_bytes(&client.to_bytes()), Some(client));
        for foreign in [&b""[..], b"known", b"known x", b"gone 5", b"\xff 5", b"-1 5"] {
            assert_eq!(Triplet::from_bytes(foreign), None);
            assert_eq!(Client::from_bytes(foreign), None);
        }
    }
}
