//! greylist-rust: asks strangers to come back later, and scores mail with a certain word in it.

mod policy;

wit_bindgen::generate!({ world: "plugin", path: "wit", generate_all });

use exports::waypost::plugin::{on_message, on_recipient, setup};
use std::time::{SystemTime, UNIX_EPOCH};
use waypost::plugin::types::{Error, Reply, Verdict};
use waypost::plugin::{config, kv, log, message, session, transaction};

/// Who has been told to come back is remembered for a day.
const REMEMBERED_S: u32 = 86_400;

struct Plugin;

impl setup::Guest for Plugin {
    fn validate() -> Result<(), String> {
        policy::delay(config::get("delay-s").as_deref())?;
        policy::reject_at(config::get("reject-at").as_deref())?;
        Ok(())
    }
}

impl on_recipient::Guest for Plugin {
    fn check_recipient(address: String) -> Verdict {
        // A configuration that setup refused never gets here.
        let delay = policy::delay(config::get("delay-s").as_deref()).unwrap_or(policy::DEFAULT_DELAY);
        if delay == 0 {
            return Verdict::Pass;
        }
        let key = policy::key(&session::peer_ip(), transaction::sender().as_deref(), &address);
        match greylist(&key, delay) {
            Ok(None) => Verdict::Pass,
            Ok(Some(seconds)) => Verdict::Tempfail(Reply {
                code: 451,
                enhanced: Some("4.7.1".to_owned()),
                text: format!("greylisted, come back in {seconds} s"),
            }),
            // Mail is more important than a list of who was here.
            Err(error) => {
                let name = name(&error);
                log::write(log::Level::Warn, &format!("no state: {name}"), &[("error".to_owned(), name.to_owned())]);
                Verdict::Pass
            }
        }
    }
}

/// Seconds to wait still.
fn greylist(key: &str, delay: u64) -> Result<Option<u64>, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let first = match kv::get(key)? {
        // What isn't a time is not ours, and was here long ago.
        Some(value) => Some(String::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0)),
        None => {
            kv::add(key, now.to_string().as_bytes(), Some(REMEMBERED_S))?;
            kv::increment("deferred", 1, None)?;
            None
        }
    };
    Ok(policy::wait(first, now, delay))
}

fn name(error: &Error) -> &'static str {
    match error {
        Error::Denied => "denied",
        Error::Invalid(_) => "invalid",
        Error::NotFound => "not-found",
        Error::Limit(_) => "limit",
        Error::Unavailable(_) => "unavailable",
        Error::Other(_) => "other",
    }
}

impl on_message::Guest for Plugin {
    fn check_message() -> Verdict {
        let word = config::get("word").unwrap_or_else(|| "unsubscribe".to_owned());
        if message::find(word.as_bytes(), 0).is_some() {
            transaction::add_score(150, "WORD");
        }
        let size = message::size();
        let subject = message::header("subject").unwrap_or_else(|| "-".to_owned());
        let score = transaction::score();
        // A subject that cannot be put into a field is no reason to keep the mail.
        let _ = message::add_header("X-Example", &format!("size={size} subject={subject} score={score}"));
        match policy::reject_at(config::get("reject-at").as_deref()) {
            Ok(Some(limit)) if score >= limit => Verdict::Reject(Reply {
                code: 550,
                enhanced: Some("5.7.1".to_owned()),
                text: format!("too much like spam: score {score}"),
            }),
            _ => Verdict::Pass,
        }
    }
}

export!(Plugin);
