//! Log lines on standard error; WAYPOST_LOG chooses which.

use crate::cli::LogFormat;
use tracing_subscriber::EnvFilter;

/// `default` holds where WAYPOST_LOG is not set, or wrong.
pub fn start(format: LogFormat, default: &str) {
    let filter = EnvFilter::try_from_env("WAYPOST_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // Where a line cannot be written, neither can the complaint about it: that would be a panic.
    let lines = tracing_subscriber::fmt().log_internal_errors(false).with_env_filter(filter);
    let lines = lines.with_writer(std::io::stderr).with_ansi(false);
    match format {
        LogFormat::Text => lines.with_target(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
