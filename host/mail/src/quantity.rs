//! Durations and sizes as people write them: `5 min`, `50 MiB`.

use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    #[error("{0:?} is not a duration; expected a number and a unit (ms, s, min, h, d), for instance \"5 min\"")]
    Duration(String),
    #[error(
        "{0:?} is not a size; expected a number and a unit (B, KiB, MiB, GiB, KB, MB, GB), for instance \"50 MiB\""
    )]
    Size(String),
}

/// `300 ms`, `5 s`, `5 min`, `2 h`, `30 d`; the space may be left out.
pub fn parse_duration(text: &str) -> Result<Duration, ParseQuantityError> {
    let wrong = || ParseQuantityError::Duration(text.to_owned());
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let millis = match unit {
        "ms" => 1,
        "s" | "sec" => 1000,
        "min" | "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

/// In bytes: `512 B`, `64 KiB`, `50 MiB`, `1 GiB`, and powers of ten as `KB`, `MB`, `GB`.
pub fn parse_size(text: &str) -> Result<u64, ParseQuantityError> {
    let wrong = || ParseQuantityError::Size(text.to_owned());
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let bytes = match unit {
        "B" | "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" | "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(bytes).ok_or_else(wrong)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_units() {
        assert_eq!(parse_duration("5 min"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("30d"), Ok(Duration::from_secs(30 * 86400)));
        assert_eq!(parse_size("50 MiB"), Ok(50 << 20));
        for wrong in ["", "5", "min", "5 weeks", "-5 s", "99999999999999999 d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert!(parse_size("5 apples").is_err());
    }
}
