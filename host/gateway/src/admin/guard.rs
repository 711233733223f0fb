//! Turns away what other pages make a browser ask for (S21): a name that was rebound to this address, a call from
//! another origin, a body that nobody wants.
//!
//! Knows nothing of the token: whoever has it is looked at here all the same.

use super::api::problem;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::Response,
};
use std::{net::IpAddr, sync::Arc};

/// The calls take what they need from their address; in bytes.
const MAX_BODY: u64 = 64 * 1024;

/// Names, in lower case, by which the interface may be asked for. An IP address is always fine: nobody can rebind one.
pub type Hosts = Arc<[String]>;

/// The gateway's own name, and those that the configuration adds.
pub fn hosts(own: &str, configured: &[String]) -> Hosts {
    let names = ["localhost", own].into_iter().chain(configured.iter().map(String::as_str));
    names.map(str::to_ascii_lowercase).collect()
}

pub async fn check(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    match refusal(request.uri(), request.headers(), &hosts) {
        Some((status, message)) => problem(status, message),
        None => next.run(request).await,
    }
}

fn refusal(uri: &Uri, headers: &HeaderMap, hosts: &[String]) -> Option<(StatusCode, &'static str)> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    // RFC 9112 §3.2: a request names the host once, and where the target names it too, that counts.
    let mut named = headers.get_all(header::HOST).iter();
    let (host, second) = (named.next().and_then(|value| value.to_str().ok()), named.next());
    let host = uri.authority().map(Authority::as_str).or(host).and_then(|host| host.parse::<Authority>().ok());
    let Some(host) = host.filter(|host| second.is_none() && is_ours(host, hosts)) else {
        return Some((
            StatusCode::MISDIRECTED_REQUEST,
            "this is not a name of the admin interface; add it to `hosts` under [admin] if it should be",
        ));
    };
    if text(header::ORIGIN).is_some_and(|origin| !is_same(origin, &host)) {
        return Some((StatusCode::FORBIDDEN, "calls from another page's origin are not answered"));
    }
    let length = text(header::CONTENT_LENGTH).map(|length| length.parse().unwrap_or(u64::MAX));
    // A body whose length is not told is never read.
    let is_too_large = length.is_some_and(|length| length > MAX_BODY);
    is_too_large.then_some((StatusCode::PAYLOAD_TOO_LARGE, "a call takes no body of more than 64 KiB"))
}

fn is_ours(host: &Authority, hosts: &[String]) -> bool {
    let name = host.host();
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    literal.parse::<IpAddr>().is_ok() || hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// `null`, as pages without an origin of their own say, is another's.
fn is_same(origin: &str, host: &Authority) -> bool {
    let authority = origin.parse::<Uri>().ok().and_then(|origin| origin.authority().cloned());
    authority.is_some_and(|authority| authority == *host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(target: &str, headers: &[(&'static str, &'static str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let hosts = hosts("mx1.example.net", &["admin.example.net".to_owned()]);
        refusal(&target.parse().unwrap(), &map, &hosts).map_or(200, |(status, _)| status.as_u16())
    }

    #[test]
    fn a_name_that_is_not_the_interfaces_is_not_answered() {
        for host in [
            "127.0.0.1:8025",
            "[::1]:8025",
            "192.0.2.1",
            "localhost:8025",
            "LOCALHOST.",
            "mx1.example.net",
            "Admin.Example.Net:1",
        ] {
            assert_eq!(answer("/", &[("host", host)]), 200, "{host}");
        }
        for host in [
            "evil",
            "evil.example:8025",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
            "a b",
            "127.0.0.1@evil.example:80",
        ] {
            assert_eq!(answer("/", &[("host", host)]), 421, "{host}");
        }
        assert_eq!(answer("/", &[]), 421);
        assert_eq!(answer("/", &[("host", "localhost"), ("host", "evil.example")]), 421);
        assert_eq!(answer("http://evil.example/", &[("host", "localhost")]), 421);
    }

    #[test]
    fn a_call_from_another_origin_is_not_answered() {
        for (origin, status) in [
            ("http://localhost:8025", 200),
            ("https://localhost:8025", 200),
            ("http://localhost", 403),
            ("http://localhost:8026", 403),
            ("http://evil.example", 403),
            ("null", 403),
            ("", 403),
        ] {
            assert_eq!(answer("/api/reload", &[("host", "localhost:8025"), ("origin", origin)]), status, "{origin}");
        }
    }

    #[test]
    fn a_body_over_the_limit_is_not_taken() {
        for (length, status) in [("0", 200), ("65536", 200), ("65537", 413), ("99999999999999999999", 413), ("x", 413)]
        {
            assert_eq!(answer("/", &[("host", "localhost"), ("content-length", length)]), status, "{length}");
        }
    }
}
