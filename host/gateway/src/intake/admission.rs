//! Whether a mail that begins now could be taken at all: by the store, the disk and memory.

use super::{replies, session::Intake};
use crate::memory::Pressure;
use mail::Reply;
use queue::Health;

impl Intake {
    /// For MAIL, with the size that the client announced, and for DATA.
    pub(super) fn cannot_take(&self, size: Option<u64>) -> Option<Reply> {
        match self.queue.health() {
            // A full store is tried with each mail: only a write tells that there is room again.
            Health::Healthy | Health::Full => {}
            Health::Unhealthy { .. } => return Some(replies::UNHEALTHY),
        }
        if !self.disk.has_room_for(size.unwrap_or(0)) {
            return Some(replies::FULL);
        }
        (self.budget.pressure() >= Pressure::High).then_some(replies::TOO_BUSY)
    }

    /// For a client that connects.
    pub(super) fn cannot_serve(&self) -> Option<Reply> {
        (self.budget.pressure() >= Pressure::Critical).then_some(replies::OVERLOADED)
    }
}
