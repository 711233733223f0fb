//! What a report says, and to whom.

use super::{Action, Report, Told};
use bytes::Bytes;
use mail::{
    BodyKind, Content, Envelope, Failure, FailureKind, MailId, NextHop, Notify, Recipient, Reply, Ret, ReversePath,
    Timestamp,
};

fn recipient(address: &str, orcpt: Option<&str>) -> Recipient {
    Recipient { orcpt: orcpt.map(Into::into), ..Recipient::new(address.parse().unwrap()) }
}

fn failed(recipient: Recipient) -> Told {
    let hop: NextHop = "192.0.2.1:25".parse().unwrap();
    let failure = Failure {
        reply: Some(Reply::new(550, (5, 1, 1), "no such user")),
        ..Failure::new(FailureKind::PermFail, Some(&hop), "refused")
    };
    Told { recipient, action: Action::Failed(failure) }
}

fn report(envelope: &Envelope, content: &Content, told: &[Told]) -> Option<(Envelope, Content)> {
    let (id, now) = (MailId::from_u128(7), Timestamp::from_secs(0));
    Report { hostname: "mx.example", id, now, arrived: now, original_id: id, envelope, content, told }.write()
}

fn from(sender: &str) -> Envelope {
    Envelope { sender: sender.parse().unwrap(), ..Envelope::default() }
}

fn content() -> Content {
    Content::new("Subject: hi\r\n\r\nsecret\r\n".into())
}

fn text(content: &Content) -> String {
    String::from_utf8(content.to_bytes().to_vec()).unwrap()
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn a_report_tells_what_failed_and_returns_the_header_section() {
    let told = [failed(recipient("ann@example.org", Some("rfc822;Ann+40example.org")))];
    let (envelope, content) = report(&from("bob@sender.example"), &content(), &told).unwrap();
    assert_eq!((&envelope.sender, envelope.body), (&ReversePath::Null, BodyKind::SevenBit));
    let to = envelope.recipients.first().unwrap();
    assert_eq!((to.address.as_str(), to.notify), ("bob@sender.example", Some(Notify::NEVER)));
    let text = text(&content);
    assert_has(
        &text,
        &[
            "Action: failed\r\n",
            "Status: 5.1.1\r\n",
            "Final-Recipient: rfc822; ann@example.org\r\n",
            "Original-Recipient: rfc822;Ann@example.org\r\n",
            "Remote-MTA: dns; [192.0.2.1]\r\n",
            "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
            "Last-Attempt-Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n",
            "Look for a mistake in the address.",
            "Subject: hi\r\n",
        ],
    );
    assert!(!text.contains("secret"));
}

#[test]
fn one_report_tells_of_all_that_an_attempt_has_brought() {
    let reply = Reply::fixed(250, (2, 1, 5), "taken");
    let relayed = Action::Relayed { reply: reply.clone(), next_hop: "mx.example.org:25".parse().unwrap() };
    let delayed = Action::Delayed { failure: None, until: Timestamp::from_secs(86_400) };
    let told = [
        failed(recipient("a@example.org", None)),
        Told { recipient: recipient("b@example.org", None), action: delayed },
        Told { recipient: recipient("c@example.org", None), action: relayed },
    ];
    let full = Envelope { ret: Some(Ret::Full), ..from("bob@sender.example") };
    let (_, all) = report(&full, &content(), &told).unwrap();
    let all = text(&all);
    assert_has(
        &all,
        &[
            "Subject: Undelivered mail returned to sender\r\n",
            "Final-Recipient: rfc822; b@example.org\r\nAction: delayed\r\nStatus: 4.4.7\r\nWill-Retry-Until: Fri, 2 Jan 1970",
            "Final-Recipient: rfc822; c@example.org\r\nAction: relayed\r\nStatus: 2.1.5\r\nRemote-MTA: dns; mx.example.org\r\n",
            "You need not send it again.",
            "message/rfc822",
            "secret",
        ],
    );
    let (_, rest) = report(&full, &content(), &told[1..]).unwrap();
    let rest = text(&rest);
    assert_has(&rest, &["Subject: Your mail has not been delivered yet\r\n", "text/rfc822-headers"]);
    assert!(!rest.contains("secret"), "the body comes back with a failure only");
}

#[test]
fn nobody_is_told_without_a_sender_or_of_nothing() {
    let told = [failed(recipient("ann@example.org", None))];
    assert!(report(&from(""), &content(), &told).is_none());
    assert!(report(&from("bob@sender.example"), &content(), &[]).is_none());
}

#[test]
fn xtext_cannot_break_a_line() {
    let told = [failed(recipient("ann@example.org", Some("rfc822;x+0D+0ABcc:+20y")))];
    let (_, content) = report(&from("bob@sender.example"), &content(), &told).unwrap();
    assert_has(&text(&content), &["Original-Recipient: rfc822;x Bcc: y\r\n"]);
}

#[test]
fn a_report_to_an_ascii_address_is_ascii_and_one_to_a_utf8_address_is_utf8() {
    let told = [failed(recipient("用户@example.org", Some("utf-8;\\x{7528}@example.org")))];
    let original = Content::new("Subject: grün\r\n\r\n書\r\n".into());
    let sent = |sender| {
        let envelope = Envelope { smtputf8: true, ret: Some(Ret::Full), ..from(sender) };
        report(&envelope, &original, &told).unwrap()
    };
    let (envelope, ascii) = sent("bob@sender.example");
    assert!(!envelope.smtputf8 && !ascii.is_8bit());
    assert_has(
        &text(&ascii),
        &[
            "Content-Type: message/delivery-status\r\n",
            "Final-Recipient: utf-8; \\x{7528}\\x{6237}@example.org\r\n",
            "Original-Recipient: utf-8;\\x{7528}@example.org\r\n",
            "Content-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n",
        ],
    );
    let (envelope, utf8) = sent("jürgen@sender.example");
    assert!(envelope.smtputf8 && envelope.body == BodyKind::EightBitMime);
    assert_has(
        &text(&utf8),
        &[
            "Content-Type: message/global-delivery-status\r\n",
            "Final-Recipient: utf-8; 用户@example.org\r\n",
            "Original-Recipient: utf-8;用@example.org\r\n",
            "Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: grün\r\n",
        ],
    );
}

#[test]
fn a_large_mail_comes_back_as_its_header_section_and_a_large_one_of_those_in_part() {
    let full = Envelope { ret: Some(Ret::Full), ..from("bob@sender.example") };
    let told = [failed(recipient("ann@example.org", None))];
    let size = |content: Content| report(&full, &content, &told).unwrap().1.len();
    let body = "x".repeat(300 * 1024);
    assert!(size(Content::new(format!("Subject: hi\r\n\r\n{body}\r\n").into())) < 5000);
    let fields = "X-Field: of no use\r\n".repeat(20_000);
    assert!(size(Content::new(format!("{fields}\r\nbody\r\n").into())) < 10_000);
    let latin = Content::new(Bytes::from_static(b"Subject: caf\xE9\r\n\r\nbody\r\n"));
    let headers = Envelope { ret: Some(Ret::Headers), ..full.clone() };
    assert!(!report(&headers, &latin, &told).unwrap().1.is_8bit());
}
