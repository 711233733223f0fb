//! A point in time, in milliseconds since the Unix epoch. The clock is always an argument.

use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Later than any mail: "not before someone says so".
    pub const NEVER: Self = Self(i64::MAX as u64);

    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }
    pub const fn as_millis(self) -> u64 {
        self.0
    }
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }
    pub fn from_system(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX))
    }
    pub fn to_system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0)
    }
    pub const fn plus(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait.as_millis() as u64))
    }
    /// Zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// `Tue, 24 Nov 2026 05:49:10 +0000`, the date-time of RFC 5322 §3.3, in UTC.
    pub fn to_rfc5322(self) -> String {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let secs = self.as_secs();
        let (year, month, day) = civil_date(secs / 86400);
        let weekday = DAYS.get((secs / 86400 % 7) as usize).copied().unwrap_or("Thu");
        let month = MONTHS.get(month as usize - 1).copied().unwrap_or("Jan");
        let (h, m, s) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
        format!("{weekday}, {day} {month} {year} {h:02}:{m:02}:{s:02} +0000")
    }

    /// `2026-11-24T05:49:10Z` (RFC 3339), in UTC.
    pub fn to_rfc3339(self) -> String {
        let secs = self.as_secs();
        let (year, month, day) = civil_date(secs / 86400);
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", secs / 3600 % 24, secs / 60 % 60, secs % 60)
    }
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar.
fn civil_date(days: u64) -> (u64, u64, u64) {
    // Count from 0000-03-01, so that the leap day ends a year; 146,097 days are 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_rfc_5322_asks() {
        assert_eq!(Timestamp::from_secs(0).to_rfc5322(), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(Timestamp::from_secs(1_709_210_096).to_rfc5322(), "Thu, 29 Feb 2024 12:34:56 +0000");
        assert_eq!(Timestamp::from_secs(1_795_499_350).to_rfc3339(), "2026-11-24T05:49:10Z");
    }
}
