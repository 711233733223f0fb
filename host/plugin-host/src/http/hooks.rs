//! Between wasi:http and the client: whether a request is granted, and what a call may spend on requests.

use super::{HttpClient, HttpError, HttpRequest, HttpResponse};
use crate::{
    grant::{Grant, Origin, Scheme},
    settings::Limits,
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

pub(crate) struct HttpHooks {
    client: Arc<dyn HttpClient>,
    granted: Vec<Origin>,
    limits: Limits,
    at_once: Arc<Semaphore>,
    /// Of the running call.
    deadline: Instant,
    made: u32,
    /// Bytes of responses that the running call may still receive.
    left: Arc<AtomicUsize>,
}

impl HttpHooks {
    pub(crate) fn new(client: Arc<dyn HttpClient>, grants: &[Grant], limits: &Limits) -> Self {
        let origin = |grant: &Grant| if let Grant::Http(origin) = grant { Some(origin.clone()) } else { None };
        Self {
            client,
            granted: grants.iter().filter_map(origin).collect(),
            at_once: Arc::new(Semaphore::new(limits.http_at_once as usize)),
            limits: limits.clone(),
            deadline: Instant::now(),
            made: 0,
            left: Arc::default(),
        }
    }

    /// Requests of an earlier call that the guest has kept under way don't count against the new one, but end
    /// at their own deadline.
    pub(crate) fn begin(&mut self, time: Duration) {
        self.deadline = Instant::now() + time;
        self.made = 0;
        self.left = Arc::new(AtomicUsize::new(self.limits.http_body));
    }

    /// How many requests the call has made.
    pub(crate) fn end(&mut self) -> u32 {
        std::mem::take(&mut self.made)
    }

    fn admit(&mut self, request: &http::Request<WasiBody>) -> Result<(Origin, OwnedSemaphorePermit), HttpError> {
        self.made = self.made.saturating_add(1);
        if self.made > self.limits.http_requests {
            return Err(HttpError::TooMany);
        }
        let scheme = match request.uri().scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(HttpError::Denied),
        };
        let origin = request.uri().authority().and_then(|authority| Origin::new(scheme, authority.as_str()));
        let origin = origin.filter(|origin| self.granted.contains(origin)).ok_or(HttpError::Denied)?;
        // A tunnel would lead past the grant.
        if request.method() == http::Method::CONNECT {
            return Err(HttpError::Denied);
        }
        let permit = Arc::clone(&self.at_once).try_acquire_owned().map_err(|_| HttpError::TooMany)?;
        Ok((origin, permit))
    }
}

type Sent = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for HttpHooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let admitted = self.admit(&request);
        let deadline = options.and_then(own_time).and_then(|time| Instant::now().checked_add(time));
        let deadline = deadline.map_or(self.deadline, |own| own.min(self.deadline));
        let (client, left) = (Arc::clone(&self.client), Arc::clone(&self.left));
        let max_request = self.limits.http_body;
        Box::new(async move {
            let (origin, _permit) = admitted.map_err(told)?;
            let exchange = async {
                let request = collected(request, origin, max_request, left.load(Ordering::Relaxed)).await?;
                client.send(request).await.map_err(told)
            };
            let answered = tokio::time::timeout_at(deadline, exchange).await;
            let response = answered.map_err(|_| told(HttpError::Timeout))??;
            let taken =
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(response.body.len()));
            taken.map_err(|left| told(HttpError::TooLarge(left)))?;
            let nothing_more: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async { Ok(()) });
            Ok((rebuilt(response)?, nothing_more))
        })
    }
}

/// What the guest gives the request itself: bodies come whole, so the first byte is the last one.
fn own_time(options: RequestOptions) -> Option<Duration> {
    match (options.connect_timeout, options.first_byte_timeout) {
        (Some(connect), Some(first_byte)) => Some(connect.max(first_byte)),
        (own, other) => own.or(other),
    }
}

/// With its whole body.
async fn collected(
    request: http::Request<WasiBody>,
    origin: Origin,
    max_request: usize,
    max_response: usize,
) -> Result<HttpRequest, Error> {
    let (parts, body) = request.into_parts();
    let collected = Limited::new(body, max_request).collect().await;
    let body = collected.map_err(|error| match error.downcast::<LengthLimitError>() {
        Ok(_) => Error::HttpRequestBodySize(u64::try_from(max_request).ok()),
        Err(_) => Error::HttpProtocolError,
    })?;
    let headers = parts.headers.iter().filter(|(name, _)| *name != http::header::HOST);
    Ok(HttpRequest {
        method: parts.method.to_string(),
        origin,
        path: parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        headers: headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect(),
        body: body.to_bytes(),
        max_response,
    })
}

fn rebuilt(response: HttpResponse) -> Result<http::Response<WasiBody>, Error> {
    let mut builder = http::Response::builder().status(response.status);
    for (name, value) in response.headers {
        builder = builder.header(name, value);
    }
    let body = Full::new(response.body).map_err(Error::from).boxed_unsync();
    builder.body(body).map_err(|_| Error::HttpProtocolError)
}

/// In the words of wasi:http.
fn told(error: HttpError) -> Error {
    match error {
        HttpError::Denied => Error::HttpRequestDenied,
        HttpError::Name(why) => Error::DnsError { rcode: Some(why), info_code: None },
        HttpError::Address(_) => Error::DestinationIpProhibited,
        HttpError::Connect(_) => Error::ConnectionRefused,
        HttpError::Tls(_) => Error::TlsProtocolError,
        HttpError::Protocol(_) => Error::HttpProtocolError,
        HttpError::TooLarge(limit) => Error::HttpResponseBodySize(u64::try_from(limit).ok()),
        HttpError::TooMany => Error::ConnectionLimitReached,
        HttpError::Timeout => Error::HttpResponseTimeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_time_that_its_plugin_gives_it() {
        let (short, long) = (Some(Duration::from_secs(1)), Some(Duration::from_secs(2)));
        let of = |connect_timeout, first_byte_timeout| {
            own_time(RequestOptions { connect_timeout, first_byte_timeout, between_bytes_timeout: None })
        };
        assert_eq!([of(short, long), of(long, short), of(short, None), of(None, None)], [long, long, short, None]);
    }
}
