//! Plugin: sends some recipients of a domain to other next hops. Reads the routes, asks [`Routes`], answers.

mod routes;

pub use routes::{Routes, Settings};

use std::sync::LazyLock;
use waypost_sdk::{OnRoute, Routing, Setup, config, delivery};

struct SplitRoute;

/// Read once for each instance; an instance serves one domain with one configuration.
static ROUTES: LazyLock<Result<Routes, String>> =
    LazyLock::new(|| Routes::new(config::with_example(Settings::EXAMPLE)?));

impl Setup for SplitRoute {
    fn validate() -> Result<(), String> {
        ROUTES.as_ref().map(drop).map_err(String::clone)
    }
}

impl OnRoute for SplitRoute {
    fn on_route() -> Result<Routing, String> {
        Ok(ROUTES.as_ref()?.decide(&delivery::recipient()))
    }
}

waypost_sdk::export!(SplitRoute: Setup, OnRoute);
