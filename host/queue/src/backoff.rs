//! Decides how long a deferred recipient waits. Pure.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3600);
/// A sixth up or down, so that mails which failed together don't come back together.
const SPREAD: f64 = 1.0 / 6.0;

/// The wait after `attempts` failed attempts; `jitter` is from 0 to 1, and 0.5 gives the table's value.
///
/// | attempts | 1 | 2 | 3 | 4 | 5 | 6 | 7 and more |
/// | --- | --- | --- | --- | --- | --- | --- | --- |
/// | wait | 1 min | 2 min | 4 min | 8 min | 16 min | 32 min | 1 h |
/// | from, to | 50 s, 70 s | 100, 140 s | 200, 280 s | 400, 560 s | 800, 1,120 s | 1,600, 2,240 s | 50, 70 min |
///
/// RFC 5321 §4.5.4.1 advises 30 minutes between attempts, but a host on a dynamic address is mostly
/// back within minutes, and a lane probes with one mail at a time.
pub fn backoff(attempts: u32, jitter: f64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let wait = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 };
    wait.mul_f64(1.0 + SPREAD * (2.0 * jitter - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_from_a_minute_to_an_hour() {
        let waits: Vec<u64> = (0..=8).map(|n| backoff(n, 0.5).as_secs()).collect();
        assert_eq!(waits, [60, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(backoff(u32::MAX, 0.5).as_secs(), 3600);
    }

    #[test]
    fn jitter_stays_within_a_sixth() {
        assert_eq!((backoff(1, 0.0).as_secs(), backoff(1, 1.0).as_secs()), (50, 70));
        assert_eq!(backoff(1, f64::NAN).as_secs(), 60);
        assert_eq!(backoff(1, 99.0).as_secs(), 70);
    }
}
