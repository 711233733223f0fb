//! Asks web servers by wasi:http, and tells what came of it in one line.

use crate::bindings::wasi::{
    http::{
        outgoing_handler,
        types::{ErrorCode, Fields, FutureIncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme},
    },
    io::streams::StreamError,
};

/// `200 body`, or the error in the words of wasi:http.
pub(crate) fn get(url: &str) -> String {
    told(send(url, &[]).and_then(received))
}

pub(crate) fn post(url: &str, size: usize) -> String {
    told(send(url, &vec![b'x'; size]).and_then(received))
}

/// At the same time; the answers are counted.
pub(crate) fn many(url: &str, count: usize) -> String {
    let under_way: Vec<_> = (0..count).map(|_| send(url, &[])).collect();
    let answers = under_way.into_iter().map(|sent| told(sent.and_then(received)));
    let fine = answers.filter(|answer| answer.starts_with("200 ")).count();
    format!("{fine} of {count}")
}

fn told(answer: Result<String, ErrorCode>) -> String {
    answer.unwrap_or_else(|error| format!("{error:?}"))
}

fn send(url: &str, body: &[u8]) -> Result<FutureIncomingResponse, ErrorCode> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let request = OutgoingRequest::new(Fields::new());
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let set = request.set_scheme(Some(&scheme)).is_ok()
        && request.set_authority(Some(authority)).is_ok()
        && request.set_path_with_query(Some(path)).is_ok()
        && (body.is_empty() || request.set_method(&Method::Post).is_ok());
    if !set {
        return Err(ErrorCode::HttpRequestUriInvalid);
    }
    let outgoing = request.body().map_err(|()| ErrorCode::HttpProtocolError)?;
    let answer = outgoing_handler::handle(request, None)?;
    if let Ok(stream) = outgoing.write() {
        for chunk in body.chunks(4096) {
            if stream.blocking_write_and_flush(chunk).is_err() {
                break;
            }
        }
    }
    OutgoingBody::finish(outgoing, None)?;
    Ok(answer)
}

fn received(answer: FutureIncomingResponse) -> Result<String, ErrorCode> {
    answer.subscribe().block();
    let response = answer.get().and_then(Result::ok).ok_or(ErrorCode::HttpProtocolError)??;
    let status = response.status();
    let body = response.consume().map_err(|()| ErrorCode::HttpProtocolError)?;
    let stream = body.stream().map_err(|()| ErrorCode::HttpProtocolError)?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(more) => bytes.extend(more),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(_)) => return Err(ErrorCode::HttpResponseIncomplete),
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(format!("{status} {}", if text.len() > 100 { format!("{} bytes", text.len()) } else { text.into_owned() }))
}
