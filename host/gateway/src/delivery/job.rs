//! Recipients of one mail on their way to one list of next hops.

use super::in_flight::Flight;
use crate::memory::Share;
use mail::{NextHop, TlsMode};
use queue::Claim;
use std::sync::Arc;

pub struct Job {
    pub claim: Claim,
    /// Tried in order.
    pub hops: Vec<NextHop>,
    pub at: usize,
    /// The domain's `tls`, where a next hop says nothing itself.
    pub tls: TlsMode,
    pub stage: Stage,
    pub hold: Arc<Held>,
}

/// What a mail keeps busy while any of its jobs lives.
pub struct Held {
    pub flight: Flight,
    pub memory: Option<Share>,
}

/// Whether the next hop's absence has been answered already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    Routed,
    /// Sent elsewhere while this next hop is away: if that is away too, the mail waits for this one.
    Redirected {
        away: NextHop,
    },
}

impl Job {
    pub fn hop(&self) -> Option<&NextHop> {
        self.hops.get(self.at)
    }
    /// What it waits for when nothing can be reached.
    pub fn awaited(&self) -> Option<&NextHop> {
        match &self.stage {
            Stage::Redirected { away } => Some(away),
            Stage::Routed => self.hops.first(),
        }
    }
}
