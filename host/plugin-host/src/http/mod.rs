//! Requests of plugins to web servers that they are granted: wasi:http, whole bodies at a time.
//!
//! Nothing here follows a redirect, keeps a connection or a cookie, or reaches what is not granted.

mod address;
mod client;
mod hooks;

pub(crate) use client::NetworkClient;
pub(crate) use hooks::HttpHooks;

use crate::grant::Origin;
use bytes::Bytes;
use mail::BoxFuture;
use std::net::IpAddr;

/// Sends requests for plugins. They are granted when they come here.
pub trait HttpClient: Send + Sync {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpError>>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`.
    pub method: String,
    pub origin: Origin,
    /// With the query: `/check?id=1`.
    pub path: String,
    /// Names in lower case, `host` left out.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Bytes,
    /// Bytes of a response's body; a larger one is [`HttpError::TooLarge`].
    pub max_response: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    #[error("not granted")]
    Denied,
    #[error("the name cannot be resolved: {0}")]
    Name(String),
    /// Loopback, private or link-local, and not granted as such.
    #[error("{0} is no public address")]
    Address(IpAddr),
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("no secure connection: {0}")]
    Tls(String),
    #[error("{0}")]
    Protocol(String),
    #[error("the response is larger than {0} bytes")]
    TooLarge(usize),
    #[error("too many requests")]
    TooMany,
    #[error("no answer in time")]
    Timeout,
}
