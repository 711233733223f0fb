//! The calls that send queued mail elsewhere than its domain's file says, and take that back.

use super::api::{State, problem};
use crate::{
    delivery::{Reroute, RerouteError},
    domains::Domains,
};
use axum::{
    Json, Router,
    extract::{Query, State as Shared},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use mail::{Domain, NextHop, Timestamp};
use queue::{Filter, Listed, Listing};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tracing::info;

pub fn routes() -> Router<State> {
    Router::new().route("/api/queue/reroute", get(rules).post(reroute)).route("/api/queue/reroute/undo", post(undo))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Asked {
    domain: Option<String>,
    /// That the mail would go to.
    next_hop: Option<String>,
    sender: Option<String>,
    recipient: Option<String>,
    /// None: the route of the domain's file.
    to: Option<String>,
    dry_run: bool,
}

/// Recipients of one domain that go from one next hop to another.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Move {
    pub domain: String,
    /// None for mail that was never tried.
    pub from: Option<String>,
    pub to: String,
    pub recipients: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Moved {
    /// The rule that was made; undo takes it back.
    pub rule: Option<String>,
    pub moves: Vec<Move>,
    pub recipients: usize,
    /// More waits than was looked at; it moves too.
    pub more: bool,
}

/// Mails that are looked at for a preview.
const LOOKED_AT: usize = 20_000;

async fn rules(Shared(state): Shared<State>) -> Response {
    Json(state.deliverer.reroutes.all().as_ref()).into_response()
}

async fn reroute(Shared(state): Shared<State>, Query(asked): Query<Asked>) -> Response {
    let rule = match rule(&asked, state.deliverer.clock.now(), &state.deliverer.reroutes.all()) {
        Ok(rule) => rule,
        Err(message) => return problem(StatusCode::BAD_REQUEST, message),
    };
    let deliverer = &state.deliverer;
    let filter = filter(&rule.who);
    let found = state.queue.list(&filter, LOOKED_AT).await;
    let moves = moves(&found, &rule, &deliverer.domains);
    let recipients = moves.iter().map(|part| part.recipients).sum();
    let mut moved = Moved { rule: None, moves, recipients, more: found.len() == LOOKED_AT };
    if asked.dry_run {
        return Json(moved).into_response();
    }
    if rule.elsewhere {
        if let Err(error) = deliverer.reroutes.add(rule.who.clone()) {
            return refused(&error);
        }
        info!(rule = %rule.who.id, to = %rule.who.to, recipients, "queued mail is sent elsewhere by a person");
        moved.rule = Some(rule.who.id.clone());
    }
    state.queue.retry(&filter).await;
    Json(moved).into_response()
}

#[derive(Deserialize)]
struct Undo {
    id: String,
}

async fn undo(Shared(state): Shared<State>, Query(asked): Query<Undo>) -> Response {
    match state.deliverer.reroutes.undo(&asked.id) {
        Ok(rule) => {
            let recipients = state.queue.retry(&filter(&rule)).await;
            info!(rule = %rule.id, recipients, "queued mail takes the route of its domain's file again");
            Json(super::Changed { recipients }).into_response()
        }
        Err(error) => refused(&error),
    }
}

fn refused(error: &RerouteError) -> Response {
    let status = match error {
        RerouteError::Unknown(_) => StatusCode::NOT_FOUND,
        RerouteError::TooMany => StatusCode::CONFLICT,
        RerouteError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    problem(status, error.to_string())
}

/// What is asked, as a rule even where none will be kept.
struct Wanted {
    who: Reroute,
    /// To another next hop than the file's.
    elsewhere: bool,
}

fn rule(asked: &Asked, now: Timestamp, rules: &[Reroute]) -> Result<Wanted, String> {
    fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: Option<&String>) -> Result<Option<T>, String> {
        text.map(|text| text.parse().map_err(|error: T::Err| error.to_string())).transpose()
    }
    if [&asked.domain, &asked.next_hop, &asked.sender, &asked.recipient].into_iter().flatten().any(String::is_empty) {
        return Err("a filter is empty; leave it out, or say <> for the null reverse-path".to_owned());
    }
    let to: Option<NextHop> = parse(asked.to.as_ref())?;
    let domain: Option<Domain> = parse(asked.domain.as_ref())?;
    let from: Option<NextHop> = parse(asked.next_hop.as_ref())?;
    if to.is_some() && domain.is_none() && from.is_none() && asked.recipient.is_none() {
        return Err("sending mail elsewhere needs a filter: domain, next-hop or recipient".to_owned());
    }
    let number = |rule: &Reroute| rule.id.strip_prefix('r').and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
    let id = format!("r{}", rules.iter().map(number).max().unwrap_or_default() + 1);
    let elsewhere = to.is_some();
    // Never used where the file decides.
    let to = to.or_else(|| from.clone()).unwrap_or_else(nowhere);
    let (sender, recipient) = (asked.sender.clone(), asked.recipient.clone());
    Ok(Wanted { who: Reroute { id, made_at: now.as_millis(), domain, from, sender, recipient, to }, elsewhere })
}

fn nowhere() -> NextHop {
    NextHop { protocol: mail::Protocol::Smtp, host: "invalid".to_owned(), port: 25, tls: None }
}

fn filter(rule: &Reroute) -> Filter {
    let (sender, recipient) = (rule.sender.clone(), rule.recipient.clone());
    Filter { domain: rule.domain.clone(), sender, recipient, ..Filter::default() }
}

/// By domain, from where, and to where. Plugins that choose routes are not asked.
fn moves(found: &[Listing], wanted: &Wanted, domains: &Domains) -> Vec<Move> {
    let mut parts: BTreeMap<(String, Option<String>, String), usize> = BTreeMap::new();
    for listing in found {
        let mail = &listing.mail;
        let Some(domain) = domains.get(&mail.domain) else { continue };
        let route = &domain.config.next_hops;
        for recipient in &listing.recipients {
            let before = last(recipient);
            let to = if wanted.elsewhere {
                let address = &recipient.recipient.address;
                let fits = |hops: &[NextHop]| {
                    wanted.who.fits(&mail.domain, &mail.envelope.sender, address, mail.received_at, hops)
                };
                fits(route).then_some(&wanted.who.to)
            } else {
                let from_there = wanted.who.from.as_ref().is_none_or(|from| before == Some(from));
                route.first().filter(|_| from_there && before.is_some_and(|hop| !route.contains(hop)))
            };
            if let Some(to) = to {
                let from = before.or(route.first().filter(|_| wanted.elsewhere));
                let key = (mail.domain.to_string(), from.map(ToString::to_string), to.to_string());
                *parts.entry(key).or_default() += 1;
            }
        }
    }
    let part = |((domain, from, to), recipients)| Move { domain, from, to, recipients };
    parts.into_iter().map(part).collect()
}

/// Where it waits for, or was tried last.
fn last(recipient: &Listed) -> Option<&NextHop> {
    let tried = recipient.last_failure.as_ref().and_then(|failure| failure.next_hop.as_ref());
    recipient.waiting_for.as_ref().or(tried)
}
