//! Sends a granted request over the network: resolves, checks where that leads, connects there, and reads a
//! bounded response. One connection for each request; no redirect is followed.

use super::{HttpClient, HttpError, HttpRequest, HttpResponse, address};
use crate::{
    grant::{Origin, OriginHost, Scheme},
    settings::Resolver,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use mail::BoxFuture;
use rustls::pki_types::ServerName;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::io::TokioIo;

/// Of a response's header section.
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 64 << 10;

pub(crate) struct NetworkClient {
    resolver: Option<Arc<dyn Resolver>>,
    /// Made for the first https request: reading the system's roots takes a while.
    tls: OnceLock<Arc<rustls::ClientConfig>>,
}

impl NetworkClient {
    pub(crate) fn new(resolver: Option<Arc<dyn Resolver>>) -> Self {
        Self { resolver, tls: OnceLock::new() }
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let origin = request.origin.clone();
        let stream = connect(&self.addresses(&origin).await?).await?;
        match origin.scheme {
            Scheme::Http => converse(stream, request).await,
            Scheme::Https => converse(self.secure(&origin, stream).await?, request).await,
        }
    }

    async fn addresses(&self, origin: &Origin) -> Result<Vec<SocketAddr>, HttpError> {
        let name = match &origin.host {
            // Granted to the letter.
            OriginHost::Address(ip) => return Ok(vec![SocketAddr::new(*ip, origin.port)]),
            OriginHost::Name(name) => name,
        };
        let found: Vec<IpAddr> = match &self.resolver {
            Some(resolver) => resolver.addresses(name.as_str()).await.map_err(|error| HttpError::Name(error.0))?,
            None => {
                let found = tokio::net::lookup_host((name.as_str(), origin.port)).await;
                found.map_err(|error| HttpError::Name(error.to_string()))?.map(|address| address.ip()).collect()
            }
        };
        let first = *found.first().ok_or_else(|| HttpError::Name(format!("{name} has no address")))?;
        let allowed: Vec<SocketAddr> = found
            .into_iter()
            .filter(|ip| address::may_lead_to(name, *ip))
            .map(|ip| SocketAddr::new(ip, origin.port))
            .collect();
        if allowed.is_empty() { Err(HttpError::Address(first)) } else { Ok(allowed) }
    }

    async fn secure(&self, origin: &Origin, stream: TcpStream) -> Result<impl Stream + use<>, HttpError> {
        let name = match &origin.host {
            OriginHost::Address(ip) => ServerName::IpAddress((*ip).into()),
            OriginHost::Name(name) => {
                ServerName::try_from(name.as_str().to_owned()).map_err(|error| HttpError::Tls(error.to_string()))?
            }
        };
        let config = match self.tls.get() {
            Some(config) => Arc::clone(config),
            None => {
                let made = tokio::task::spawn_blocking(tls_config).await;
                let made = made.map_err(|error| HttpError::Tls(error.to_string()))??;
                Arc::clone(self.tls.get_or_init(|| made))
            }
        };
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| HttpError::Tls(error.to_string()))
    }
}

impl HttpClient for NetworkClient {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpError>> {
        Box::pin(self.exchange(request))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// The system's roots, as every other client of the machine has them.
fn tls_config() -> Result<Arc<rustls::ClientConfig>, HttpError> {
    let wrong = |error: &dyn std::fmt::Display| HttpError::Tls(error.to_string());
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| wrong(&error))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// To the first that answers.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, HttpError> {
    let stream = TcpStream::connect(addresses).await.map_err(|error| HttpError::Connect(error.to_string()))?;
    stream.set_nodelay(true).map_err(|error| HttpError::Connect(error.to_string()))?;
    Ok(stream)
}

async fn converse(stream: impl Stream, request: HttpRequest) -> Result<HttpResponse, HttpError> {
    let protocol = |error: hyper::Error| HttpError::Protocol(error.to_string());
    let max = request.max_response;
    let request = written(request)?;
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_HEADERS).max_buf_size(MAX_HEADER_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(protocol)?;
    // Ends with the exchange, however that ends.
    let _connection = wasmtime_wasi::runtime::spawn(connection);
    let response = sender.send_request(request).await.map_err(protocol)?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, max).collect().await.map_err(|error| match error.downcast::<LengthLimitError>() {
        Ok(_) => HttpError::TooLarge(max),
        Err(error) => HttpError::Protocol(error.to_string()),
    })?;
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
    Ok(HttpResponse {
        status: parts.status.as_u16(),
        headers: parts.headers.iter().map(header).collect(),
        body: body.to_bytes(),
    })
}

fn written(request: HttpRequest) -> Result<http::Request<Full<Bytes>>, HttpError> {
    let HttpRequest { method, origin, path, headers, body, .. } = request;
    let host = if origin.port == origin.scheme.default_port() {
        origin.host.to_string()
    } else {
        format!("{}:{}", origin.host, origin.port)
    };
    let mut builder = http::Request::builder()
        .method(method.as_str())
        .uri(path)
        .header(http::header::HOST, host)
        .header(http::header::CONNECTION, "close");
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(body)).map_err(|error| HttpError::Protocol(error.to_string()))
}
