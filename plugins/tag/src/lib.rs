//! Plugin: adds header fields to each message, from the domain's configuration. Judges no mail.

mod tags;
mod template;

pub use tags::{Facts, Settings, Tags};
pub use template::Template;

use std::sync::LazyLock;
use waypost_sdk::{OnMessage, Setup, Verdict, config, message, transaction};

struct Tag;

/// Read once for each instance; an instance serves one domain with one configuration.
static TAGS: LazyLock<Result<Tags, String>> = LazyLock::new(|| Tags::new(config::with_example(Settings::EXAMPLE)?));

impl Setup for Tag {
    fn validate() -> Result<(), String> {
        TAGS.as_ref().map(drop).map_err(String::clone)
    }
}

impl OnMessage for Tag {
    fn on_message() -> Result<Verdict, String> {
        let tags = TAGS.as_ref()?;
        let facts = Facts {
            domain: transaction::domain(),
            id: transaction::id(),
            sender: transaction::sender(),
            recipients: transaction::recipients().len(),
            score: transaction::score(),
        };
        for (name, value) in tags.fields(&facts) {
            message::set_header(name, &value)?;
        }
        if tags.wants_subject()
            && let Some(subject) = tags.subject(message::header("Subject").as_deref().unwrap_or_default())
        {
            message::set_header("Subject", &subject)?;
        }
        Ok(Verdict::Pass)
    }
}

waypost_sdk::export!(Tag: Setup, OnMessage);
