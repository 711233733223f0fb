//! The calls about who a domain's next hops are: the keys that are asked for, trusted, and seen.

use super::{
    api::{State, problem},
    domains_api::domain_of,
};
use crate::{
    domains::DomainState,
    identity::{KeyHash, Seen, TrustError},
};
use axum::{
    Json, Router,
    extract::{Path, Query, State as Shared},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use mail::NextHop;
use serde::{Deserialize, Serialize};

pub fn routes() -> Router<State> {
    Router::new().route("/api/domains/{name}/identity", get(identity)).route("/api/domains/{name}/trust", post(trust))
}

/// One next hop of the domain.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HopIdentity {
    pub next_hop: String,
    /// The key that a probe saw first, or that a person said is right.
    pub trusted: Option<Seen>,
    /// What was shown last in place of what should be.
    pub seen: Option<Seen>,
    /// As in the domain's file.
    pub pins: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrustQuery {
    /// None: each that has shown another key.
    pub next_hop: Option<String>,
    /// The key that the person has seen: no other is trusted in its place.
    pub key: Option<String>,
}

async fn identity(Shared(state): Shared<State>, Path(name): Path<String>) -> Response {
    let told = domain_of(&state, &name).and_then(|domain| all(&state, &domain).map_err(refusal));
    told.map_or_else(|problem| *problem, |told| Json(told).into_response())
}

async fn trust(Shared(state): Shared<State>, Path(name): Path<String>, Query(query): Query<TrustQuery>) -> Response {
    match trusted(&state, &name, &query) {
        Ok(told) => Json(told).into_response(),
        Err(problem) => *problem,
    }
}

fn trusted(state: &State, name: &str, query: &TrustQuery) -> Result<Vec<HopIdentity>, Box<Response>> {
    let wrong = |status, message: String| Box::new(problem(status, message));
    let domain = domain_of(state, name)?;
    let identity = domain.config.identity.as_ref();
    if !identity.is_some_and(|identity| identity.trust_on_first_probe) {
        let message = format!(
            "{name} does not trust keys that were seen: its file says who the next hop is, under [identity]; a new key goes into `pin` there"
        );
        return Err(wrong(StatusCode::CONFLICT, message));
    }
    let asked = match &query.next_hop {
        Some(text) => Some(text.parse::<NextHop>().map_err(|error| wrong(StatusCode::BAD_REQUEST, error.to_string()))?),
        None => None,
    };
    let identities = &state.deliverer.connector.identities;
    let mut changed = 0;
    let meant = |hop: &&NextHop| asked.as_ref().is_none_or(|asked| NextHop { tls: hop.tls, ..asked.clone() } == **hop);
    for hop in domain.asked_for_identity().into_iter().filter(meant) {
        match identities.trust(&domain.config.name, hop, query.key.as_deref()) {
            Ok(_) => changed += 1,
            Err(TrustError::NothingSeen(_)) => {}
            Err(error) => return Err(refusal(error)),
        }
    }
    if changed == 0 {
        let message = format!("no next hop of {name} has shown another key than the one that is trusted");
        return Err(wrong(StatusCode::CONFLICT, message));
    }
    state.deliverer.try_lanes(&domain.config.name);
    all(state, &domain).map_err(refusal)
}

fn all(state: &State, domain: &DomainState) -> Result<Vec<HopIdentity>, TrustError> {
    let pins = domain.config.identity.iter().flat_map(|identity| &identity.pins);
    let pins: Vec<String> = pins.map(|pin| KeyHash(*pin).to_string()).collect();
    let one = |hop: &NextHop| {
        let known = state.deliverer.connector.identities.known(&domain.config.name, hop)?;
        Ok(HopIdentity { next_hop: hop.to_string(), trusted: known.trusted, seen: known.seen, pins: pins.clone() })
    };
    domain.asked_for_identity().into_iter().map(one).collect()
}

fn refusal(error: TrustError) -> Box<Response> {
    let status = match error {
        TrustError::NothingSeen(_) | TrustError::Changed { .. } => StatusCode::CONFLICT,
        TrustError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Box::new(problem(status, error.to_string()))
}
