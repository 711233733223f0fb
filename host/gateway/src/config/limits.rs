//! What clients may take: `[limits]`, and the `limits` of one `[[listener]]`, which changes single keys of it.
//!
//! Says nothing of what is answered beyond; the defaults are those of RFC 5321 §4.5.3.2 where it names a time.

use std::{ops::RangeInclusive, time::Duration};
use toml_keys::{Table, Value};

/// Of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub per_address: Caps,
    pub per_network: Caps,
    pub per_listener: Caps,
    pub patience: Patience,
}

/// What one address, one network or a whole listener may take. None: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// At once.
    pub connections: Option<u32>,
    /// These in any minute.
    pub connections_per_minute: Option<u32>,
    pub messages_per_minute: Option<u32>,
    /// Asked for, whether they are accepted or not.
    pub recipients_per_minute: Option<u32>,
    /// Commands that break the protocol, and recipients that are refused for good.
    pub errors_per_minute: Option<u32>,
}

/// How long a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Between two commands.
    pub idle: Duration,
    /// The same while most of the connections that there may be are open.
    pub idle_when_crowded: Duration,
    /// From a command's first byte to its end.
    pub command: Duration,
    /// From the start of a message's data to its end.
    pub message: Duration,
    /// Of data, in bytes for each second; 0: no such limit.
    pub least_rate: u64,
    /// For how long data may stay behind `least_rate`.
    pub stall: Duration,
    /// Until the client has taken what is written to it.
    pub write: Duration,
    /// Of TLS.
    pub handshake: Duration,
    /// Of the PROXY protocol.
    pub proxy_header: Duration,
    /// Before the greeting, in which the client must be silent.
    pub greeting_delay: Duration,
    pub tarpit: Tarpit,
}

/// Replies come later and later to who makes mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tarpit {
    /// So many errors of one session cost nothing.
    pub after: u32,
    /// For each error beyond.
    pub delay: Duration,
    /// No reply waits longer.
    pub most: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // A server with a stale list of recipients stays far below; a guesser of addresses does not.
        let errors = |most| Caps { errors_per_minute: Some(most), ..Caps::default() };
        Self {
            per_address: errors(300),
            per_network: errors(1200),
            per_listener: Caps::default(),
            patience: Patience::default(),
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            // RFC 5321 §4.5.3.2.7.
            idle: 5 * MINUTE,
            idle_when_crowded: MINUTE / 2,
            command: MINUTE,
            message: 60 * MINUTE,
            least_rate: 100,
            // RFC 5321 §4.5.3.2.5.
            stall: 3 * MINUTE,
            write: MINUTE,
            handshake: MINUTE,
            proxy_header: MINUTE / 6,
            greeting_delay: Duration::ZERO,
            tarpit: Tarpit { after: 10, delay: Duration::from_millis(500), most: Duration::from_secs(10) },
        }
    }
}

impl Tarpit {
    /// How much later a session's replies come after so many errors of it.
    pub fn delay(&self, errors: u32) -> Duration {
        self.delay.saturating_mul(errors.saturating_sub(self.after)).min(self.most)
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const WAIT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(86_400);
/// A client gives up sooner or later: RFC 5321 §4.5.3.2.1 has it wait 5 minutes.
const DELAY: RangeInclusive<Duration> = Duration::ZERO..=MINUTE;
const MIB: u64 = 1 << 20;

/// What the table does not say is as in `base`.
pub(super) fn read(mut table: Table<'_>, base: &Limits) -> Limits {
    let mut caps = |key, base: &Caps| table.get(key).and_then(|v| v.table()).map_or(*base, |table| caps(table, base));
    let (per_address, per_network, per_listener) = (
        caps("per-address", &base.per_address),
        caps("per-network", &base.per_network),
        caps("per-listener", &base.per_listener),
    );
    let patience = patience(&mut table, &base.patience);
    table.finish();
    Limits { per_address, per_network, per_listener, patience }
}

/// Those of one listener, in its own table.
pub(super) fn of_listener(value: &Value<'_>, base: &Limits) -> Limits {
    let hint = "for instance limits = { per-address = { messages-per-minute = 100 } }";
    value.inline_table(hint).map_or_else(|| base.clone(), |table| read(table, base))
}

fn caps(mut table: Table<'_>, base: &Caps) -> Caps {
    let mut most = |key, base: Option<u32>| table.get(key).and_then(|v| v.whole_number(1..=1_000_000, "100")).or(base);
    let caps = Caps {
        connections: most("connections", base.connections),
        connections_per_minute: most("connections-per-minute", base.connections_per_minute),
        messages_per_minute: most("messages-per-minute", base.messages_per_minute),
        recipients_per_minute: most("recipients-per-minute", base.recipients_per_minute),
        errors_per_minute: most("errors-per-minute", base.errors_per_minute),
    };
    table.finish();
    caps
}

fn patience(table: &mut Table<'_>, base: &Patience) -> Patience {
    let mut time = |key, range, base| table.get(key).and_then(|v| v.duration(range, "\"1 min\"")).unwrap_or(base);
    let times = Patience {
        idle: time("idle", WAIT, base.idle),
        idle_when_crowded: time("idle-when-crowded", WAIT, base.idle_when_crowded),
        command: time("command", WAIT, base.command),
        message: time("message", WAIT, base.message),
        stall: time("stall", WAIT, base.stall),
        write: time("write", WAIT, base.write),
        handshake: time("handshake", WAIT, base.handshake),
        proxy_header: time("proxy-header", WAIT, base.proxy_header),
        greeting_delay: time("greeting-delay", DELAY, base.greeting_delay),
        tarpit: Tarpit {
            delay: time("tarpit-delay", DELAY, base.tarpit.delay),
            most: time("tarpit-most", DELAY, base.tarpit.most),
            ..base.tarpit
        },
        ..*base
    };
    let least_rate = table.get("least-rate").and_then(|v| v.size(0..=MIB, "\"100 B\"")).unwrap_or(base.least_rate);
    let after = table.get("tarpit-after").and_then(|v| v.whole_number(0..=1000, "10")).unwrap_or(base.tarpit.after);
    Patience { least_rate, tarpit: Tarpit { after, ..times.tarpit }, ..times }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_later_with_each_error_beyond_the_first_and_never_later_than_the_most() {
        let tarpit = Tarpit { after: 3, delay: Duration::from_secs(1), most: Duration::from_secs(5) };
        assert_eq!([0, 3, 4, 6, 8, 9, u32::MAX].map(|errors| tarpit.delay(errors).as_secs()), [0, 0, 1, 3, 5, 5, 5]);
    }
}
