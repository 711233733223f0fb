//! What a call leaves behind: one line of the log, and a record for the journal.

use crate::{bound::Bound, failure::PluginFailure, lines::record_line, state::HostCalls};
use mail::{CallRecord, Hook, Mode, Spent, Timestamp};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak_memory: u64,
    pub(crate) fuel: Option<u64>,
    pub(crate) host_calls: HostCalls,
}

impl Cost {
    /// Of a call that was not made.
    pub(crate) fn waited(since: Instant) -> Self {
        Self { wall: since.elapsed(), ..Self::default() }
    }
}

pub(crate) struct Report<'a> {
    pub(crate) bound: &'a Bound,
    pub(crate) hook: Hook,
    pub(crate) about: Option<String>,
    pub(crate) at: Timestamp,
    pub(crate) answer: String,
    pub(crate) failure: Option<PluginFailure>,
    pub(crate) edits: Vec<String>,
    pub(crate) cost: Cost,
}

impl Report<'_> {
    pub(crate) fn log(&self) {
        let (plugin, domain) = (&*self.bound.profile.plugin, &self.bound.profile.domain);
        let (hook, shadow) = (self.hook.as_str(), self.bound.manner.mode == Mode::Shadow);
        let (answer, edits) = (self.answer.as_str(), self.edits.len());
        let (wall_us, cpu_us) = (micros(self.cost.wall), micros(self.cost.cpu));
        let peak_memory = self.cost.peak_memory;
        match &self.failure {
            None => tracing::debug!(plugin, %domain, hook, shadow, answer, edits, wall_us, cpu_us, peak_memory),
            Some(failure) => {
                let backtrace = failure.frames().map(tracing::field::display);
                tracing::warn!(plugin, %domain, hook, shadow, %failure, backtrace, answer, wall_us, cpu_us, peak_memory);
            }
        }
    }

    pub(crate) fn into_record(self) -> CallRecord {
        CallRecord {
            plugin: self.bound.profile.plugin.to_string(),
            version: self.bound.loaded.inspection.version.clone(),
            hook: self.hook,
            about: self.about,
            mode: self.bound.manner.mode,
            at: self.at,
            answer: record_line(&self.answer),
            failure: self.failure.as_ref().map(PluginFailure::record),
            edits: self.edits,
            spent: Spent {
                wall_us: micros(self.cost.wall),
                cpu_us: micros(self.cost.cpu),
                peak_memory: self.cost.peak_memory,
                fuel: self.cost.fuel,
            },
            host_calls: self.cost.host_calls.into_records(),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
