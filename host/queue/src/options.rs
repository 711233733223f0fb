//! The bounds of a queue. Each has a default that serves a busy gateway on a small machine.

use mail::Timestamp;
use std::{fmt, sync::Arc, time::Duration};

/// Where the queue gets the time from, for plugin state and for the moment of an outcome.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

#[derive(Clone)]
pub struct Options {
    /// In bytes; a segment that has grown past it is sealed.
    pub segment_size: u32,
    /// Mails and outcomes that may wait for the writer; beyond, callers wait.
    pub waiting: usize,
    /// Mails and outcomes in one commit, at most.
    pub group_entries: usize,
    /// Bytes of mail in one commit, at most (one mail may be larger).
    pub group_bytes: u64,
    /// How long a commit that holds no new mail waits for company, at most; a tenth of it where none comes.
    pub settle_delay: Duration,
    /// How long a change of plugin state may stay in memory alone.
    pub kv_delay: Duration,
    /// After a failure, how long until the files are opened again.
    pub reopen_interval: Duration,
    /// A claim that was dropped without an outcome is due again after this.
    pub give_back_delay: Duration,
    /// How often a nearly empty segment is looked for, so that its last mails can be moved.
    pub move_interval: Duration,
    pub kv: KvLimits,
    pub clock: Clock,
}

/// For plugin state.
#[derive(Clone, Debug)]
pub struct KvLimits {
    /// In bytes.
    pub key: usize,
    /// In bytes.
    pub value: usize,
    /// Bytes of keys and values that one plugin may keep for one domain.
    pub space_bytes: u64,
    pub space_keys: u64,
    /// Bytes kept in memory, changes that are not yet durable included.
    pub cache_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_size: 64 << 20,
            waiting: 4096,
            group_entries: 1024,
            group_bytes: 16 << 20,
            settle_delay: Duration::from_millis(5),
            kv_delay: Duration::from_millis(50),
            reopen_interval: Duration::from_secs(1),
            give_back_delay: Duration::from_secs(5),
            move_interval: Duration::from_secs(5),
            kv: KvLimits::default(),
            clock: Arc::new(|| Timestamp::from_system(std::time::SystemTime::now())),
        }
    }
}

impl Default for KvLimits {
    fn default() -> Self {
        Self { key: 512, value: 64 << 10, space_bytes: 16 << 20, space_keys: 100_000, cache_bytes: 32 << 20 }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("segment_size", &self.segment_size)
            .field("waiting", &self.waiting)
            .field("settle_delay", &self.settle_delay)
            .field("kv", &self.kv)
            .finish_non_exhaustive()
    }
}
