//! Hears what a plugin under test writes to its log, and nothing else.

use std::{
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// What `log.write`, stdout and stderr of guests come out as.
const TARGET: &str = "plugin";

/// One line; without control characters, as the gateway would write it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LogLine {
    /// `trace`, `debug`, `info`, `warn` or `error`; `print` for stdout and stderr.
    pub level: String,
    /// `message name="value" …`
    pub text: String,
}

impl std::fmt::Display for LogLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.level, self.text)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<LogLine>>>);

impl Heard {
    /// For the calls that run under it.
    pub(crate) fn dispatch(&self) -> tracing::Dispatch {
        tracing::Dispatch::new(Listener(self.clone()))
    }

    pub(crate) fn take(&self) -> Vec<LogLine> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Levels are not looked at: a test wants to see what the operator of a gateway may have switched off.
struct Listener(Heard);

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = if fields.printed { "print".to_owned() } else { event.metadata().level().as_str().to_lowercase() };
        let line = LogLine { level, text: fields.text };
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Fields {
    text: String,
    printed: bool,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "printed" {
            (self.text, self.printed) = (value.to_owned(), true);
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.text, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_plugins_say_is_heard() {
        let heard = Heard::default();
        tracing::dispatcher::with_default(&heard.dispatch(), || {
            tracing::warn!(target: "plugin", plugin = "p", "a \"line\"");
            tracing::debug!(target: "plugin", plugin = "p", printed = "hello");
            tracing::warn!("not ours");
        });
        let lines: Vec<String> = heard.take().iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["warn a \"line\"", "print hello"]);
        assert!(heard.take().is_empty());
    }
}
