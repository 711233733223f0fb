//! What a domain may configure, and which of it makes sense. Calls nothing.

use serde::Deserialize;
use std::net::IpAddr;
use std::time::Duration;
use waypost_sdk::text::{Network, Senders, duration};

/// `[config.greylist]` of a domain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// How long a stranger waits; zero learns only.
    #[serde(deserialize_with = "duration")]
    pub(crate) delay: Duration,
    /// How long after the first contact a second one still counts.
    #[serde(deserialize_with = "duration")]
    pub(crate) window: Duration,
    /// How long somebody is known after the last contact.
    #[serde(deserialize_with = "duration")]
    pub(crate) keep: Duration,
    /// Networks and senders that never wait.
    whitelist: Vec<String>,
    /// A client's network never waits once that many of its mails have come back; 0 never.
    pub(crate) auto_whitelist_after: u32,
    pub(crate) null_sender: NullSender,
}

/// What happens to `<>`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NullSender {
    /// Notifications, and servers that check whether a sender exists, are answered at once.
    #[default]
    Pass,
    Delay,
}

impl Settings {
    pub const EXAMPLE: &str = r#"
        delay = "5 min"
        window = "2 d"
        keep = "36 d"
        whitelist = ["192.0.2.0/24", "2001:db8::/32", "boss@example.net", "@partner.example"]
        auto-whitelist-after = 5
        null-sender = "pass"
    "#;

    /// Networks and senders of `whitelist`, told apart.
    pub(crate) fn whitelist(&self) -> Result<(Vec<Network>, Senders), String> {
        let (mut networks, mut senders) = (Vec::new(), Senders::default());
        for (index, entry) in self.whitelist.iter().enumerate() {
            let at = |why| format!("`whitelist[{index}]`: {why}");
            if entry.contains('/') || entry.parse::<IpAddr>().is_ok() {
                networks.push(entry.parse().map_err(at)?);
            } else {
                senders.add(entry).map_err(|why| at(format!("{why}, or a network, for instance \"192.0.2.0/24\"")))?;
            }
        }
        Ok((networks, senders))
    }

    /// Values that are right each by itself and wrong together, or wrong for what they mean.
    pub(crate) fn check(&self) -> Result<(), String> {
        let longest = Duration::from_secs(10 * 365 * 86_400);
        for (key, value, example) in [("window", self.window, "2 d"), ("keep", self.keep, "36 d")] {
            if value < Duration::from_secs(60) || value > longest {
                return Err(format!("`{key}`: expected one minute to ten years, for instance: {key} = \"{example}\""));
            }
        }
        if self.delay >= self.window {
            return Err("`delay`: expected less than `window`, or nobody could come back in time; \
                        for instance: delay = \"5 min\" with window = \"2 d\""
                .to_owned());
        }
        Ok(())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            window: Duration::from_secs(2 * 86_400),
            keep: Duration::from_secs(36 * 86_400),
            whitelist: Vec::new(),
            auto_whitelist_after: 5,
            null_sender: NullSender::default(),
        }
    }
}
