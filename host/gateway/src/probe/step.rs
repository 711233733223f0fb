//! What a probe tells: one value for each step, and what they have come to. Values only.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Dns,
    Connect,
    Greeting,
    Ehlo,
    Starttls,
    Certificate,
    Identity,
    Size,
    Postmaster,
    CatchAll,
    OpenRelay,
    Quit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Passed,
    /// Mail goes there all the same.
    Warning,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    pub next_hop: String,
    pub step: Kind,
    pub verdict: Verdict,
    pub took_ms: u64,
    /// What happened, for a person.
    pub told: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    pub domain: String,
    pub at: String,
    /// One of the next hops has passed: mail goes there.
    pub passed: bool,
    pub steps: Vec<Step>,
}

/// One line of a probe that is told while it goes on; the summary is the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    Step(Step),
    Summary(Summary),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    pub domain: String,
    pub at: String,
    pub passed: bool,
    /// Mail for the domain is accepted: a probe of its own next hops has passed, or none is asked for.
    pub proven: bool,
}

impl Kind {
    /// As a person knows it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Dns => "DNS",
            Self::Connect => "TCP",
            Self::Greeting => "greeting",
            Self::Ehlo => "EHLO",
            Self::Starttls => "STARTTLS",
            Self::Certificate => "certificate",
            Self::Identity => "identity",
            Self::Size => "SIZE",
            Self::Postmaster => "postmaster",
            Self::CatchAll => "random name",
            Self::OpenRelay => "foreign domain",
            Self::Quit => "QUIT",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8}{:<16}{:>6} ms  {}", self.verdict, self.step.label(), self.took_ms, self.told)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n{:35}→ {hint}", ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_what_it_was_written_as() {
        let step = Step {
            next_hop: "127.0.0.1:25".into(),
            step: Kind::CatchAll,
            verdict: Verdict::Warning,
            took_ms: 3,
            told: "250 ok".into(),
            hint: None,
        };
        let summary = Summary { domain: "example.org".into(), at: "now".into(), passed: true, proven: false };
        for line in [Line::Step(step), Line::Summary(summary)] {
            let text = serde_json::to_string(&line).unwrap();
            assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line, "{text}");
        }
    }
}
