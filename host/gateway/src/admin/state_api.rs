//! The calls that tell what is in force, and look at the files anew.

use super::api::State;
use axum::{
    Json, Router,
    extract::State as Shared,
    response::{IntoResponse, Response},
    routing::{get, post},
};
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
}

async fn status(Shared(state): Shared<State>) -> Response {
    let status = state.reloader.status();
    Json(Told { status, started_with: state.reloader.fixed() }).into_response()
}

/// Answers when all that could be taken is in force.
async fn reload(Shared(state): Shared<State>) -> Response {
    let status = state.reloader.reload().await;
    Json(Told { status, started_with: state.reloader.fixed() }).into_response()
}

async fn plugins(Shared(state): Shared<State>) -> Response {
    Json(state.plugins.status()).into_response()
}
