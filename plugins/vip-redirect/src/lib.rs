//! Plugin: while the next hop is away, sends the mail of some senders to a backup. Asks [`Vips`], answers.

mod vips;

pub use vips::{Settings, Vips};

use std::sync::LazyLock;
use waypost_sdk::{Action, OnOffline, Setup, config, delivery};

struct VipRedirect;

/// Read once for each instance; an instance serves one domain with one configuration.
static VIPS: LazyLock<Result<Vips, String>> = LazyLock::new(|| Vips::new(config::with_example(Settings::EXAMPLE)?));

impl Setup for VipRedirect {
    fn validate() -> Result<(), String> {
        VIPS.as_ref().map(drop).map_err(String::clone)
    }
}

impl OnOffline for VipRedirect {
    fn on_offline() -> Result<Action, String> {
        Ok(VIPS.as_ref()?.decide(delivery::sender().as_deref()))
    }
}

waypost_sdk::export!(VipRedirect: Setup, OnOffline);
