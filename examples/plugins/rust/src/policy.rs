//! Decides who has waited long enough, and what a configuration must say. Asks nothing of the gateway, so that
//! `cargo test` can try it.

pub const DEFAULT_DELAY: u64 = 300;
const LONGEST_DELAY: u64 = 86_400;

/// Seconds that a contact has to wait still; none where it may come in.
pub fn wait(first: Option<u64>, now: u64, delay: u64) -> Option<u64> {
    let due = first.unwrap_or(now).saturating_add(delay);
    due.checked_sub(now).filter(|seconds| *seconds > 0)
}

/// The sender is none for bounces.
pub fn key(ip: &str, sender: Option<&str>, recipient: &str) -> String {
    format!("{ip}|{}|{}", sender.unwrap_or_default(), recipient.to_ascii_lowercase())
}

pub fn delay(text: Option<&str>) -> Result<u64, String> {
    let Some(text) = text else { return Ok(DEFAULT_DELAY) };
    let seconds = text.parse().ok().filter(|seconds| *seconds <= LONGEST_DELAY);
    seconds.ok_or_else(|| format!("delay-s: expected whole seconds from 0 to {LONGEST_DELAY}, got \"{text}\""))
}

pub fn reject_at(text: Option<&str>) -> Result<Option<i32>, String> {
    text.map(|text| text.parse().map_err(|_| format!("reject-at: expected a whole number, got \"{text}\""))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_waits_once() {
        assert_eq!(wait(None, 1000, 60), Some(60));
        assert_eq!(wait(Some(1000), 1059, 60), Some(1));
        assert_eq!(wait(Some(1000), 1060, 60), None);
        assert_eq!(wait(None, 1000, 0), None);
    }

    #[test]
    fn the_same_contact_has_the_same_key() {
        assert_eq!(key("192.0.2.1", None, "Bob@Example.org"), "192.0.2.1||bob@example.org");
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused() {
        assert_eq!(delay(None), Ok(DEFAULT_DELAY));
        assert_eq!(delay(Some("86400")), Ok(86_400));
        assert!(delay(Some("86401")).is_err());
        assert!(delay(Some("5 min")).unwrap_err().ends_with("got \"5 min\""));
        assert_eq!(reject_at(Some("-100")), Ok(Some(-100)));
        assert!(reject_at(Some("1.5")).is_err());
    }
}
