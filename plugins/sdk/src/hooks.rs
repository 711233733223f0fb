//! States what each hook asks of a plugin, and what becomes of a plugin's error. Decides no mail.
//!
//! An `Err` is the failure of the plugin, not an answer about the mail: its text is logged, its edits are
//! dropped, and the gateway does what the domain's `on-failure` says (after 250: the configured handling).

use crate::{Action, Error, Routing, Verdict, log};

/// Asked once for each load, in an instance that is thrown away. An `Err` refuses the configuration:
/// its text goes to the person who wrote it.
pub trait Setup {
    fn validate() -> Result<(), String>;
}

/// Gateway-wide plugins only. The connection is in [`session`](crate::session).
pub trait OnConnect {
    fn on_connect() -> Result<Verdict, String>;
}

/// Once for each RCPT of the domain; sender and session are in [`transaction`](crate::transaction)
/// and [`session`](crate::session).
pub trait OnRecipient {
    fn on_recipient(address: &str) -> Result<Verdict, String>;
}

/// Once for each message, before it is answered; the mail is in [`message`](crate::message).
pub trait OnMessage {
    fn on_message() -> Result<Verdict, String>;
}

/// Before each delivery attempt; the recipient is in [`delivery`](crate::delivery).
pub trait OnRoute {
    fn on_route() -> Result<Routing, String>;
}

/// The next hop cannot be reached; why is in [`failure`](crate::failure).
pub trait OnOffline {
    fn on_offline() -> Result<Action, String>;
}

/// The next hop is back; `held` counts what waits for a release. True lets it go out.
pub trait OnOnline {
    fn on_online(domain: &str, held: u64) -> Result<bool, String>;
}

/// Told, never asked. `at` is in Unix seconds; kinds are listed in `wit/plugin.wit`.
pub trait OnEvent {
    fn on_event(kind: &str, at: u64, json: &str) -> Result<(), String>;
}

/// The contract has no answer for "I failed": a trap says it, after the reason has been logged.
#[doc(hidden)]
pub fn or_fail<T>(hook: &'static str, answer: Result<T, String>) -> T {
    answer.unwrap_or_else(|reason| {
        log::write(log::Level::Error, &reason, &[("hook".to_owned(), hook.to_owned())]);
        panic!("{hook}: {reason}")
    })
}

/// So that `?` works on every call to the host.
impl From<Error> for String {
    fn from(error: Error) -> Self {
        match error {
            Error::Denied => "not granted to this plugin".to_owned(),
            Error::NotFound => "not found".to_owned(),
            Error::Invalid(why) => format!("invalid: {why}"),
            Error::Limit(why) => format!("over a limit: {why}"),
            Error::Unavailable(why) => format!("temporarily unavailable: {why}"),
            Error::Other(why) => why,
        }
    }
}
