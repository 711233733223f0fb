//! The Received field that every accepted mail gets on top (RFC 5321 §4.4). Pure.

use mail::{Content, MailId, Mailbox, SessionFacts, Timestamp};

/// More than this many Received fields mean a loop (RFC 5321 §6.3 asks for at least 100).
const MAX_HOPS: usize = 100;

/// Everything that a client said is cleaned before it stands in a field.
pub fn received(
    session: &SessionFacts,
    esmtp: bool,
    hostname: &str,
    id: MailId,
    sole_recipient: Option<&Mailbox>,
    utf8: bool,
    now: Timestamp,
) -> String {
    let helo = session.helo.as_deref().map(clean).unwrap_or_else(|| "unknown".to_owned());
    let address = match session.peer.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => format!("[{ip}]"),
        std::net::IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    };
    let name = session.peer_name.as_deref().map(|name| format!("{} ", clean(name))).unwrap_or_default();
    let protocol = protocol(session, esmtp, utf8);
    let tls =
        session.tls_version.as_deref().map(|version| format!("\r\n (using {})", clean(version))).unwrap_or_default();
    let for_whom =
        sole_recipient.filter(|r| utf8 || !r.needs_smtputf8()).map(|r| format!("\r\n for <{r}>")).unwrap_or_default();
    format!(
        "Received: from {helo} ({name}{address}){tls}\r\n by {hostname} (Waypost) with {protocol} id {id}{for_whom};\r\n {}\r\n",
        now.to_rfc5322()
    )
}

/// RFC 3848, RFC 6531 §4.3.
fn protocol(session: &SessionFacts, esmtp: bool, utf8: bool) -> &'static str {
    match (esmtp, utf8, session.tls_version.is_some(), session.auth_user.is_some()) {
        (false, ..) => "SMTP",
        (true, false, false, false) => "ESMTP",
        (true, false, false, true) => "ESMTPA",
        (true, false, true, false) => "ESMTPS",
        (true, false, true, true) => "ESMTPSA",
        (true, true, false, false) => "UTF8SMTP",
        (true, true, false, true) => "UTF8SMTPA",
        (true, true, true, false) => "UTF8SMTPS",
        (true, true, true, true) => "UTF8SMTPSA",
    }
}

/// Letters, digits and what names and address literals need; everything else becomes a question mark.
fn clean(text: &str) -> String {
    let ok = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    text.chars().take(255).map(|c| if ok(c) { c } else { '?' }).collect()
}

/// Has this mail been passed around too often?
pub fn is_looping(content: &Content) -> bool {
    content.fields().filter(|field| field.is("Received")).count() > MAX_HOPS
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn session(helo: &str) -> SessionFacts {
        SessionFacts {
            listener: "127.0.0.1:25".into(),
            peer: "192.0.2.7:4000".parse().unwrap(),
            peer_name: None,
            helo: Some(helo.into()),
            tls_version: None,
            auth_user: None,
        }
    }

    #[test]
    fn nothing_that_a_client_says_breaks_out_of_the_field() {
        let field = received(
            &session("a\r\nBcc: x"),
            true,
            "mx.example",
            MailId::from_u128(1),
            None,
            false,
            Timestamp::from_secs(0),
        );
        assert_eq!(
            field,
            "Received: from a??Bcc:?x ([192.0.2.7])\r\n by mx.example (Waypost) with ESMTP id 00000000000000000000000001;\r\n Thu, 1 Jan 1970 00:00:00 +0000\r\n"
        );
    }

    #[test]
    fn the_field_says_how_the_mail_came() {
        let mut session = session("client.example");
        assert_eq!([protocol(&session, false, false), protocol(&session, true, true)], ["SMTP", "UTF8SMTP"]);
        session.tls_version = Some("TLSv1.3".into());
        session.auth_user = Some("ann".into());
        assert_eq!([protocol(&session, true, false), protocol(&session, true, true)], ["ESMTPSA", "UTF8SMTPSA"]);
    }

    #[test]
    fn a_mail_that_went_round_a_hundred_times_is_looping() {
        let content = |n: usize| Content::new(Bytes::from("Received: x\r\n".repeat(n)));
        assert!(!is_looping(&content(100)));
        assert!(is_looping(&content(101)));
    }
}
