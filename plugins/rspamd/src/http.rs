//! One request over wasi:http. Decides nothing.

use crate::settings::Server;
use std::time::Duration;
use wasip2::{
    http::{
        outgoing_handler,
        types::{Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme},
    },
    io::streams::{OutputStream, StreamError},
};

/// More is no answer of rspamd's, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;
const PIECE: u64 = 64 << 10;

/// Status and body. `body` is asked for piece by piece until it gives an empty one.
pub(crate) fn post(
    server: Server<'_>,
    path: &str,
    headers: &[(&str, String)],
    timeout: Duration,
    body: impl FnMut() -> Result<Vec<u8>, String>,
) -> Result<(u16, Vec<u8>), String> {
    let named = |what: &str| format!("{what} to {}", server.authority);
    let fields: Vec<(String, Vec<u8>)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes())).collect();
    let fields = Fields::from_list(&fields).map_err(|error| format!("a header field of the request: {error}"))?;
    let request = OutgoingRequest::new(fields);
    let set = request
        .set_method(&Method::Post)
        .and_then(|()| request.set_scheme(Some(if server.tls { &Scheme::Https } else { &Scheme::Http })))
        .and_then(|()| request.set_authority(Some(server.authority)))
        .and_then(|()| request.set_path_with_query(Some(path)));
    set.map_err(|()| named("no such request can be made"))?;
    let options = RequestOptions::new();
    let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    let set = options.set_connect_timeout(Some(nanos)).and_then(|()| options.set_first_byte_timeout(Some(nanos)));
    set.map_err(|()| "no deadline can be set".to_owned())?;

    let outgoing = request.body().map_err(|()| named("no body can be sent"))?;
    let response = outgoing_handler::handle(request, Some(options))
        .map_err(|code| format!("{}: {code:?}", named("the request")))?;
    let sent = send(&outgoing, body);
    let ready = response.subscribe();
    match sent {
        Ok(()) => OutgoingBody::finish(outgoing, None).map_err(|code| format!("{}: {code:?}", named("the request")))?,
        // A server that answers early closes its side; what it says counts.
        Err(Sent::Closed) => drop(outgoing),
        Err(Sent::Failed(why)) => return Err(why),
    }
    ready.block();
    match response.get() {
        Some(Ok(Ok(response))) => read(&response),
        Some(Ok(Err(code))) => Err(format!("{}: {code:?}", named("the request"))),
        Some(Err(())) | None => Err(named("no answer came")),
    }
}

enum Sent {
    Closed,
    Failed(String),
}

fn send(outgoing: &OutgoingBody, mut body: impl FnMut() -> Result<Vec<u8>, String>) -> Result<(), Sent> {
    let stream = outgoing.write().map_err(|()| Sent::Failed("the request's body cannot be written".to_owned()))?;
    loop {
        let piece = body().map_err(Sent::Failed)?;
        if piece.is_empty() {
            stream.blocking_flush().map_err(|_| Sent::Closed)?;
            return Ok(());
        }
        write(&stream, &piece).map_err(|_| Sent::Closed)?;
    }
}

fn write(stream: &OutputStream, mut bytes: &[u8]) -> Result<(), StreamError> {
    let ready = stream.subscribe();
    while !bytes.is_empty() {
        ready.block();
        let room = usize::try_from(stream.check_write()?).unwrap_or(usize::MAX);
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        stream.write(now)?;
        bytes = later;
    }
    Ok(())
}

fn read(response: &IncomingResponse) -> Result<(u16, Vec<u8>), String> {
    let broken = || "the answer broke off".to_owned();
    let incoming = response.consume().map_err(|()| broken())?;
    let stream = incoming.stream().map_err(|()| broken())?;
    let mut body = Vec::new();
    loop {
        match stream.blocking_read(PIECE) {
            Ok(piece) => body.extend(piece),
            Err(StreamError::Closed) => return Ok((response.status(), body)),
            Err(StreamError::LastOperationFailed(_)) => return Err(broken()),
        }
        if body.len() > LONGEST_ANSWER {
            return Err(format!("the answer is longer than {LONGEST_ANSWER} bytes"));
        }
    }
}
