//! Decides what happens to a sender's mail while the next hop is away. Calls nothing.

use serde::Deserialize;
use waypost_sdk::Action;
use waypost_sdk::text::{NextHop, OneOrMany, Senders};

/// `[config.vip-redirect]` of a domain.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    senders: Senders,
    backup: Option<OneOrMany<NextHop>>,
    rest: Rest,
}

/// What becomes of the others' mail.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Rest {
    #[default]
    Hold,
    /// What the domain's file says.
    Default,
}

impl Settings {
    pub const EXAMPLE: &str = r#"
        senders = ["boss@example.net", "@partner.example", "*.example.com"]
        backup = "backup.example.net:25"
        rest = "hold"
    "#;
}

/// The settings, checked.
#[derive(Debug)]
pub struct Vips {
    senders: Senders,
    /// Not empty where a sender is listed.
    backup: Vec<String>,
    rest: Rest,
}

impl Vips {
    pub fn new(settings: Settings) -> Result<Self, String> {
        let backup: Vec<String> = settings.backup.iter().flat_map(|hops| hops.iter()).map(String::from).collect();
        if backup.is_empty() && !settings.senders.is_empty() {
            return Err("`backup` is missing: senders are listed, but there is nowhere to send their mail; \
                        for instance: backup = \"backup.example.net:25\""
                .to_owned());
        }
        Ok(Self { senders: settings.senders, backup, rest: settings.rest })
    }

    /// The null reverse-path (`None`) is never listed: a notification can wait.
    pub fn decide(&self, sender: Option<&str>) -> Action {
        match (self.senders.contains(sender), self.rest) {
            (true, _) => Action::Redirect(self.backup.clone()),
            (false, Rest::Hold) => Action::hold("next hop offline"),
            (false, Rest::Default) => Action::UseDefault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_sdk::config::parse;

    fn vips(json: &str) -> Result<Vips, String> {
        Vips::new(parse(json, Settings::EXAMPLE)?)
    }

    const LISTED: &str = r#""senders":["boss@x.org","@partner.example","*.example"],"backup":["b:25","c:25"]"#;

    #[test]
    fn listed_senders_are_redirected_and_the_rest_is_held() {
        let vips = vips(&format!("{{{LISTED}}}")).unwrap();
        for sender in ["boss@x.org", "Boss@X.org", "any@partner.example", "a@sub.deep.example"] {
            assert_eq!(vips.decide(Some(sender)), Action::redirect(["b:25", "c:25"]), "{sender}");
        }
        for sender in [Some("big-boss@x.org"), Some("a@x.org"), Some("a@example"), Some("boss@x.org.evil.com"), None] {
            assert_eq!(vips.decide(sender), Action::hold("next hop offline"), "{sender:?}");
        }
    }

    #[test]
    fn the_rest_may_take_the_domains_own_way() {
        let vips = vips(&format!("{{{LISTED},\"rest\":\"default\"}}")).unwrap();
        assert_eq!(vips.decide(Some("a@x.org")), Action::UseDefault);
        assert_eq!(vips.decide(None), Action::UseDefault);
        assert_eq!(vips.decide(Some("boss@x.org")), Action::redirect(["b:25", "c:25"]));
    }

    #[test]
    fn without_senders_everything_is_held() {
        for json in ["{}", r#"{"backup":"b:25"}"#] {
            assert_eq!(vips(json).unwrap().decide(Some("a@x.org")), Action::hold("next hop offline"));
        }
    }

    #[test]
    fn a_bad_configuration_is_refused_with_its_key_and_an_example() {
        for (json, parts) in [
            (r#"{"sender":[]}"#, ["`sender` is not a key here", "did you mean `senders`?", "boss@example.net"]),
            (r#"{"senders":["a@b.c"]}"#, ["`backup` is missing", "nowhere", "backup = \"backup.example.net:25\""]),
            (r#"{"senders":["boss"],"backup":"b:25"}"#, ["`senders[0]`", "\"boss\" is not a sender", "for instance"]),
            (r#"{"senders":"a@b.c","backup":"b:25"}"#, ["`senders`", "expected a list", "for instance: senders = "]),
            (r#"{"backup":"b"}"#, ["`backup`", "the port is missing", "for instance"]),
            (r#"{"backup":["b:25","http://c:1"]}"#, ["`backup[1]`", "neither smtp nor lmtp", "for instance"]),
            (r#"{"rest":"defualt"}"#, ["`rest`", "expected one of \"hold\", \"default\"", "did you mean \"default\"?"]),
        ] {
            let message = vips(json).map(drop).unwrap_err();
            for part in parts {
                assert!(message.contains(part), "{json}: {message}");
            }
        }
    }

    #[test]
    fn the_examples_in_readme_and_messages_are_valid() {
        let readme = include_str!("../README.md");
        let block = readme.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let file: serde_json::Value = toml::from_str(block).unwrap();
        let example: serde_json::Value = toml::from_str(Settings::EXAMPLE).unwrap();
        for table in [&file["config"]["vip-redirect"], &example] {
            vips(&table.to_string()).map(drop).unwrap();
        }
    }
}
