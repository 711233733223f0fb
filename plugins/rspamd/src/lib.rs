//! Plugin: asks rspamd what it thinks of each message, over HTTP, and does what it says.

mod answer;
#[cfg(target_family = "wasm")]
mod http;
mod settings;

pub use answer::{Answer, Decision};
pub use settings::{Greylist, Server, Settings};

#[cfg(target_family = "wasm")]
mod plugin {
    use crate::{Answer, Decision, Settings, http};
    use std::sync::LazyLock;
    use waypost_sdk::{OnMessage, Setup, Verdict, config, message, session, transaction};

    struct Rspamd;

    /// Read once for each instance; an instance serves one domain with one configuration.
    static SETTINGS: LazyLock<Result<Settings, String>> = LazyLock::new(|| {
        let settings: Settings = config::with_example(Settings::EXAMPLE)?;
        settings.check().map(|()| settings)
    });

    /// Read from the gateway at a time, in bytes.
    const PIECE: u32 = 64 << 10;

    impl Setup for Rspamd {
        fn validate() -> Result<(), String> {
            SETTINGS.as_ref().map(drop).map_err(String::clone)
        }
    }

    impl OnMessage for Rspamd {
        fn on_message() -> Result<Verdict, String> {
            let settings = SETTINGS.as_ref()?;
            let size = message::size();
            if size > settings.max_size {
                waypost_sdk::info!("too large to be shown to rspamd"; size = size);
                return Ok(Verdict::Pass);
            }
            let mut offset = 0;
            let body = || {
                let piece = message::read(offset, PIECE)?;
                offset += piece.len() as u64;
                Ok(piece)
            };
            let (status, json) = http::post(settings.server()?, "/checkv2", &facts(size), settings.timeout, body)?;
            if status != 200 {
                return Err(format!("rspamd answered with status {status}"));
            }
            apply(Answer::parse(&json)?.decide(settings)?)
        }
    }

    /// What rspamd is told beside the message itself.
    fn facts(size: u64) -> Vec<(&'static str, String)> {
        let mut facts = vec![
            ("Content-Length", size.to_string()),
            ("IP", session::peer_ip()),
            ("From", transaction::sender().unwrap_or_default()),
            ("Queue-Id", transaction::id()),
        ];
        facts.extend(session::helo().map(|helo| ("Helo", helo)));
        facts.extend(session::peer_name().map(|name| ("Hostname", name)));
        facts.extend(session::auth_user().map(|user| ("User", user)));
        facts.extend(session::tls_version().map(|version| ("TLS-Version", version)));
        facts.extend(transaction::recipients().into_iter().map(|recipient| ("Rcpt", recipient)));
        facts
    }

    fn apply(decision: Decision) -> Result<Verdict, String> {
        transaction::add_score(decision.score, "RSPAMD");
        if matches!(decision.verdict, Verdict::Pass) {
            for name in &decision.remove {
                message::remove_header(name)?;
            }
            for (name, value) in &decision.add {
                message::add_header(name, value)?;
            }
            if let Some(subject) = &decision.subject {
                message::set_header("Subject", subject)?;
            }
        }
        Ok(decision.verdict)
    }

    waypost_sdk::export!(Rspamd: Setup, OnMessage);
}
