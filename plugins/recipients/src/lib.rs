//! Plugin: who receives mail here. Reads the domain's list, asks [`Rules`] and answers RCPT.

mod rules;

pub use rules::{Rules, Settings};

use std::sync::LazyLock;
use waypost_sdk::{OnRecipient, Setup, Verdict, config};

struct Recipients;

/// Read once for each instance; an instance serves one domain with one configuration.
static RULES: LazyLock<Result<Rules, String>> = LazyLock::new(|| Rules::new(config::with_example(Settings::EXAMPLE)?));

impl Setup for Recipients {
    fn validate() -> Result<(), String> {
        RULES.as_ref().map(drop).map_err(String::clone)
    }
}

impl OnRecipient for Recipients {
    fn on_recipient(address: &str) -> Result<Verdict, String> {
        Ok(RULES.as_ref()?.decide(address))
    }
}

waypost_sdk::export!(Recipients: Setup, OnRecipient);
