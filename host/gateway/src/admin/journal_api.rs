//! The calls that read the journal: a mail's story, and what shadows would have changed.

use super::api::{State, problem};
use axum::{
    Json, Router,
    extract::{Query, State as Shared},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use journal::{Found, ReadError, Reader};
use serde::{Deserialize, Serialize};

pub fn routes() -> Router<State> {
    Router::new().route("/api/trace", get(trace)).route("/api/plugins/diff", get(diff))
}

/// One of the first three is needed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TraceQuery {
    pub id: Option<String>,
    pub sender: Option<String>,
    pub recipient: Option<String>,
    pub limit: Option<usize>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DiffQuery {
    pub plugin: Option<String>,
    pub domain: Option<String>,
}

impl TraceQuery {
    pub fn found(&self) -> Result<Found, String> {
        let id =
            self.id.as_ref().map(|id| id.parse()).transpose().map_err(|error: mail::ParseIdError| error.to_string())?;
        if id.is_none() && self.sender.is_none() && self.recipient.is_none() {
            return Err("say which mail: an id, a sender or a recipient".to_owned());
        }
        let (sender, recipient) = (self.sender.clone(), self.recipient.clone());
        Ok(Found { id, sender, recipient, limit: self.limit.unwrap_or(20) })
    }
}

async fn trace(Shared(state): Shared<State>, Query(query): Query<TraceQuery>) -> Response {
    match query.found() {
        Ok(found) => read(&state, move |reader| reader.stories(&found)).await,
        Err(message) => problem(StatusCode::BAD_REQUEST, message),
    }
}

async fn diff(Shared(state): Shared<State>, Query(query): Query<DiffQuery>) -> Response {
    read(&state, move |reader| reader.differences(query.plugin.as_deref(), query.domain.as_deref())).await
}

async fn read<T: Serialize + Send + 'static>(
    state: &State,
    what: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
) -> Response {
    let Some(path) = state.deliverer.stories.journal.path().map(std::path::Path::to_owned) else {
        return problem(StatusCode::NOT_FOUND, "the journal is off: see [journal] in waypost.toml");
    };
    let answer = tokio::task::spawn_blocking(move || what(&Reader::open(&path)?)).await;
    match answer {
        Ok(Ok(found)) => Json(found).into_response(),
        Ok(Err(error)) => problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "reading was interrupted"),
    }
}
