//! What went wrong in a call, and the verdict that a binding's policy makes of it.

use crate::{imports::printable, lines::record_line, meter::Hit};
use mail::{CallFailure, Hook, OnFailure, Reply, Verdict};
use std::{fmt, time::Duration};
use wasmtime::{Trap, WasmBacktrace};

#[derive(Debug, thiserror::Error)]
pub(crate) enum PluginFailure {
    #[error("{cause}")]
    Trapped { cause: String, backtrace: Frames },
    #[error("it used more than {0:?} of processor time")]
    Cpu(Duration),
    #[error("it asked for more than {0} bytes of memory, and gave up")]
    Memory(u64),
    #[error("its tables grew beyond {0} entries, and it gave up")]
    Tables(usize),
    #[error("it made the host work through more than {0} bytes")]
    Work(u64),
    #[error("it did not answer within {0:?}")]
    Deadline(Duration),
    /// What it answered cannot be used.
    #[error("it answered nonsense: {0}")]
    Nonsense(String),
    /// No instance, or no memory for one.
    #[error("the host was busy for {0:?}")]
    Busy(Duration),
    /// It failed so often that it was not asked.
    #[error("it is not asked for now, because it keeps failing")]
    Broken,
}

/// The guest's own frames, the innermost first.
#[derive(Debug, Default)]
pub(crate) struct Frames(Vec<String>);

const MAX_FRAMES: usize = 16;
/// Of a function's name, in characters.
const MAX_NAME: usize = 100;

impl PluginFailure {
    /// What an error of the engine means, with the limit that the guest ran into.
    pub(crate) fn from_engine(error: &wasmtime::Error, hit: Option<Hit>, limits: &crate::Limits) -> Self {
        if let Some(hit) = hit {
            return Self::from_hit(hit, limits);
        }
        let cause = match error.downcast_ref::<Trap>() {
            Some(trap) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
            None => error.root_cause().to_string(),
        };
        let backtrace = error.downcast_ref::<WasmBacktrace>().map(Frames::new).unwrap_or_default();
        Self::Trapped { cause: cause.chars().take(500).collect(), backtrace }
    }

    pub(crate) fn from_hit(hit: Hit, limits: &crate::Limits) -> Self {
        match hit {
            Hit::Cpu => Self::Cpu(limits.cpu),
            Hit::Memory => Self::Memory(limits.memory),
            Hit::Tables => Self::Tables(limits.table_elements),
            Hit::Work => Self::Work(limits.work),
            Hit::HostMemory => Self::Busy(Duration::ZERO),
        }
    }

    /// Whether it tells something about the plugin, and so counts for its breaker.
    pub(crate) fn is_the_plugins_fault(&self) -> bool {
        !matches!(self, Self::Busy(_) | Self::Broken)
    }

    /// One of the words of [`CallFailure`].
    fn kind(&self) -> &'static str {
        match self {
            Self::Trapped { .. } => "trap",
            Self::Cpu(_) | Self::Work(_) => "cpu",
            Self::Memory(_) => "memory",
            Self::Tables(_) => "tables",
            Self::Deadline(_) => "time",
            Self::Nonsense(_) => "nonsense",
            Self::Busy(_) => "busy",
            Self::Broken => "breaker",
        }
    }

    pub(crate) fn record(&self) -> CallFailure {
        CallFailure {
            kind: self.kind().to_owned(),
            text: record_line(&self.to_string()),
            backtrace: self.frames().map_or_else(Vec::new, |frames| frames.0.clone()),
        }
    }

    pub(crate) fn frames(&self) -> Option<&Frames> {
        match self {
            Self::Trapped { backtrace, .. } if !backtrace.0.is_empty() => Some(backtrace),
            _ => None,
        }
    }
}

impl Frames {
    fn new(trace: &WasmBacktrace) -> Self {
        let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
            // The guest's own word: it must not forge lines of the log, nor flood it.
            Some(name) => printable(&format!("{:#}", rustc_demangle::demangle(name))).chars().take(MAX_NAME).collect(),
            None => format!("function {}", frame.func_index()),
        };
        Self(trace.frames().iter().take(MAX_FRAMES).map(name).collect())
    }
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" < "))
    }
}

/// Before 250; the default is to tempfail, so that nothing is lost and nothing slips through.
pub(crate) fn verdict(policy: Option<OnFailure>, hook: Hook, plugin: &str) -> Verdict {
    let later = |text| Verdict::TempFail(Reply::fixed(451, (4, 3, 0), text));
    match (policy.unwrap_or(OnFailure::TempFail), hook) {
        (OnFailure::Pass, _) => Verdict::Pass,
        // There is nothing yet that could be held.
        (OnFailure::TempFail | OnFailure::Quarantine, Hook::OnConnect) => {
            later("[WP-PLUGIN] Connection could not be checked; try again later")
        }
        (OnFailure::TempFail, _) => later("[WP-PLUGIN] Message could not be checked; try again later"),
        (OnFailure::Reject, _) => {
            Verdict::Reject(Reply::fixed(554, (5, 3, 0), "[WP-PLUGIN] Message could not be checked"))
        }
        (OnFailure::Quarantine, _) => Verdict::Quarantine(format!("plugin {plugin} failed")),
    }
}
