//! What of the files is in force, and what is not, and why.

use crate::config::ConfigError;
use serde::{Deserialize, Serialize};

/// After the latest look at the files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Counts looks that changed something.
    pub generation: u64,
    /// When something was changed last (RFC 3339).
    pub changed_at: String,
    pub domains: usize,
    /// What is wrong with the files; what they said before goes on serving.
    pub not_in_force: Vec<Fault>,
    /// Keys of waypost.toml that say something new, which only a restart will take.
    pub needs_restart: Vec<String>,
    /// False where the system tells no changes: then files are looked at every few seconds.
    pub watching: bool,
}

/// One mistake in one file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fault {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
    pub hint: Option<String>,
}

impl From<&ConfigError> for Fault {
    fn from(error: &ConfigError) -> Self {
        Self {
            file: error.file.display().to_string(),
            line: error.line,
            column: error.column,
            message: error.message.clone(),
            hint: error.hint.clone(),
        }
    }
}
