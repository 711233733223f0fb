//! `/nic/update` over HTTP: what of a request counts, and how an answer looks.

use super::{request::Answer, update::CheckIns};
use axum::{
    Router,
    extract::{ConnectInfo, RawQuery},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use std::{net::SocketAddr, sync::Arc};

/// In bytes: twenty of the longest names fit.
const MAX_QUERY: usize = 8192;
const MAX_AUTHORIZATION: usize = 2048;

/// Needs no token of the admin interface: whoever asks shows a user and a password.
pub fn routes<S: Clone + Send + Sync + 'static>(check_ins: Arc<CheckIns>) -> Router<S> {
    let update =
        move |method: Method, ConnectInfo(peer): ConnectInfo<SocketAddr>, headers: HeaderMap, query: RawQuery| {
            let check_ins = check_ins.clone();
            async move { answer(&check_ins, &method, peer, &headers, query.0.as_deref().unwrap_or_default()).await }
        };
    Router::new().route("/nic/update", any(update))
}

async fn answer(check_ins: &CheckIns, method: &Method, peer: SocketAddr, headers: &HeaderMap, query: &str) -> Response {
    // A page in somebody's browser must not move their mail with the password that the browser has kept.
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let from_a_page = text("sec-fetch-site").is_some_and(|site| site != "none") || headers.contains_key(header::ORIGIN);
    let authorization = text(header::AUTHORIZATION.as_str());
    if method != Method::GET || from_a_page || query.len() > MAX_QUERY {
        return respond(&[Answer::BadAgent]);
    }
    let authorization = authorization.filter(|field| field.len() <= MAX_AUTHORIZATION);
    respond(&check_ins.update(peer.ip(), authorization, query).await)
}

/// Clients read the words only of a 200, but know 401.
fn respond(answers: &[Answer]) -> Response {
    let lines: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    let mut response = (headers, lines).into_response();
    if answers == [Answer::BadAuth] {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        let challenge = axum::http::HeaderValue::from_static("Basic realm=\"check-in\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
