//! The calls about alerts: which are outstanding, and a test of a domain's targets.

use super::api::{State, problem};
use crate::alerts::{Outstanding, Tested};
use axum::{
    Json, Router,
    extract::{Query, State as Shared},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};

/// At most so many are told.
const LIMIT: usize = 1000;

#[derive(Debug, Serialize, Deserialize)]
pub struct Outbox {
    pub outstanding: Vec<Outstanding>,
    /// There are more than are listed.
    pub more: bool,
    /// Since the start: alerts that were accepted, tries that were not, alerts that were given up.
    pub sent: u64,
    pub failed: u64,
    pub dropped: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Trial {
    pub targets: Vec<Tested>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    domain: String,
}

pub(super) fn routes() -> Router<State> {
    Router::new().route("/api/alerts", get(outbox)).route("/api/alerts/test", post(test))
}

async fn outbox(Shared(state): Shared<State>) -> Response {
    let alerts = &state.deliverer.alerts;
    let totals = alerts.totals();
    let outstanding = alerts.outstanding(LIMIT);
    let more = totals.outstanding > outstanding.len();
    Json(Outbox { outstanding, more, sent: totals.sent, failed: totals.failed, dropped: totals.dropped })
        .into_response()
}

async fn test(Shared(state): Shared<State>, Query(query): Query<Whose>) -> Response {
    let name: mail::Domain = match query.domain.parse() {
        Ok(name) => name,
        Err(error) => return problem(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let Some(domain) = state.deliverer.domains.get(&name) else {
        return problem(StatusCode::NOT_FOUND, format!("{name} is not configured here"));
    };
    Json(Trial { targets: state.deliverer.alerts.test(&domain.config).await }).into_response()
}
