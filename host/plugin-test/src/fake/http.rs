//! Web servers that answer from a list, and remember what they were asked. Nothing leaves the machine.

use bytes::Bytes;
use mail::BoxFuture;
use plugin_host::{HttpClient, HttpError, HttpRequest, HttpResponse};
use std::sync::{Mutex, PoisonError};

/// One request that is expected, and its answer. The first that fits answers, any number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// None: any.
    pub method: Option<String>,
    /// With the port: `http://127.0.0.1:11333/checkv2`.
    pub url: String,
    /// Must occur in the request's body.
    pub request_contains: Option<String>,
    pub answer: Result<HttpResponse, HttpError>,
}

/// A request that was made.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Asked {
    pub method: String,
    pub url: String,
    /// An [`Exchange`] fitted.
    pub expected: bool,
}

#[derive(Debug, Default)]
pub(crate) struct FakeWeb {
    exchanges: Vec<Exchange>,
    asked: Mutex<Vec<Asked>>,
}

impl FakeWeb {
    pub(crate) fn new(exchanges: Vec<Exchange>) -> Self {
        Self { exchanges, asked: Mutex::default() }
    }

    /// Since the last time.
    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = format!("{}{}", request.origin, request.path);
        let found = self.exchanges.iter().find(|exchange| exchange.fits(request, &url));
        let asked = Asked { method: request.method.clone(), url, expected: found.is_some() };
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        match found {
            Some(Exchange { answer: Ok(response), .. }) if response.body.len() > request.max_response => {
                Err(HttpError::TooLarge(request.max_response))
            }
            Some(exchange) => exchange.answer.clone(),
            None => Err(HttpError::Connect("no [[http]] of the scenario fits".to_owned())),
        }
    }
}

impl Exchange {
    fn fits(&self, request: &HttpRequest, url: &str) -> bool {
        let contains = |part: &String| part.is_empty() || find(&request.body, part.as_bytes());
        self.method.as_ref().is_none_or(|method| *method == request.method)
            && self.url == url
            && self.request_contains.as_ref().is_none_or(contains)
    }
}

fn find(body: &Bytes, part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

impl HttpClient for FakeWeb {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpError>> {
        Box::pin(async move { self.answer(&request) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, path: &str, body: &'static str) -> HttpRequest {
        HttpRequest {
            method: method.to_owned(),
            origin: "http://127.0.0.1:11333".parse().unwrap(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: body.into(),
            max_response: 10,
        }
    }

    #[test]
    fn the_first_exchange_that_fits_answers_and_strangers_find_nobody() {
        let answer = |body: &'static str| Ok(HttpResponse { status: 200, headers: Vec::new(), body: body.into() });
        let exchange = |contains: Option<&str>, body| Exchange {
            method: Some("POST".to_owned()),
            url: "http://127.0.0.1:11333/check".to_owned(),
            request_contains: contains.map(str::to_owned),
            answer: answer(body),
        };
        let web = FakeWeb::new(vec![exchange(Some("spam"), "bad"), exchange(None, "good")]);
        assert_eq!(web.answer(&request("POST", "/check", "much spam")), answer("bad"));
        assert_eq!(web.answer(&request("POST", "/check", "ham")), answer("good"));
        assert!(matches!(web.answer(&request("GET", "/check", "")), Err(HttpError::Connect(_))));
        assert_eq!(web.take_asked().iter().map(|asked| asked.expected).collect::<Vec<_>>(), [true, true, false]);
        let large = FakeWeb::new(vec![exchange(None, "more than ten bytes")]);
        assert_eq!(large.answer(&request("POST", "/check", "")), Err(HttpError::TooLarge(10)));
    }
}
