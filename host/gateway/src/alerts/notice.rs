//! One alert as it is kept and sent: its words and its JSON. Pure.

use crate::config::AlertTarget;
use mail::{Domain, MailId, NextHop, Timestamp};
use serde::{Deserialize, Serialize};

/// A text from elsewhere is cut to so many bytes.
const MAX_REASON: usize = 400;

/// What has begun; each but the last has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    Offline,
    Identity,
    Refusing,
    Expiring,
}

impl What {
    pub fn begins(self) -> &'static str {
        match self {
            Self::Offline => "next-hop.offline",
            Self::Identity => "next-hop.identity",
            Self::Refusing => "next-hop.refusing",
            Self::Expiring => "mail.expiring",
        }
    }

    /// None: nobody is told that it has ended.
    pub fn ends(self) -> Option<&'static str> {
        match self {
            Self::Offline => Some("next-hop.online"),
            Self::Identity => Some("next-hop.trusted"),
            Self::Refusing => Some("next-hop.accepting"),
            Self::Expiring => None,
        }
    }
}

/// What docs/alerts.md promises to receivers.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Body<'a> {
    pub id: String,
    pub event: &'a str,
    pub at: String,
    pub gateway: &'a str,
    pub domain: &'a Domain,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<&'a NextHop>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Recipients whose mail waits for the next hop, or will be given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_expiry: Option<String>,
}

impl Body<'_> {
    pub fn json(&self) -> String {
        // Strings and numbers: serde_json cannot fail on these.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// One alert for one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Notice {
    pub id: MailId,
    /// Which of the alert's targets.
    pub place: usize,
    pub target: AlertTarget,
    pub domain: Domain,
    pub event: String,
    pub at: Timestamp,
    /// The same bytes at each try.
    pub body: String,
}

impl Notice {
    /// In bytes, about.
    pub fn size(&self) -> usize {
        self.body.len() + self.target.as_text().len() + 300
    }
}

impl AlertTarget {
    /// For the owner of the gateway: a URL's path is often a secret.
    pub fn as_text(&self) -> String {
        match self {
            Self::Webhook(url) => url.clone(),
            Self::Command(words) => words.join(" "),
        }
    }

    /// For the log.
    pub fn name(&self) -> String {
        match self {
            Self::Webhook(url) => match url.parse::<http::Uri>().ok().and_then(|url| url.into_parts().authority) {
                Some(authority) => format!("webhook {authority}"),
                None => "webhook".to_owned(),
            },
            Self::Command(words) => format!("command {}", words.first().map(String::as_str).unwrap_or_default()),
        }
    }
}

/// One line, without control characters, of bounded length.
pub fn short(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut end = clean.len().min(MAX_REASON);
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    if end < clean.len() { format!("{}…", clean.get(..end).unwrap_or_default()) } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(short("550 no\r\nsuch user"), "550 no  such user");
        let long = short(&"ü".repeat(1000));
        assert!(long.len() <= MAX_REASON + 3 && long.ends_with('…'));
    }

    #[test]
    fn the_log_shows_no_path_of_a_webhook() {
        let target = AlertTarget::Webhook("https://hooks.example.org:8443/T0/secret".to_owned());
        assert_eq!(target.name(), "webhook hooks.example.org:8443");
    }
}
