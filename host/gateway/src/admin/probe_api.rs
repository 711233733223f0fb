//! The calls that probe a domain's next hops, and send a mail with a code to find out whether it arrives.

use super::{
    api::{State, problem},
    domains_api::domain_of,
};
use crate::{
    domains::DomainState,
    probe::{self, Line, MessageError, Options},
};
use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State as Shared},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use journal::{Found, Reader, Step};
use mail::NextHop;
use serde::{Deserialize, Serialize};
use std::{convert::Infallible, sync::Arc};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

/// More lines than a probe has.
const LINES: usize = 1024;

pub fn routes() -> Router<State> {
    Router::new()
        .route("/api/domains/{name}/probe", post(run))
        .route("/api/domains/{name}/probe/message", post(message))
        .route("/api/domains/{name}/probe/confirm", post(confirm))
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProbeQuery {
    pub next_hop: Option<String>,
    /// As in the configuration: `5 s`.
    pub timeout: Option<String>,
}

impl ProbeQuery {
    pub fn options(&self) -> Result<Options, String> {
        let next_hop = self.next_hop.as_deref().map(str::parse::<NextHop>).transpose().map_err(|e| e.to_string())?;
        let timeout = self.timeout.as_deref().map(mail::parse_duration).transpose().map_err(|e| e.to_string())?;
        Ok(Options { next_hop, timeout })
    }
}

/// A line of JSON for each step as it is done, then one that sums up.
async fn run(Shared(state): Shared<State>, Path(name): Path<String>, Query(query): Query<ProbeQuery>) -> Response {
    let domain = match domain_of(&state, &name) {
        Ok(domain) => domain,
        Err(response) => return *response,
    };
    let options = match query.options() {
        Ok(options) => options,
        Err(message) => return problem(StatusCode::BAD_REQUEST, message),
    };
    if domain.config.on_demand && options.next_hop.is_none() {
        return problem(StatusCode::CONFLICT, format!("{name} has no next hop: its mail is collected on demand"));
    }
    let (lines, told) = mpsc::channel::<Line>(LINES);
    let prober = state.prober.clone();
    let started = state.prober.spawn(async move {
        prober.probe(&domain, &options, &|line| drop(lines.try_send(line))).await;
    });
    if !started {
        return problem(StatusCode::TOO_MANY_REQUESTS, "too many probes are under way: try again when some have ended");
    }
    let lines = ReceiverStream::new(told).map(|line| {
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        Ok::<_, Infallible>(text)
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct To {
    to: String,
}

async fn message(Shared(state): Shared<State>, Path(name): Path<String>, Query(To { to }): Query<To>) -> Response {
    let domain = match domain_of(&state, &name) {
        Ok(domain) => domain,
        Err(response) => return *response,
    };
    let deliverer = &state.deliverer;
    let composed =
        probe::compose(&deliverer.hostname, &domain.config.name, domain.proof_key(), &to, deliverer.clock.date());
    let (mail, sent) = match composed.and_then(|(mail, sent)| {
        probe::remember(&state.queue, &domain.config.name, &sent)?;
        Ok((mail, sent))
    }) {
        Ok(made) => made,
        Err(error) => return refused(&error),
    };
    let id = mail.id;
    match state.queue.enqueue(mail).await {
        Ok(claim) => {
            deliverer.stories.note(id, || format!("sent to {} by waypost probe", sent.to));
            deliverer.submit(claim, None);
            Json(sent).into_response()
        }
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    code: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Confirmed {
    pub domain: String,
    pub id: String,
    pub to: String,
    pub sent_at: String,
    /// None where the journal does not know, as with one that is off.
    pub delivered_at: Option<String>,
}

async fn confirm(
    Shared(state): Shared<State>,
    Path(name): Path<String>,
    Query(Code { code }): Query<Code>,
) -> Response {
    let domain: Arc<DomainState> = match domain_of(&state, &name) {
        Ok(domain) => domain,
        Err(response) => return *response,
    };
    match probe::confirm(&state.queue, &domain.config.name, &domain.proof_key(), &code) {
        Ok(probe::Sent { id, to, sent_at, .. }) => {
            state.prober.passed(&domain);
            let delivered_at = delivered_at(&state, &id).await;
            Json(Confirmed { domain: domain.config.name.to_string(), id, to, sent_at, delivered_at }).into_response()
        }
        Err(error) => refused(&error),
    }
}

async fn delivered_at(state: &State, id: &str) -> Option<String> {
    let path = state.deliverer.stories.journal.path()?.to_owned();
    let found = Found { id: Some(id.parse().ok()?), sender: None, recipient: None, limit: 1 };
    let read = move || Reader::open(&path).ok()?.stories(&found).ok();
    let stories = tokio::task::spawn_blocking(read).await.ok().flatten()?;
    let steps = stories.into_iter().flat_map(|story| story.steps);
    let mut delivered = steps.filter(|told| matches!(&told.step, Step::Outcome(told) if told.outcome == "delivered"));
    delivered.next().map(|told| told.at.to_rfc3339())
}

fn refused(error: &MessageError) -> Response {
    let status = match error {
        MessageError::Foreign(..) | MessageError::Address(_) => StatusCode::BAD_REQUEST,
        MessageError::NoneSent(_) | MessageError::Moved(_) | MessageError::Wrong { .. } => StatusCode::CONFLICT,
        MessageError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    problem(status, error.to_string())
}
