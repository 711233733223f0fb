//! Durations as people write them: `5 min`.

use serde::{Deserializer, de};
use std::{fmt, time::Duration};

/// `300 ms`, `5 s`, `5 min`, `2 h`, `30 d`; the space may be left out.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!("{text:?} is not a duration; expected a number and a unit (ms, s, min, h, d), for instance \"5 min\"")
    };
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let millis = match unit.trim_start() {
        "ms" => 1,
        "s" | "sec" => 1000,
        "min" | "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

/// For `#[serde(deserialize_with = "waypost_sdk::text::duration")]`.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Text;
    impl de::Visitor<'_> for Text {
        type Value = Duration;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration in quotes, for instance \"5 min\"")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            parse_duration(text).map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_units() {
        for (text, seconds) in [("0 s", 0), ("5 min", 300), ("5m", 300), (" 2 h ", 7200), ("36 d", 36 * 86400)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "5", "min", "5 weeks", "-5 s", "1.5 h", "99999999999999999 d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
