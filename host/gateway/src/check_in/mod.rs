//! Hosts on addresses that change say themselves where they are: `/nic/update`, the update protocol of routers and ddclient.
//!
//! ```text
//! http, listener: request → update: gate → authenticate → hosts ─► leases: where mail goes, and until when
//! ```
//!
//! A domain with `[check-in]` has mail only at an address that its owner has said, and only while that was said lately.

mod address;
mod authenticate;
mod gate;
mod http;
mod leases;
mod listener;
pub mod password;
mod request;
mod update;

pub use authenticate::{Authenticator, Refusal};
pub use http::routes;
pub use leases::{Lease, Leases, Place};
pub use listener::{CheckInSocket, watch_leases};
#[doc(hidden)]
pub use request::{Answer, At, Host, Update};
pub use update::{CheckInParts, CheckIns};
