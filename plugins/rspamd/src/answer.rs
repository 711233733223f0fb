//! What rspamd said, and what becomes of the message. Pure.

use crate::settings::{Greylist, Settings};
use serde::Deserialize;
use std::collections::BTreeMap;
use waypost_sdk::Verdict;

/// The part of rspamd's answer to `/checkv2` that counts here.
#[derive(Debug, Deserialize)]
pub struct Answer {
    action: String,
    score: f64,
    #[serde(default)]
    required_score: f64,
    #[serde(default)]
    symbols: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    messages: BTreeMap<String, serde_json::Value>,
    /// With the action `rewrite subject`.
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    milter: Milter,
}

#[derive(Debug, Default, Deserialize)]
struct Milter {
    #[serde(default)]
    add_headers: BTreeMap<String, Added>,
    #[serde(default)]
    remove_headers: BTreeMap<String, serde_json::Value>,
}

/// rspamd writes one value, one with its place, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Added {
    Plain(String),
    Placed { value: String },
    Several(Vec<Added>),
}

/// What the plugin does.
#[derive(Debug, PartialEq)]
pub struct Decision {
    pub verdict: Verdict,
    /// Hundredths of a point.
    pub score: i32,
    /// Removed before anything is added.
    pub remove: Vec<String>,
    pub add: Vec<(String, String)>,
    pub subject: Option<String>,
}

/// Symbols named in the header field; the rest is counted.
const SYMBOLS: usize = 20;

impl Answer {
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| format!("rspamd's answer is not understood: {error}"))
    }

    pub fn decide(self, settings: &Settings) -> Result<Decision, String> {
        let said = self.messages.get("smtp_message").and_then(serde_json::Value::as_str).map(one_line);
        let verdict = match self.action.as_str() {
            "no action" | "add header" | "rewrite subject" => Verdict::Pass,
            "greylist" if settings.greylist == Greylist::Pass => Verdict::Pass,
            "greylist" => Verdict::tempfail(451, "4.7.1", said.unwrap_or("Greylisted, try again later".to_owned())),
            "soft reject" => Verdict::tempfail(451, "4.7.1", said.unwrap_or("Try again later".to_owned())),
            "reject" => Verdict::reject(550, "5.7.1", said.unwrap_or("Message refused as spam".to_owned())),
            other => return Err(format!("rspamd wants {:?}, which is unknown here", one_line(other))),
        };
        let mut add = Vec::new();
        if !settings.score_header.is_empty() {
            add.push((settings.score_header.clone(), self.score_line()));
        }
        if self.action == "add header" {
            add.push(("X-Spam".to_owned(), "Yes".to_owned()));
        }
        for (name, added) in self.milter.add_headers {
            added.into_values(&name, &mut add);
        }
        // What a sender wrote under these names would be taken for ours.
        let mut remove: Vec<String> = self.milter.remove_headers.into_keys().collect();
        remove.extend(settings_names(settings));
        let subject = (self.action == "rewrite subject").then_some(self.subject).flatten();
        Ok(Decision { verdict, score: points(self.score), remove, add, subject: subject.as_deref().map(one_line) })
    }

    fn score_line(&self) -> String {
        let names: Vec<&str> = self.symbols.keys().map(String::as_str).take(SYMBOLS).collect();
        let more = match self.symbols.len().saturating_sub(SYMBOLS) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let line = format!("{:.2} / {:.2} ({}{more})", self.score, self.required_score, names.join(" "));
        one_line(&line)
    }
}

impl Added {
    fn into_values(self, name: &str, into: &mut Vec<(String, String)>) {
        match self {
            Self::Plain(value) | Self::Placed { value } => into.push((name.to_owned(), one_line(&value))),
            Self::Several(several) => several.into_iter().for_each(|one| one.into_values(name, into)),
        }
    }
}

fn settings_names(settings: &Settings) -> impl Iterator<Item = String> {
    ["X-Spam".to_owned(), settings.score_header.clone()].into_iter().filter(|name| !name.is_empty())
}

/// Hundredths of a point.
fn points(score: f64) -> i32 {
    // `as` ends at the limits, and makes 0 of what is no number.
    (score * 100.0).round() as i32
}

/// Replies and header fields hold no line breaks.
fn one_line(text: &str) -> String {
    text.split(char::is_control).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(json: &str) -> Decision {
        Answer::parse(json.as_bytes()).unwrap().decide(&Settings::default()).unwrap()
    }

    fn field<'a>(decision: &'a Decision, name: &str) -> Vec<&'a str> {
        decision.add.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    #[test]
    fn a_clean_message_passes_with_its_score() {
        let decision = decide(r#"{"action":"no action","score":-0.1,"required_score":15.0,"symbols":{"A":{},"B":{}}}"#);
        assert_eq!((&decision.verdict, decision.score), (&Verdict::Pass, -10));
        assert_eq!(field(&decision, "X-Spam-Score"), ["-0.10 / 15.00 (A B)"]);
        assert!(decision.remove.contains(&"X-Spam".to_owned()), "what the sender claims goes");
    }

    #[test]
    fn each_action_becomes_its_verdict() {
        let of = |action: &str| decide(&format!(r#"{{"action":{action:?},"score":1}}"#)).verdict;
        assert!(matches!(of("reject"), Verdict::Reject(r) if r.code == 550));
        assert!(matches!(of("soft reject"), Verdict::Tempfail(r) if r.code == 451));
        assert!(matches!(of("greylist"), Verdict::Tempfail(r) if r.code == 451));
        assert_eq!(of("add header"), Verdict::Pass);
        assert_eq!(of("rewrite subject"), Verdict::Pass);
        let unknown = Answer::parse(br#"{"action":"explode","score":1}"#).unwrap().decide(&Settings::default());
        assert!(unknown.unwrap_err().contains("explode"));
    }

    #[test]
    fn a_domain_may_leave_greylisting_to_another_plugin() {
        let settings = Settings { greylist: Greylist::Pass, ..Settings::default() };
        let answer = Answer::parse(br#"{"action":"greylist","score":4.5}"#).unwrap();
        assert_eq!(answer.decide(&settings).unwrap().verdict, Verdict::Pass);
    }

    #[test]
    fn what_rspamd_says_to_the_sender_is_said_in_one_line() {
        let json = r#"{"action":"reject","score":15,"messages":{"smtp_message":"Gtube\r\n250 pattern"}}"#;
        assert!(matches!(decide(json).verdict, Verdict::Reject(r) if r.text == "Gtube 250 pattern"));
    }

    #[test]
    fn fields_that_rspamd_asks_for_are_added_in_every_form_it_has() {
        let json = r#"{"action":"add header","score":7,"milter":{
            "add_headers":{"X-A":"1","X-B":{"value":"2","order":0},"X-C":[{"value":"3"},"4"]},"remove_headers":{"X-Old":0}}}"#;
        let decision = decide(json);
        assert_eq!(field(&decision, "X-A"), ["1"]);
        assert_eq!(field(&decision, "X-B"), ["2"]);
        assert_eq!(field(&decision, "X-C"), ["3", "4"]);
        assert_eq!(field(&decision, "X-Spam"), ["Yes"]);
        assert!(decision.remove.contains(&"X-Old".to_owned()));
    }

    #[test]
    fn a_subject_is_rewritten_only_when_that_is_the_action() {
        let with =
            |action: &str| decide(&format!(r#"{{"action":{action:?},"score":1,"subject":"[SPAM] hi"}}"#)).subject;
        assert_eq!(with("rewrite subject").as_deref(), Some("[SPAM] hi"));
        assert_eq!(with("no action"), None);
    }
}
