//! The calls about domains: what each is set to, how its next hop fares, what waits for it, and its switches.

use super::api::{State, problem};
use crate::{
    config::{Accept, ON_DEMAND, OfflineSetting},
    domains::DomainState,
    probe::Report,
};
use axum::{
    Json, Router,
    extract::{Path, Query, State as Shared},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use mail::Domain;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub fn routes() -> Router<State> {
    Router::new()
        .route("/api/domains", get(list))
        .route("/api/domains/{name}", get(show))
        .route("/api/domains/{name}/hold", post(hold))
        .route("/api/domains/{name}/release", post(release))
        .route("/api/domains/{name}/offline", post(offline))
        .route("/api/domains/{name}/online", post(online))
}

/// One line of the list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DomainEntry {
    pub name: String,
    pub next_hops: Vec<String>,
    /// Mail is accepted for it.
    pub proven: bool,
    /// Why all its mail is kept, where a person said so.
    pub held_for: Option<String>,
    /// A person said that its next hop is away.
    pub said_offline: bool,
    /// Next hops that cannot be reached, or hold mail up otherwise.
    pub away: Vec<AwayEntry>,
    /// Recipients that wait for delivery, held ones included.
    pub waiting: u64,
    pub held: u64,
    pub quarantined: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AwayEntry {
    pub next_hop: String,
    pub since: String,
    pub reason: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DomainShown {
    #[serde(flatten)]
    pub entry: DomainEntry,
    pub file: String,
    /// To next hops that don't say otherwise.
    pub tls: String,
    pub accept: String,
    pub retention_s: u64,
    pub plugins: Vec<String>,
    pub offline_action: String,
    pub redirect: Vec<String>,
    pub identity: Option<IdentityShown>,
    /// Who may check in.
    pub check_in: Option<String>,
    pub last_probe: Option<Report>,
}

/// What must hold of the next hop.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IdentityShown {
    pub pins: usize,
    pub trust_on_first_probe: bool,
    pub name: Option<String>,
    pub dane: bool,
}

/// What a switch has come to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Switched {
    pub domain: String,
    /// Recipients that go out now.
    pub woken: usize,
}

/// The domain as it is configured, or the answer that says that it isn't.
pub fn domain_of(state: &State, name: &str) -> Result<Arc<DomainState>, Box<Response>> {
    let parsed: Domain = name
        .parse()
        .map_err(|error: mail::AddressError| Box::new(problem(StatusCode::BAD_REQUEST, error.to_string())))?;
    let found = state.deliverer.domains.get(&parsed);
    found.ok_or_else(|| {
        let text = format!("{parsed} is not configured here: waypost domain add {parsed} --next-hop HOST:PORT, or waypost check if there is a file for it");
        Box::new(problem(StatusCode::NOT_FOUND, text))
    })
}

async fn list(Shared(state): Shared<State>) -> Response {
    let counts = state.queue.counts_by_domain();
    let domains = state.deliverer.domains.all();
    let listed: Vec<DomainEntry> =
        domains.iter().map(|(name, domain)| entry(&state, domain, counts.get(name).copied())).collect();
    Json(listed).into_response()
}

async fn show(Shared(state): Shared<State>, Path(name): Path<String>) -> Response {
    let domain = match domain_of(&state, &name) {
        Ok(domain) => domain,
        Err(response) => return *response,
    };
    let config = &domain.config;
    let counts = state.queue.counts_by_domain().get(&config.name).copied();
    let identity = config.identity.as_ref().map(|identity| IdentityShown {
        pins: identity.pins.len(),
        trust_on_first_probe: identity.trust_on_first_probe,
        name: identity.name.as_ref().map(ToString::to_string),
        dane: identity.dane,
    });
    let shown = DomainShown {
        entry: entry(&state, &domain, counts),
        file: config.file.display().to_string(),
        tls: config.tls.as_str().to_owned(),
        accept: match config.accept {
            Accept::AfterProbe => "after-probe",
            Accept::Always => "always",
        }
        .to_owned(),
        retention_s: config.retention.as_secs(),
        plugins: config.plugins.iter().map(|binding| binding.plugin.to_string()).collect(),
        offline_action: match config.offline.action {
            OfflineSetting::Hold => "hold",
            OfflineSetting::Redirect => "redirect",
            OfflineSetting::Bounce => "bounce",
        }
        .to_owned(),
        redirect: config.offline.redirect.iter().map(ToString::to_string).collect(),
        identity,
        check_in: config.check_in.as_ref().map(|check_in| check_in.user.clone()),
        last_probe: state.prober.last(&config.name).map(|report| (*report).clone()),
    };
    Json(shown).into_response()
}

fn entry(state: &State, domain: &DomainState, counts: Option<queue::Counts>) -> DomainEntry {
    let (name, counts) = (&domain.config.name, counts.unwrap_or_default());
    let switch = state.deliverer.switches.get(name);
    let away = state.deliverer.away_of(domain).into_iter().map(|(hop, away)| AwayEntry {
        next_hop: hop.to_string(),
        since: away.since.to_rfc3339(),
        reason: away.failure.to_string(),
    });
    let next_hops = match domain.config.on_demand {
        true => vec![ON_DEMAND.to_owned()],
        false => domain.config.next_hops.iter().map(ToString::to_string).collect(),
    };
    DomainEntry {
        name: name.to_string(),
        next_hops,
        proven: domain.is_proven(),
        held_for: switch.held,
        said_offline: switch.offline,
        away: away.collect(),
        waiting: counts.queued + counts.deferred + counts.held + counts.claimed,
        held: counts.held,
        quarantined: counts.quarantined,
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    reason: Option<String>,
}

async fn hold(Shared(state): Shared<State>, Path(name): Path<String>, Query(query): Query<Reason>) -> Response {
    let reason = query.reason.unwrap_or_else(|| "held by an operator".to_owned());
    switch(&state, &name, async |domain| state.deliverer.hold_domain(domain, &reason).map(|()| 0)).await
}

async fn release(Shared(state): Shared<State>, Path(name): Path<String>) -> Response {
    switch(&state, &name, async |domain| state.deliverer.release_domain(domain).await).await
}

async fn offline(Shared(state): Shared<State>, Path(name): Path<String>) -> Response {
    switch(&state, &name, async |domain| state.deliverer.take_offline(domain).map(|()| 0)).await
}

async fn online(Shared(state): Shared<State>, Path(name): Path<String>) -> Response {
    switch(&state, &name, async |domain| state.deliverer.take_online(domain).await).await
}

async fn switch(
    state: &State,
    name: &str,
    change: impl AsyncFnOnce(&Domain) -> Result<usize, mail::KvError>,
) -> Response {
    let domain = match domain_of(state, name) {
        Ok(domain) => domain.config.name.clone(),
        Err(response) => return *response,
    };
    match change(&domain).await {
        Ok(woken) => Json(Switched { domain: domain.to_string(), woken }).into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, format!("it could not be noted: {error}")),
    }
}
