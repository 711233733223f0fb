//! What a sender is told: bland, exact, each with a stable short code that the documentation explains.

use crate::limits::Cut;
use mail::{Domain, MailId, Reply};

pub const SENDER_OK: Reply = Reply::fixed(250, (2, 1, 0), "Sender ok");
/// The protocol greets in its place.
pub const GO_ON: Reply = Reply::fixed(220, (2, 0, 0), "Go on");
pub const RECIPIENT_OK: Reply = Reply::fixed(250, (2, 1, 5), "Recipient ok");
pub const START_MAIL: Reply = Reply::fixed(354, (2, 0, 0), "End data with <CR><LF>.<CR><LF>");
pub const TOO_BUSY: Reply = Reply::fixed(452, (4, 3, 1), "[WP-MEMORY] Too much mail in memory now; try again later");
pub const OVERLOADED: Reply = Reply::fixed(421, (4, 3, 1), "[WP-MEMORY] Too much mail in memory now; try again later");
pub const FULL: Reply = Reply::fixed(452, (4, 3, 1), "[WP-FULL] The mail store is full; try again later");
pub const UNHEALTHY: Reply =
    Reply::fixed(451, (4, 3, 0), "[WP-STORE] The mail store is not available; try again later");
pub const LOOP: Reply = Reply::fixed(554, (5, 4, 6), "[WP-LOOP] This mail has passed too many hosts");
pub const LARGE_HEADER: Reply = Reply::fixed(552, (5, 3, 4), "[WP-HEADER] The header of this mail is too large");
pub const MANY_FIELDS: Reply = Reply::fixed(554, (5, 6, 0), "[WP-HEADER] This mail has too many header fields");
pub const OTHER_DOMAIN: Reply =
    Reply::fixed(452, (4, 5, 3), "[WP-DOMAIN] Recipients of another domain go in a transaction of their own");
pub const SHUTDOWN: Reply = Reply::fixed(421, (4, 3, 2), "[WP-DOWN] Service is shutting down; try again later");
const IDLE: Reply = Reply::fixed(421, (4, 4, 2), "[WP-IDLE] Idle for too long");
pub const EARLY: Reply = Reply::fixed(554, (5, 5, 1), "[WP-EARLY] You sent something before the greeting");
const SLOW: Reply = Reply::fixed(421, (4, 4, 2), "[WP-SLOW] That took too long");

/// What a client is told that has missed a deadline.
pub fn too_late(cut: Cut) -> Reply {
    match cut {
        Cut::Idle => IDLE,
        Cut::Early => EARLY,
        Cut::Command | Cut::Message | Cut::Slow | Cut::Write | Cut::Handshake | Cut::Proxy => SLOW,
    }
}

/// A greeting is 220, 554 or 421 (RFC 5321 §3.1, §4.2.3); what a plugin says goes behind it.
pub fn unwelcome(code: u16, reply: Reply) -> Reply {
    Reply { code, ..reply }
}

pub fn not_ours(domain: &str) -> Reply {
    Reply::new(550, (5, 7, 1), format!("[WP-RELAY] Mail for {domain} is not relayed here"))
}

/// The next hop has not been seen to work yet, so nothing is accepted that could be lost to a typo.
pub fn unproven(domain: &Domain) -> Reply {
    Reply::new(451, (4, 4, 1), format!("[WP-PROBE] {domain} is not ready to receive mail yet; try again later"))
}

pub fn routed_address() -> Reply {
    Reply::fixed(550, (5, 7, 1), "[WP-RELAY] Routing inside an address is not allowed")
}

pub fn queued(id: MailId) -> Reply {
    Reply::new(250, (2, 0, 0), format!("Ok: queued as {id}"))
}
