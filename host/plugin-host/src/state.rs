//! What a store holds: the running call's facts, what the plugin has staged, and its budgets.
//!
//! Nothing here touches the mail itself: staged changes are handed out when the verdict is known.

use crate::{
    config_table::ConfigTable,
    grant::Grant,
    metrics::Metrics,
    mime::Parts,
    settings::{Clock, Limits, Resolver},
    turns::{Turn, Turns},
};
use mail::{
    Attributes, Content, DeliveryFacts, Domain, Edit, Failure, KvSpace, KvStore, Mailbox, Recipient, ReversePath,
    Timestamp, Transaction,
};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use wasmtime::{ResourceLimiter, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// What is the same for every call of one plugin of one domain.
pub(crate) struct Profile {
    pub(crate) plugin: Arc<str>,
    pub(crate) domain: Domain,
    pub(crate) config: ConfigTable,
    pub(crate) grants: Vec<Grant>,
    pub(crate) limits: Limits,
    pub(crate) kv: Arc<dyn KvStore>,
    pub(crate) space: KvSpace,
    pub(crate) resolver: Option<Arc<dyn Resolver>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    pub(crate) turns: Turns,
}

impl Profile {
    pub(crate) fn grants(&self, grant: &Grant) -> bool {
        self.grants.contains(grant)
    }
}

pub(crate) struct State {
    pub(crate) profile: Arc<Profile>,
    pub(crate) call: Call,
    pub(crate) meter: Meter,
    pub(crate) lines: Arc<Lines>,
    pub(crate) wasi: WasiCtx,
    pub(crate) table: ResourceTable,
}

/// Everything that ends with the call.
#[derive(Default)]
pub(crate) struct Call {
    pub(crate) subject: Subject,
    pub(crate) staged: Staged,
    /// Of a delivery: read when the plugin first asks.
    pub(crate) loaded: Option<Content>,
    /// Of the message: parsed when the plugin first asks.
    pub(crate) parts: Option<Arc<Parts>>,
}

/// What the call is about.
#[derive(Default)]
pub(crate) enum Subject {
    /// `setup`, and between calls.
    #[default]
    Nothing,
    Recipient {
        transaction: Transaction,
        asked: Mailbox,
    },
    Message {
        transaction: Transaction,
        content: Content,
    },
    Route {
        delivery: Box<DeliveryFacts>,
    },
    Offline {
        delivery: Box<DeliveryFacts>,
        failure: Failure,
    },
}

impl Subject {
    pub(crate) fn transaction(&self) -> Option<&Transaction> {
        match self {
            Self::Recipient { transaction, .. } | Self::Message { transaction, .. } => Some(transaction),
            Self::Nothing | Self::Route { .. } | Self::Offline { .. } => None,
        }
    }
    pub(crate) fn delivery(&self) -> Option<&DeliveryFacts> {
        match self {
            Self::Route { delivery } | Self::Offline { delivery, .. } => Some(delivery),
            Self::Nothing | Self::Recipient { .. } | Self::Message { .. } => None,
        }
    }
    pub(crate) fn attributes(&self) -> Option<&Attributes> {
        match self {
            Self::Recipient { transaction, .. } | Self::Message { transaction, .. } => Some(&transaction.attributes),
            Self::Route { delivery } | Self::Offline { delivery, .. } => Some(&delivery.attributes),
            Self::Nothing => None,
        }
    }
    pub(crate) fn into_transaction(self) -> Option<Transaction> {
        match self {
            Self::Recipient { transaction, .. } | Self::Message { transaction, .. } => Some(transaction),
            Self::Nothing | Self::Route { .. } | Self::Offline { .. } => None,
        }
    }
}

/// What the plugin has asked to change; applied only when its verdict lets the mail go on.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    pub(crate) score: i32,
    pub(crate) symbols: Vec<(String, i32)>,
    pub(crate) sender: Option<ReversePath>,
    /// The whole list, copied at the first change.
    pub(crate) recipients: Option<Vec<Recipient>>,
    pub(crate) attributes: Attributes,
    pub(crate) edits: Vec<Edit>,
    /// Bytes that the edits brought along.
    pub(crate) edit_bytes: usize,
    pub(crate) expires_at: Option<Timestamp>,
}

impl Staged {
    pub(crate) fn apply_to_transaction(self, transaction: &mut Transaction) -> Vec<Edit> {
        transaction.score = transaction.score.saturating_add(self.score);
        transaction.symbols.extend(self.symbols);
        transaction.attributes.extend(self.attributes);
        if let Some(sender) = self.sender {
            transaction.sender = sender;
        }
        if let Some(recipients) = self.recipients {
            transaction.recipients = recipients;
        }
        self.edits
    }

    pub(crate) fn apply_to_delivery(self, delivery: &mut DeliveryFacts) {
        delivery.attributes.extend(self.attributes);
        if let Some(at) = self.expires_at {
            delivery.expires_at = at;
        }
    }
}

/// Counts what the guest uses, and remembers which limit stopped it.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) memory_limit: u64,
    pub(crate) table_limit: usize,
    /// Epochs that the running call may still begin.
    pub(crate) ticks_left: u32,
    pub(crate) ticks: u32,
    /// Of all linear memories together, in bytes: they never shrink.
    pub(crate) memory: usize,
    /// Elements of all tables together.
    pub(crate) tables: usize,
    /// The most linear memory so far, in bytes.
    pub(crate) peak_memory: usize,
    pub(crate) hit: Option<Hit>,
    pub(crate) turn: Turn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    Memory,
    Tables,
    Cpu,
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory + desired.saturating_sub(current);
        if total as u64 > self.memory_limit {
            self.hit = Some(Hit::Memory);
            return Ok(false);
        }
        self.memory = total;
        self.peak_memory = self.peak_memory.max(total);
        Ok(true)
    }
    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.tables + desired.saturating_sub(current);
        if total > self.table_limit {
            self.hit = Some(Hit::Tables);
            return Ok(false);
        }
        self.tables = total;
        Ok(true)
    }
    fn instances(&self) -> usize {
        crate::engine::CORE_INSTANCES as usize
    }
    fn tables(&self) -> usize {
        crate::engine::TABLES as usize
    }
    fn memories(&self) -> usize {
        crate::engine::MEMORIES as usize
    }
}

/// The log lines that a call has left; shared with its stdout and stderr.
#[derive(Debug, Default)]
pub(crate) struct Lines(AtomicU32);

impl Lines {
    pub(crate) fn refill(&self, lines: u32) {
        self.0.store(lines, Ordering::Relaxed);
    }
    /// False when none is left.
    pub(crate) fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

impl State {
    pub(crate) fn begin(&mut self, subject: Subject) {
        self.call = Call { subject, ..Call::default() };
        self.lines.refill(self.profile.limits.log_lines);
    }

    /// Ends the call: its facts and what was staged go back to the caller, nothing stays.
    pub(crate) fn end(&mut self) -> (Subject, Staged) {
        let call = std::mem::take(&mut self.call);
        (call.subject, call.staged)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
