//! What the gateway has found out about where a mail comes from, in RFC 8601's words.
//!
//! Values only: how they are found is the gateway's, what follows from them a plugin's.

use serde::{Deserialize, Serialize};
use std::fmt;

/// RFC 8601 §2.7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthResult {
    /// Not checked, or nothing to check.
    #[default]
    None,
    Pass,
    Fail,
    SoftFail,
    Neutral,
    /// Good as such, and not acceptable all the same.
    Policy,
    /// Could not be found out now.
    TempError,
    /// Cannot be found out, however often it is tried.
    PermError,
}

impl AuthResult {
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Pass,
        Self::Fail,
        Self::SoftFail,
        Self::Neutral,
        Self::Policy,
        Self::TempError,
        Self::PermError,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Neutral => "neutral",
            Self::Policy => "policy",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for AuthResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The results for one mail, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Authenticity {
    /// May this client use the sender's domain, or, with the null reverse-path, the name of its HELO?
    pub spf: AuthResult,
    /// The domain and the result of each signature, the topmost first.
    pub dkim: Vec<(String, AuthResult)>,
    pub dmarc: AuthResult,
    pub arc: AuthResult,
}

impl Authenticity {
    /// Nothing has been checked, or there was nothing to check.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// `spf=pass dkim=fail (example.org) dmarc=none arc=none`.
impl fmt::Display for Authenticity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spf={}", self.spf)?;
        if self.dkim.is_empty() {
            f.write_str(" dkim=none")?;
        }
        self.dkim.iter().try_for_each(|(domain, result)| write!(f, " dkim={result} ({domain})"))?;
        write!(f, " dmarc={} arc={}", self.dmarc, self.arc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_written_in_records_as_in_the_field() {
        for result in AuthResult::ALL {
            assert_eq!(serde_json::to_value(result).unwrap(), result.as_str());
        }
    }

    #[test]
    fn results_are_one_line_for_people() {
        let mut results = Authenticity { spf: AuthResult::Pass, ..Authenticity::default() };
        assert_eq!(results.to_string(), "spf=pass dkim=none dmarc=none arc=none");
        results.dkim.push(("example.org".to_owned(), AuthResult::TempError));
        assert_eq!(results.to_string(), "spf=pass dkim=temperror (example.org) dmarc=none arc=none");
    }
}
