//! Posts an alert, signed as Standard Webhooks says. Follows no redirect, uses no proxy, reads no body.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mail::Timestamp;
use ring::hmac;
use rustls_pki_types::ServerName;
use std::{fmt::Display, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// From the name's look-up to the end of the answer's header section.
const TIME: Duration = Duration::from_secs(10);
/// Of an answer's header section.
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 64 << 10;

pub struct Webhook {
    pub key: hmac::Key,
    pub tls: Arc<rustls::ClientConfig>,
}

impl Webhook {
    /// Ok with what was answered, where it is 2xx.
    pub async fn post(&self, url: &str, id: &str, now: Timestamp, body: &str) -> Result<String, String> {
        let url: Uri = url.parse().map_err(text)?;
        let timestamp = now.as_secs();
        let signature = self.sign(id, timestamp, body);
        let host = url.authority().map(ToString::to_string).unwrap_or_default();
        let request = Request::post(url.path_and_query().map_or("/", |path| path.as_str()))
            .header(header::HOST, host)
            .header(header::CONNECTION, "close")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("waypost/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .map_err(text)?;
        let answered = timeout(TIME, self.exchange(&url, request)).await;
        let status = answered.map_err(|_| format!("no answer within {} s", TIME.as_secs()))??;
        let said = format!("answered {status}");
        if status.is_success() { Ok(said) } else { Err(said) }
    }

    /// `v1,` and the signature of id, time and body.
    fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        let signed = format!("{id}.{timestamp}.{body}");
        format!("v1,{}", STANDARD.encode(hmac::sign(&self.key, signed.as_bytes())))
    }

    async fn exchange(&self, url: &Uri, request: Request<Full<Bytes>>) -> Result<http::StatusCode, String> {
        let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let secure = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await.map_err(|error| format!("cannot connect: {error}"))?;
        stream.set_nodelay(true).map_err(text)?;
        if !secure {
            return converse(stream, request).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(text)?;
        let connected = TlsConnector::from(self.tls.clone()).connect(name, stream).await;
        converse(connected.map_err(|error| format!("TLS: {error}"))?, request).await
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<http::StatusCode, String> {
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_HEADERS).max_buf_size(MAX_HEADER_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(text)?;
    tokio::pin!(connection);
    let answered = sender.send_request(request);
    tokio::pin!(answered);
    // The connection moves only while it is asked to; it ends with this exchange.
    let response = tokio::select! {
        response = &mut answered => response,
        ended = &mut connection => match ended {
            Ok(()) => answered.await,
            Err(error) => Err(error),
        },
    };
    response.map(|response| response.status()).map_err(text)
}

fn text(error: impl Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{RootCertStore, ServerConfig, crypto::ring::default_provider};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    fn webhook(trusted: Option<&rcgen::Certificate>) -> Webhook {
        let mut roots = RootCertStore::empty();
        if let Some(certificate) = trusted {
            roots.add(certificate.der().clone()).unwrap();
        }
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // The key of the scheme's own example.
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        Webhook { key: hmac::Key::new(hmac::HMAC_SHA256, &key), tls: Arc::new(tls) }
    }

    /// Answers one request with `answer`; the request.
    async fn server(answer: &'static str, tls: Option<ServerConfig>) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = async move {
            let (stream, _) = listener.accept().await.unwrap();
            match tls {
                None => one_request(stream, answer).await,
                Some(tls) => match TlsAcceptor::from(Arc::new(tls)).accept(stream).await {
                    Ok(stream) => one_request(stream, answer).await,
                    Err(error) => error.to_string(),
                },
            }
        };
        (port, tokio::spawn(serve))
    }

    async fn one_request(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            request.extend_from_slice(&buffer[..read]);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        String::from_utf8(request).unwrap()
    }

    #[test]
    fn the_signature_is_that_of_the_standard() {
        let body = r#"{"test": 2432232314}"#;
        assert_eq!(
            webhook(None).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[tokio::test]
    async fn an_alert_is_posted_with_its_id_and_signature() {
        let (port, served) = server("HTTP/1.1 204 No Content\r\n\r\n", None).await;
        let url = format!("http://127.0.0.1:{port}/a/b?c=d");
        let said = webhook(None).post(&url, "ID", Timestamp::from_secs(1000), "{}").await;
        assert_eq!(said, Ok("answered 204 No Content".to_owned()));
        let request = served.await.unwrap();
        assert!(request.starts_with("POST /a/b?c=d HTTP/1.1\r\n") && request.ends_with("\r\n\r\n{}"), "{request}");
        for line in ["webhook-id: ID", "webhook-timestamp: 1000", "content-type: application/json", "content-length: 2"]
        {
            assert!(request.contains(&format!("\r\n{line}\r\n")), "{line}: {request}");
        }
        assert!(request.contains(&format!("\r\nhost: 127.0.0.1:{port}\r\n")), "{request}");
    }

    #[tokio::test]
    async fn only_2xx_is_acceptance_and_no_redirect_is_followed() {
        for answer in [
            "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 307 There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            "nonsense\r\n\r\n",
            "",
        ] {
            let (port, served) = server(answer, None).await;
            let url = format!("http://127.0.0.1:{port}/");
            let said = webhook(None).post(&url, "ID", Timestamp::from_secs(1000), "{}").await;
            assert!(said.is_err(), "{answer}: {said:?}");
            served.await.unwrap();
        }
    }

    #[tokio::test]
    async fn https_needs_a_certificate_that_is_valid_for_the_host() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let config = || {
            let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
            let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
            let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
            builder.with_single_cert(vec![made.cert.der().clone()], key).unwrap()
        };
        for (trusted, host, accepted) in
            [(Some(&made.cert), "localhost", true), (None, "localhost", false), (Some(&made.cert), "127.0.0.1", false)]
        {
            let (port, served) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Some(config())).await;
            let url = format!("https://{host}:{port}/");
            let said = webhook(trusted).post(&url, "ID", Timestamp::from_secs(1000), "{}").await;
            assert_eq!(said.is_ok(), accepted, "{host}: {said:?}");
            served.await.unwrap();
        }
    }
}
