//! How long next hops may take: `[timeouts]`, named after RFC 5321 §4.5.3.2.

use smtp::Wait;
use std::{ops::RangeInclusive, time::Duration};
use toml_keys::Table;

/// A whole reply, or a whole piece of data, must come within these; a byte now and then gains no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For each address of the next hop.
    pub connect: Duration,
    /// The greeting, each of EHLO and STARTTLS, the handshake.
    pub greeting: Duration,
    /// The reply to any other command.
    pub command: Duration,
    /// The next hop takes 64 KiB.
    pub data_block: Duration,
    /// The reply to the end of the data.
    pub end_of_data: Duration,
    /// A whole mail, until its data is written, whatever the next hop does meanwhile.
    pub message: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            greeting: MINUTE,
            command: 5 * MINUTE,
            data_block: 3 * MINUTE,
            // Shorter ones make duplicates: RFC 5321 §4.5.3.2.6.
            end_of_data: 10 * MINUTE,
            message: 60 * MINUTE,
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

impl Timeouts {
    pub fn of(&self, wait: Wait) -> Duration {
        match wait {
            Wait::Greeting | Wait::Ehlo | Wait::StartTls | Wait::Handshake => self.greeting,
            Wait::NextMail | Wait::Answer | Wait::Rset | Wait::Mail | Wait::Rcpt | Wait::Data => self.command,
            Wait::DataTaken => self.data_block,
            Wait::EndOfData => self.end_of_data,
            Wait::Quit | Wait::Closed => QUIT,
        }
    }
}

/// Nobody waits long for a farewell.
const QUIT: Duration = Duration::from_secs(2);

pub(super) fn read(mut table: Table<'_>) -> Timeouts {
    let default = Timeouts::default();
    let mut limit = |key, default| table.get(key).and_then(|v| v.duration(RANGE, "\"5 min\"")).unwrap_or(default);
    let timeouts = Timeouts {
        connect: limit("connect", default.connect),
        greeting: limit("greeting", default.greeting),
        command: limit("command", default.command),
        data_block: limit("data-block", default.data_block),
        end_of_data: limit("end-of-data", default.end_of_data),
        message: limit("message", default.message),
    };
    table.finish();
    timeouts
}
