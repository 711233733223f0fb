//! What a domain may configure, and which of it makes sense. Calls nothing.

use serde::Deserialize;
use std::time::Duration;
use waypost_sdk::text::duration;

/// `[config.rspamd]` of a domain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Where rspamd's normal worker listens; the operator grants the same to the plugin.
    pub(crate) url: String,
    /// How long one question may take.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// What becomes of a message that rspamd wants greylisted.
    pub greylist: Greylist,
    /// Larger messages are not shown to rspamd, in bytes.
    pub max_size: u64,
    /// Name of the header field with the score; empty adds none.
    pub score_header: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Greylist {
    /// rspamd remembers who has come back.
    #[default]
    Tempfail,
    /// Another plugin does it.
    Pass,
}

/// A web server, as a request names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server<'a> {
    pub tls: bool,
    /// Host and port.
    pub authority: &'a str,
}

impl Settings {
    pub const EXAMPLE: &str = r#"
        url = "http://127.0.0.1:11333"
        timeout = "1500 ms"
        greylist = "tempfail"
        max-size = 10485760
        score-header = "X-Spam-Score"
    "#;

    pub fn server(&self) -> Result<Server<'_>, String> {
        let expected = || {
            format!(
                "`url`: expected scheme, host and port, for instance \"http://127.0.0.1:11333\"; got {:?}",
                self.url
            )
        };
        let (tls, authority) = match self.url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(expected()),
        };
        let authority = authority.trim_end_matches('/');
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '?' | '#' | '@');
        if authority.is_empty() || authority.contains(bad) {
            return Err(expected());
        }
        Ok(Server { tls, authority })
    }

    pub fn check(&self) -> Result<(), String> {
        self.server()?;
        if self.timeout.is_zero() {
            return Err("`timeout`: expected more than nothing, for instance: timeout = \"1500 ms\"".to_owned());
        }
        let name = self.score_header.as_bytes();
        if !name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':') {
            return Err("`score-header`: expected the name of a header field, for instance \"X-Spam-Score\"".to_owned());
        }
        Ok(())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:11333".to_owned(),
            timeout: Duration::from_millis(1500),
            greylist: Greylist::default(),
            max_size: 10 << 20,
            score_header: "X-Spam-Score".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_url_is_taken_apart_and_anything_but_a_server_is_refused() {
        let server = |url: &str| settings(&format!("url = {url:?}")).server().map(|s| (s.tls, s.authority.to_owned()));
        assert_eq!(server("http://127.0.0.1:11333").unwrap(), (false, "127.0.0.1:11333".to_owned()));
        assert_eq!(server("https://rspamd.example.net/").unwrap(), (true, "rspamd.example.net".to_owned()));
        for bad in ["127.0.0.1:11333", "ftp://a", "http://", "http://a/b", "http://user@a", "http://a b"] {
            assert!(server(bad).unwrap_err().contains("`url`"), "{bad}");
        }
    }

    #[test]
    fn the_example_is_right_and_nonsense_is_told_by_its_key() {
        settings(Settings::EXAMPLE).check().unwrap();
        Settings::default().check().unwrap();
        assert!(settings("timeout = \"0 s\"").check().unwrap_err().contains("`timeout`"));
        assert!(settings("score-header = \"X Y\"").check().unwrap_err().contains("`score-header`"));
    }
}
