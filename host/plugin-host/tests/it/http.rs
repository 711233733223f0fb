//! Requests by wasi:http: to what is granted, bounded, and to nothing else.

use crate::rig::{Rig, Setup, judge};
use mail::{BoxFuture, Verdict};
use plugin_host::{
    Grant, HttpClient, HttpError, HttpRequest, HttpResponse, Limits, PluginSettings, ResolveError, Resolver,
};
use serde_json::json;
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Answers by the path of the request.
struct Server {
    origin: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream));
            }
        });
        Self { origin, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream) {
    let mut request = Vec::new();
    let head_end = loop {
        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut request).await.unwrap() == 0 {
            return;
        }
    };
    let head = String::from_utf8_lossy(&request[..head_end]).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let length: usize = length.map_or(0, |digits| digits.parse().unwrap());
    while request.len() < head_end + length && stream.read_buf(&mut request).await.unwrap() > 0 {}
    let answer = match head.split(' ').nth(1).unwrap() {
        "/hello?a=1" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        "/host" => {
            let host = head.split("host: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{host}", host.len())
        }
        "/size" => {
            let size = (request.len() - head_end).to_string();
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{size}", size.len())
        }
        "/large" => format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(200_000)),
        "/headers" => format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-A: b\r\n".repeat(2000)),
        "/elsewhere" => "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/broken" => "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort".to_owned(),
        // Silent, until the peer goes.
        _ => {
            while stream.read_buf(&mut request).await.unwrap_or_default() > 0 {}
            return;
        }
    };
    stream.write_all(answer.as_bytes()).await.ok();
}

fn granting(origins: &[&str]) -> Setup {
    let mut grants = PluginSettings::default().grants;
    grants.extend(origins.iter().map(|origin| origin.parse::<Grant>().unwrap()));
    let limits = Limits { http_body: 100_000, cpu: Duration::from_secs(10), ..Setup::default().limits };
    Setup { grants, limits, ..Setup::default() }
}

/// What the guest got.
async fn answer(setup: Setup, deed: &str, url: &str) -> String {
    let rig = Rig::new(setup);
    let chain = rig.chain(json!({ "message": deed, "url": url, "size": "50000" })).await;
    match judge(&*chain).await {
        Verdict::Quarantine(answer) => answer,
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_granted_server_is_asked() {
    let server = Server::start().await;
    let origin = &*server.origin;
    let get = async |path: &str| answer(granting(&[origin]), "http", &format!("{origin}{path}")).await;
    assert_eq!(get("/hello?a=1").await, "200 hello");
    assert_eq!(get("/host").await, format!("200 {}", origin.trim_start_matches("http://")));
    assert_eq!(get("/elsewhere").await, "302 ", "no redirect is followed");
    assert_eq!(answer(granting(&[origin]), "http-post", &format!("{origin}/size")).await, "200 50000");
}

#[tokio::test]
async fn what_is_not_granted_is_denied_and_never_connected_to() {
    let server = Server::start().await;
    let origin = &*server.origin;
    let port = origin.rsplit(':').next().unwrap();
    for granted in
        [&[][..], &["http://127.0.0.1:1"], &["https://api.example.net"], &[&format!("https://127.0.0.1:{port}")]]
    {
        let told = answer(granting(granted), "http", &format!("{origin}/hello?a=1")).await;
        assert_eq!(told, "ErrorCode::HttpRequestDenied", "{granted:?}");
    }
    let by_name = format!("http://localhost:{port}/hello?a=1");
    assert_eq!(answer(granting(&[origin]), "http", &by_name).await, "ErrorCode::HttpRequestDenied");
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn what_is_too_large_or_broken_is_an_error() {
    let server = Server::start().await;
    let origin = &*server.origin;
    let get = async |path: &str| answer(granting(&[origin]), "http", &format!("{origin}{path}")).await;
    assert_eq!(get("/large").await, "ErrorCode::HttpResponseBodySize(Some(100000))");
    assert_eq!(get("/headers").await, "ErrorCode::HttpProtocolError");
    assert_eq!(get("/broken").await, "ErrorCode::HttpProtocolError");
    let mut small = granting(&[origin]);
    small.limits.http_body = 1000;
    let posted = answer(small, "http-post", &format!("{origin}/size")).await;
    assert_eq!(posted, "ErrorCode::HttpRequestBodySize(Some(1000))");
}

#[tokio::test]
async fn a_silent_server_ends_with_the_call() {
    let server = Server::start().await;
    let mut setup = granting(&[&server.origin]);
    setup.limits.time = Duration::from_millis(400);
    let told = answer(setup, "http", &format!("{}/silent", server.origin)).await;
    assert!(told.starts_with("TempFail") || told.contains("Timeout"), "{told}");
}

#[tokio::test]
async fn a_call_makes_a_bounded_number_of_requests_and_they_are_counted() {
    let server = Server::start().await;
    let mut setup = granting(&[&server.origin]);
    setup.limits.http_at_once = 3;
    let rig = Rig::new(setup);
    let chain = rig.chain(json!({ "message": "http-many", "url": format!("{}/hello?a=1", server.origin) })).await;
    let mut seen = crate::rig::transaction("example.org");
    let verdict = chain.on_message(&mut seen, &mut crate::rig::content()).await;
    assert_eq!(verdict, Verdict::Quarantine("3 of 10".to_owned()));
    assert!(seen.calls[0].host_calls.contains(&("http.request".to_owned(), 10)), "{:?}", seen.calls[0].host_calls);
    assert_eq!(server.requests(), 3);
}

/// Says that every name is here.
struct Rebinding;

impl Resolver for Rebinding {
    fn addresses<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
    fn txt<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn mx<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<(u16, String)>, ResolveError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn ptr(&self, _: IpAddr) -> BoxFuture<'_, Result<Vec<String>, ResolveError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

#[tokio::test]
async fn a_public_name_that_leads_here_is_not_followed_but_a_local_one_is() {
    let server = Server::start().await;
    let port = server.origin.rsplit(':').next().unwrap();
    for (host, expected) in [("api.example.net", "ErrorCode::DestinationIpProhibited"), ("rspamd", "200 hello")] {
        let origin = format!("http://{host}:{port}");
        let setup = Setup { resolver: Some(Arc::new(Rebinding)), ..granting(&[&origin]) };
        assert_eq!(answer(setup, "http", &format!("{origin}/hello?a=1")).await, expected);
    }
    assert_eq!(server.requests(), 1);
}

/// Answers without a network.
struct Fake;

impl HttpClient for Fake {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpError>> {
        let told = format!("{} {}{} {}", request.method, request.origin, request.path, request.body.len());
        Box::pin(async { Ok(HttpResponse { status: 202, headers: Vec::new(), body: told.into() }) })
    }
}

#[tokio::test]
async fn a_client_of_ones_own_is_asked_in_place_of_the_network_and_grants_hold_as_well() {
    let fake = |origins: &[&str]| Setup { http: Some(Arc::new(Fake)), ..granting(origins) };
    let url = "https://api.example.net/check?x=1";
    let told = answer(fake(&["https://api.example.net"]), "http-post", url).await;
    assert_eq!(told, "202 POST https://api.example.net:443/check?x=1 50000");
    assert_eq!(answer(fake(&[]), "http", url).await, "ErrorCode::HttpRequestDenied");
}
