//! Says what a Waypost plugin in Rust is made with: the hooks as traits, the host's services as functions.
//!
//! A plugin implements the traits of the hooks that it wants and names them once:
//!
//! ```
//! use waypost_sdk::{OnRecipient, Verdict};
//!
//! struct Closed;
//!
//! impl OnRecipient for Closed {
//!     fn on_recipient(address: &str) -> Result<Verdict, String> {
//!         Ok(if address.starts_with("old-") { Verdict::reject(550, "5.1.1", "Gone") } else { Verdict::Pass })
//!     }
//! }
//!
//! waypost_sdk::export!(Closed: OnRecipient);
//! ```
//!
//! Everything compiles natively too, so that a plugin's decisions can be tested with `cargo test`;
//! the services of the host can be called in the gateway only, and panic elsewhere (but [`log`],
//! which writes to standard error).

#[doc(hidden)]
pub mod bindings;
pub mod config;
mod export;
mod hooks;
pub mod log;
mod nearest;
pub mod text;
mod verdict;

pub use bindings::on_offline::exports::waypost::plugin::on_offline::Action;
pub use bindings::on_route::exports::waypost::plugin::on_route::Routing;
pub use bindings::services::waypost::plugin::types::{AuthResult, Error, Reply, Verdict};
/// The services of the host, as `wit/plugin.wit` documents them.
pub use bindings::services::waypost::plugin::{
    attributes, delivery, dns, failure, kv, message, metrics, session, transaction,
};
pub use config::config;
#[doc(hidden)]
pub use hooks::or_fail;
pub use hooks::{OnConnect, OnEvent, OnMessage, OnOffline, OnOnline, OnRecipient, OnRoute, Setup};
pub use nearest::nearest;
pub use serde;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
