//! What a store holds: the running call's facts, what the plugin has staged, and its budgets.
//!
//! Nothing here touches the mail itself: staged changes are handed out when the verdict is known.

use crate::{
    config_table::ConfigTable,
    grant::Grant,
    http::HttpHooks,
    meter::Meter,
    metrics::Metrics,
    mime::Parts,
    settings::{Clock, Limits, Resolver},
    subject::{Staged, Subject},
};
use mail::{Content, Domain, KvSpace, KvStore};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

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
    pub(crate) http: WasiHttpCtx,
    pub(crate) http_hooks: HttpHooks,
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
    pub(crate) host_calls: HostCalls,
}

/// How often the guest called each function of the host, in the order of the first calls.
#[derive(Debug, Default)]
pub(crate) struct HostCalls(Vec<(&'static str, u32)>);

impl HostCalls {
    pub(crate) fn count(&mut self, name: &'static str) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.0.push((name, 1)),
        }
    }
    pub(crate) fn add(&mut self, name: &'static str, count: u32) {
        if count > 0 {
            self.0.push((name, count));
        }
    }
    pub(crate) fn into_records(self) -> Vec<(String, u32)> {
        self.0.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
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
    pub(crate) fn end(&mut self) -> Call {
        let mut call = std::mem::take(&mut self.call);
        call.host_calls.add("http.request", self.http_hooks.end());
        call
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http_hooks, table: &mut self.table, ctx: &mut self.http }
    }
}
