//! Names of mails: a ULID, so they sort by the time of arrival.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// One accepted transaction, from MAIL to its last recipient's outcome.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MailId(u128);

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a mail id; expected 26 letters and digits, for instance 01JD3W0V4T6Z1Q2X8Y7M5N4P3R")]
pub struct ParseIdError(String);

impl MailId {
    /// `random` makes ids of the same millisecond differ.
    pub fn new(now: Timestamp, random: u128) -> Self {
        Self(ulid::Ulid::from_parts(now.as_millis(), random).0)
    }
    pub const fn from_u128(value: u128) -> Self {
        Self(value)
    }
    pub const fn as_u128(self) -> u128 {
        self.0
    }
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
    /// When the mail arrived.
    pub fn arrived(self) -> Timestamp {
        Timestamp::from_millis(ulid::Ulid(self.0).timestamp_ms())
    }
}

impl fmt::Display for MailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; ulid::ULID_LEN];
        f.write_str(ulid::Ulid(self.0).array_to_str(&mut buffer))
    }
}

impl fmt::Debug for MailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MailId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        ulid::Ulid::from_string(text).map(|id| Self(id.0)).map_err(|_| ParseIdError(text.to_owned()))
    }
}

impl From<MailId> for String {
    fn from(id: MailId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for MailId {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written_and_tells_its_time() {
        let id = MailId::new(Timestamp::from_millis(1_795_499_350_123), 0x0123_4567_89ab_cdef_0123);
        assert_eq!(id.to_string().parse::<MailId>().unwrap(), id);
        assert_eq!(id.arrived(), Timestamp::from_millis(1_795_499_350_123));
        assert!("../../x".parse::<MailId>().is_err());
    }
}
