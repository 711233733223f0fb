//! Answers for `config`, `log` and `metrics`: none of them can fail, so what is not granted is empty or ignored.

use super::cut;
use crate::{
    bindings::waypost::plugin::{
        config,
        log::{self, Level},
        metrics,
    },
    grant::Grant,
    state::State,
};

/// Bytes of a message with its fields.
const MAX_LINE: usize = 2000;

impl config::Host for State {
    fn get(&mut self, key: String) -> Option<String> {
        self.called("config.get");
        self.profile.grants(&Grant::Config).then(|| self.profile.config.get(&key).map(str::to_owned))?
    }
    fn json(&mut self) -> String {
        self.called("config.json");
        if self.profile.grants(&Grant::Config) { self.profile.config.json().to_owned() } else { "{}".to_owned() }
    }
    fn secret(&mut self, name: String) -> Option<String> {
        self.called("config.secret");
        self.profile.grants(&Grant::Config).then(|| self.profile.config.secret(&name).map(str::to_owned))?
    }
}

impl State {
    fn logs(&self, level: Level) -> bool {
        self.profile.grants(&Grant::Log)
            && match level {
                Level::Trace => tracing::enabled!(target: "plugin", tracing::Level::TRACE),
                Level::Debug => tracing::enabled!(target: "plugin", tracing::Level::DEBUG),
                Level::Info => tracing::enabled!(target: "plugin", tracing::Level::INFO),
                Level::Warn => tracing::enabled!(target: "plugin", tracing::Level::WARN),
                Level::Error => tracing::enabled!(target: "plugin", tracing::Level::ERROR),
            }
    }
}

impl log::Host for State {
    fn enabled(&mut self, level: Level) -> bool {
        self.called("log.enabled");
        self.logs(level)
    }
    fn write(&mut self, level: Level, message: String, fields: Vec<(String, String)>) {
        self.called("log.write");
        if !self.logs(level) || !self.lines.take() {
            return;
        }
        let line = one_line(&message, &fields);
        let (plugin, domain) = (&*self.profile.plugin, &self.profile.domain);
        match level {
            Level::Trace => tracing::trace!(target: "plugin", plugin, %domain, "{line}"),
            Level::Debug => tracing::debug!(target: "plugin", plugin, %domain, "{line}"),
            Level::Info => tracing::info!(target: "plugin", plugin, %domain, "{line}"),
            Level::Warn => tracing::warn!(target: "plugin", plugin, %domain, "{line}"),
            Level::Error => tracing::error!(target: "plugin", plugin, %domain, "{line}"),
        }
    }
}

impl metrics::Host for State {
    fn count(&mut self, name: String, delta: u64, labels: Vec<(String, String)>) {
        self.called("metrics.count");
        if self.profile.grants(&Grant::Metrics) {
            self.profile.metrics.count(name, delta, labels);
        }
    }
    fn observe(&mut self, name: String, value: f64, labels: Vec<(String, String)>) {
        self.called("metrics.observe");
        if self.profile.grants(&Grant::Metrics) {
            self.profile.metrics.observe(name, value, labels);
        }
    }
}

/// `message name="value" …`, without control characters, so that a guest cannot forge a line.
fn one_line(message: &str, fields: &[(String, String)]) -> String {
    let mut line = printable(cut(message, MAX_LINE));
    for (name, value) in fields {
        if line.len() >= MAX_LINE {
            break;
        }
        line.push(' ');
        line.push_str(&printable(cut(name, 64)));
        line.push('=');
        line.push_str(&format!("{:?}", cut(value, MAX_LINE)));
    }
    let end = cut(&line, MAX_LINE).len();
    line.truncate(end);
    line
}

pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_writes_one_bounded_line() {
        assert_eq!(one_line("a\r\nb", &[("k".into(), "v\n\"".into())]), r#"a  b k="v\n\"""#);
        assert!(one_line(&"ü".repeat(5000), &[("k".into(), "v".into())]).len() <= MAX_LINE);
    }
}
