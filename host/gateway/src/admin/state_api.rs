//! The calls that tell what is in force, and look at the files anew.

use super::api::State;
use crate::{disk::Low, plugins::PluginStatus};
use axum::{
    Json, Router,
    extract::State as Shared,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use journal::{Difference, Reader};
use queue::Health;
use serde::Serialize;

pub fn routes() -> Router<State> {
    Router::new()
        .route("/api/status", get(status))
        .route("/api/reload", post(reload))
        .route("/api/plugins", get(plugins))
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Told<'a> {
    #[serde(flatten)]
    status: crate::reload::Status,
    /// Keys that only a start takes, as text.
    started_with: &'a crate::config::Fixed,
    /// Steps of mails that nobody will find.
    journal_dropped: u64,
    /// Events that no plugin was told.
    events_dropped: u64,
    store: StoreShown,
    disk: DiskShown,
    memory: MemoryShown,
}

/// Whether mail can be kept.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct StoreShown {
    health: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

impl From<Health> for StoreShown {
    fn from(health: Health) -> Self {
        match health {
            Health::Healthy => Self { health: "healthy", reason: None, since: None },
            Health::Full => Self { health: "full", reason: Some("no space left".to_owned()), since: None },
            Health::Unhealthy { reason, since } => {
                Self { health: "unhealthy", reason: Some(reason), since: Some(since.to_rfc3339()) }
            }
        }
    }
}

/// Of the data directory.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct DiskShown {
    free_bytes: Option<u64>,
    free_inodes: Option<u64>,
    /// What there is too little of for new mail.
    low: Option<&'static str>,
}

/// Of mail, in bytes.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct MemoryShown {
    fresh: u64,
    read_back: u64,
    /// Of each.
    limit: u64,
    pressure: &'static str,
}

impl<'a> Told<'a> {
    fn new(status: crate::reload::Status, state: &'a State) -> Self {
        let (seen, budget) = (state.disk.seen(), &state.deliverer.budget);
        Self {
            store: state.queue.health().into(),
            disk: DiskShown {
                free_bytes: seen.free.map(|free| free.space),
                free_inodes: seen.free.and_then(|free| free.inodes),
                low: seen.low.map(Low::as_str),
            },
            memory: MemoryShown {
                fresh: budget.used(),
                read_back: budget.read_back.used(),
                limit: budget.limit(),
                pressure: budget.pressure().as_str(),
            },
            status,
            started_with: state.reloader.fixed(),
            journal_dropped: state.deliverer.stories.journal.dropped(),
            events_dropped: state.deliverer.domains.all().values().map(|domain| domain.listeners.dropped()).sum(),
        }
    }
}

async fn status(Shared(state): Shared<State>) -> Response {
    let status = state.reloader.status();
    Json(Told::new(status, &state)).into_response()
}

/// Answers when all that could be taken is in force.
async fn reload(Shared(state): Shared<State>) -> Response {
    let status = state.reloader.reload().await;
    Json(Told::new(status, &state)).into_response()
}

/// One entry of one chain.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Bound {
    #[serde(flatten)]
    status: PluginStatus,
    /// What it would have changed, where it runs as a shadow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shadow: Vec<Difference>,
}

async fn plugins(Shared(state): Shared<State>) -> Response {
    let path = state.deliverer.stories.journal.path().map(std::path::Path::to_owned);
    let read = move || path.and_then(|path| Reader::open(&path).ok()?.differences(None, None).ok()).unwrap_or_default();
    let differences = tokio::task::spawn_blocking(read).await.unwrap_or_default();
    let bound = |status: PluginStatus| {
        let of_this = |d: &&Difference| d.plugin == status.plugin && d.domain == status.domain && !d.is_none();
        let shadow = differences.iter().filter(of_this).cloned().collect();
        Bound { status, shadow }
    };
    Json(state.plugins.status().into_iter().map(bound).collect::<Vec<_>>()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::Timestamp;

    #[test]
    fn a_store_that_failed_is_shown_with_its_reason_and_since_when() {
        let health = Health::Unhealthy { reason: "sync: EIO".to_owned(), since: Timestamp::from_secs(0) };
        let shown = serde_json::to_value(StoreShown::from(health)).unwrap();
        let expected = serde_json::json!({
            "health": "unhealthy", "reason": "sync: EIO", "since": "1970-01-01T00:00:00Z"
        });
        assert_eq!(shown, expected);
        assert_eq!(
            serde_json::to_value(StoreShown::from(Health::Healthy)).unwrap(),
            serde_json::json!({ "health": "healthy" })
        );
    }
}
