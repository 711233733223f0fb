//! All checks of a mail together: bounded in time, and never a pass where the author is in doubt.

use super::*;
use crate::config::DnsSettings;
use std::{net::UdpSocket, time::Duration};

const SIGNED: &str = "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s1; h=from; bh=AAAA; b=AAAA\r\n";

/// Of a gateway whose name server says nothing.
fn checks(time: Duration) -> (Checks, UdpSocket) {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dns = DnsSettings { servers: vec![silent.local_addr().unwrap()], trust_anchor: None };
    let settings = config::Authenticity { enabled: true, time };
    (Checks::new(settings, Arc::new(Dns::new(dns).unwrap()), "gw.test".parse().unwrap()), silent)
}

async fn of(mail: &str) -> Findings {
    let (checks, _silent) = checks(Duration::from_millis(50));
    let session = SessionFacts {
        listener: "127.0.0.1:25".into(),
        peer: "192.0.2.7:4000".parse().unwrap(),
        peer_name: None,
        helo: Some("mail.example.org".to_owned()),
        tls_version: None,
        auth_user: None,
    };
    let sender = ReversePath::Mailbox("ann@example.org".parse().unwrap());
    checks.message(&session, &sender, None, &Content::new(mail.to_owned().into())).await
}

#[tokio::test]
async fn where_dns_says_nothing_everything_is_a_temperror_in_time() {
    let before = Instant::now();
    let found = of(&format!("{SIGNED}From: ann@example.org\r\n\r\n")).await;
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    let dkim = vec![("example.org".to_owned(), AuthResult::TempError)];
    let error = AuthResult::TempError;
    assert_eq!(found.results(), Authenticity { spf: error, dkim, dmarc: error, arc: AuthResult::None });
}

#[tokio::test]
async fn a_mail_whose_author_is_in_doubt_never_passes() {
    for mail in [
        "From: ann@example.org\r\nFrom: bob@bank.example\r\n\r\n",
        "From: ann@example.org\r\nfrom : ann@example.org\r\n\r\n",
        "From: ann@example.org bob@bank.example\r\n\r\n",
        "Subject: no author\r\n\r\n",
        "From: ann@example.org\r\nno field\r\nFrom: bob@bank.example\r\n\r\n",
        "",
    ] {
        assert_eq!(of(mail).await.dmarc, AuthResult::PermError, "{mail}");
    }
}
