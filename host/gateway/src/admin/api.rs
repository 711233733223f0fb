//! The calls: what is in the queue, and the switches for it.

use super::{guard, token};
use crate::{
    check_in::{self, CheckIns},
    delivery::Deliverer,
    disk::Disk,
    limits::Limits,
    plugins::Plugins,
    probe::Prober,
    reload::Reloader,
};
use axum::{
    Json, Router,
    extract::{Query, Request, State as Shared},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use mail::{MailId, NextHop, Timestamp};
use queue::{Filter, Listing, Queue};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Clone)]
pub struct State {
    pub queue: Queue,
    pub deliverer: Arc<Deliverer>,
    pub reloader: Arc<Reloader>,
    pub plugins: Arc<dyn Plugins>,
    pub prober: Arc<Prober>,
    pub disk: Arc<Disk>,
    pub limits: Arc<Limits>,
    pub token: Arc<str>,
}

/// Every field narrows; none of them means everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FilterQuery {
    pub id: Option<String>,
    pub domain: Option<String>,
    pub next_hop: Option<String>,
    pub sender: Option<String>,
    pub recipient: Option<String>,
    pub state: Option<String>,
    /// As in the configuration: `5 min`.
    pub older_than: Option<String>,
    pub reason: Option<String>,
    pub limit: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listed {
    pub counts: Counts,
    pub recipients: Vec<Entry>,
    /// There are more than the limit let through.
    pub more: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    pub mails: u64,
    /// Of all states together.
    pub recipients: u64,
    pub queued: u64,
    pub deferred: u64,
    pub held: u64,
    pub quarantined: u64,
    pub claimed: u64,
    /// Of content.
    pub bytes: u64,
}

/// One recipient of one mail.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    pub id: String,
    pub domain: String,
    pub sender: String,
    pub recipient: String,
    pub state: String,
    pub size: u64,
    pub queued_at: String,
    pub expires_at: String,
    /// None: not before someone says so.
    pub due_at: Option<String>,
    pub attempts: u32,
    pub waiting_for: Option<String>,
    pub reason: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Changed {
    pub recipients: usize,
}

pub fn router(state: State, hosts: guard::Hosts, check_ins: Arc<CheckIns>) -> Router {
    Router::new()
        .route("/api/queue", get(list))
        .route("/api/queue/retry", post(retry))
        .route("/api/queue/hold", post(hold))
        .route("/api/queue/release", post(release))
        .route("/api/queue/remove", post(remove))
        .merge(super::domains_api::routes())
        .merge(super::probe_api::routes())
        .merge(super::state_api::routes())
        .merge(super::alert_api::routes())
        .merge(super::identity_api::routes())
        .merge(super::journal_api::routes())
        .merge(super::reroute_api::routes())
        .merge(super::metrics::routes())
        .layer(middleware::from_fn_with_state(state.clone(), authorise))
        .merge(super::page::routes())
        .layer(middleware::from_fn_with_state(hosts, guard::check))
        // With a user and a password of its own.
        .merge(check_in::routes(check_ins))
        .with_state(state)
}

async fn authorise(Shared(state): Shared<State>, request: Request, next: Next) -> Response {
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    match shown {
        Some(shown) if token::matches(shown, &state.token) => next.run(request).await,
        _ => problem(StatusCode::UNAUTHORIZED, "show the token of the admin token file as Authorization: Bearer …"),
    }
}

pub(super) fn problem(status: StatusCode, message: impl Into<String>) -> Response {
    (status, Json(serde_json::json!({ "error": message.into() }))).into_response()
}

const LIST_LIMIT: usize = 1000;

async fn list(Shared(state): Shared<State>, Query(query): Query<FilterQuery>) -> Response {
    let limit = query.limit.unwrap_or(LIST_LIMIT);
    let filter = match filter(&query, &state.deliverer) {
        Ok(filter) => filter,
        Err(message) => return problem(StatusCode::BAD_REQUEST, message),
    };
    let found = state.queue.list(&filter, limit.saturating_add(1)).await;
    let mut recipients: Vec<Entry> = found.iter().flat_map(entries).collect();
    let more = recipients.len() > limit;
    recipients.truncate(limit);
    Json(Listed { counts: counts(&state.queue), recipients, more }).into_response()
}

async fn retry(Shared(state): Shared<State>, Query(query): Query<FilterQuery>) -> Response {
    change(&state, &query, None, async |filter| state.queue.retry(&filter).await).await
}

async fn hold(Shared(state): Shared<State>, Query(query): Query<FilterQuery>) -> Response {
    let reason = query.reason.clone().unwrap_or_else(|| "held by an operator".to_owned());
    let act = Act { event: Some("held"), waiting: queue::State::ALL.to_vec(), reason: reason.clone() };
    change(&state, &query, Some(act), async |filter| state.queue.hold(&filter, &reason).await).await
}

async fn release(Shared(state): Shared<State>, Query(query): Query<FilterQuery>) -> Response {
    let waiting = vec![queue::State::Held, queue::State::Quarantined];
    let act = Act { event: Some("released"), waiting, reason: "released by an operator".to_owned() };
    change(&state, &query, Some(act), async |filter| state.queue.release(&filter).await).await
}

async fn remove(Shared(state): Shared<State>, Query(query): Query<FilterQuery>) -> Response {
    if query.id.is_none()
        && query.domain.is_none()
        && query.next_hop.is_none()
        && query.sender.is_none()
        && query.recipient.is_none()
        && query.state.is_none()
    {
        return problem(
            StatusCode::BAD_REQUEST,
            "removing needs a filter: id, domain, next-hop, sender, recipient or state",
        );
    }
    let act = Act { event: None, waiting: queue::State::ALL.to_vec(), reason: "removed by an operator".to_owned() };
    change(&state, &query, Some(act), async |filter| state.queue.remove(&filter).await).await
}

/// What a person does to mail, for its story and for those who listen.
struct Act {
    event: Option<&'static str>,
    /// Recipients in these states.
    waiting: Vec<queue::State>,
    reason: String,
}

/// Mails whose stories get a line of one act; the others only have it in the log.
const TOLD: usize = 10_000;

async fn change(
    state: &State,
    query: &FilterQuery,
    act: Option<Act>,
    change: impl AsyncFnOnce(Filter) -> usize,
) -> Response {
    let filter = match filter(query, &state.deliverer) {
        Ok(filter) => filter,
        Err(message) => return problem(StatusCode::BAD_REQUEST, message),
    };
    let found = if act.is_some() { state.queue.list(&filter, TOLD).await } else { Vec::new() };
    let recipients = change(filter).await;
    for (act, listing) in act.iter().flat_map(|act| found.iter().map(move |listing| (act, listing))) {
        let meant = listing.recipients.iter().filter(|r| act.waiting.contains(&r.state));
        for address in meant.map(|listed| &listed.recipient.address) {
            state.deliverer.stories.note(listing.mail.id, || format!("{address}: {}", act.reason));
            if let Some(kind) = act.event {
                state.deliverer.stories.tell(kind, &listing.mail, address, Some(&act.reason));
            }
        }
    }
    Json(Changed { recipients }).into_response()
}

fn filter(query: &FilterQuery, deliverer: &Deliverer) -> Result<Filter, String> {
    fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: Option<&String>) -> Result<Option<T>, String> {
        text.map(|text| text.parse().map_err(|error: T::Err| error.to_string())).transpose()
    }
    let texts = [&query.id, &query.domain, &query.next_hop, &query.sender, &query.recipient, &query.state];
    if texts.into_iter().flatten().any(String::is_empty) {
        return Err("a filter is empty; leave it out, or say <> for the null reverse-path".to_owned());
    }
    let state = match &query.state {
        None => None,
        Some(name) => Some(queue::State::from_name(name).ok_or_else(|| {
            let names: Vec<_> = queue::State::ALL.iter().map(|state| state.as_str()).collect();
            format!("{name:?} is not a state; expected one of {}", names.join(", "))
        })?),
    };
    let older_than =
        query.older_than.as_deref().map(mail::parse_duration).transpose().map_err(|error| error.to_string())?;
    let now = deliverer.clock.now();
    Ok(Filter {
        id: parse::<MailId>(query.id.as_ref())?,
        domain: parse(query.domain.as_ref())?,
        next_hop: parse::<NextHop>(query.next_hop.as_ref())?,
        waiting_for: None,
        sender: query.sender.clone(),
        recipient: query.recipient.clone(),
        state,
        older_than: older_than
            .map(|age| Timestamp::from_millis(now.as_millis().saturating_sub(age.as_millis() as u64))),
    })
}

fn counts(queue: &Queue) -> Counts {
    let queue::Counts { queued, deferred, held, quarantined, claimed, mails, bytes } = queue.counts();
    Counts {
        mails,
        recipients: queued + deferred + held + quarantined + claimed,
        queued,
        deferred,
        held,
        quarantined,
        claimed,
        bytes,
    }
}

fn entries(listing: &Listing) -> impl Iterator<Item = Entry> {
    let mail = &listing.mail;
    listing.recipients.iter().map(move |recipient| Entry {
        id: mail.id.to_string(),
        domain: mail.domain.to_string(),
        sender: mail.envelope.sender.to_string(),
        recipient: recipient.recipient.address.to_string(),
        state: recipient.state.as_str().to_owned(),
        size: mail.size,
        queued_at: mail.received_at.to_rfc3339(),
        expires_at: recipient.expires_at.to_rfc3339(),
        due_at: recipient.due.map(Timestamp::to_rfc3339),
        attempts: recipient.attempts,
        waiting_for: recipient.waiting_for.as_ref().map(ToString::to_string),
        reason: recipient.reason.clone().or_else(|| recipient.last_failure.as_ref().map(ToString::to_string)),
    })
}
