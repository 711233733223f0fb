//! Delivery status notifications (RFC 3464, RFC 3461 §6): the mail that tells a sender what failed. Pure.

use mail::{
    BodyKind, Content, EnhancedCode, Envelope, Failure, MailId, NextHop, Recipient, Ret, ReversePath, Timestamp,
};

/// What a notification tells.
pub struct Report<'a> {
    /// Our name: Reporting-MTA and the From field.
    pub hostname: &'a str,
    /// The new mail's own id.
    pub id: MailId,
    pub now: Timestamp,
    pub arrived: Timestamp,
    pub original_id: MailId,
    pub envelope: &'a Envelope,
    pub content: &'a Content,
    pub failed: &'a [(Recipient, Failure)],
}

/// At most this much of the original mail is sent back with RET=FULL, in bytes.
const MAX_RETURNED: usize = 256 * 1024;

impl Report<'_> {
    /// None where nobody may be told: the null reverse-path, or no recipient that wants it.
    pub fn write(&self) -> Option<(Envelope, Content)> {
        let sender = self.envelope.sender.mailbox()?.clone();
        let told: Vec<_> = self.failed.iter().filter(|(recipient, _)| recipient.wants_failure()).collect();
        if told.is_empty() {
            return None;
        }
        let utf8 = self.envelope.has_utf8_address();
        let boundary = format!("=_{}", self.id);
        let mut text = self.header(&sender, &boundary);
        text.push_str(&format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        ));
        text.push_str(&self.explanation(&told));
        let kind = if utf8 { "message/global-delivery-status" } else { "message/delivery-status" };
        text.push_str(&format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\n\r\n"));
        text.push_str(&self.per_message());
        for (recipient, failure) in &told {
            text.push_str(&self.per_recipient(recipient, failure, utf8));
        }
        let (kind, returned) = self.returned(utf8);
        text.push_str(&format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\n\r\n"));
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&returned);
        bytes.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let content = Content::new(bytes.into());
        let body = if content.is_8bit() { BodyKind::EightBitMime } else { BodyKind::SevenBit };
        let mut recipient = Recipient::new(sender);
        recipient.notify = Some(mail::Notify::NEVER); // RFC 3461 §6.2
        Some((
            Envelope {
                sender: ReversePath::Null,
                recipients: vec![recipient],
                body,
                smtputf8: utf8,
                require_tls: self.envelope.require_tls, // RFC 8689 §4.3
                ret: None,
                envid: None,
            },
            content,
        ))
    }

    fn header(&self, to: &mail::Mailbox, boundary: &str) -> String {
        format!(
            "From: Mail Delivery System <MAILER-DAEMON@{host}>\r\nTo: <{to}>\r\nSubject: Undelivered mail returned to sender\r\nDate: {date}\r\nMessage-ID: <{id}@{host}>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"\r\n\r\n",
            host = self.hostname,
            date = self.now.to_rfc5322(),
            id = self.id,
        )
    }

    fn explanation(&self, told: &[&(Recipient, Failure)]) -> String {
        let mut text =
            format!("This is the mail system at {}.\r\n\r\nYour message could not be delivered to:\r\n", self.hostname);
        for (recipient, failure) in told {
            text.push_str(&format!("\r\n  <{}>\r\n    {}\r\n", recipient.address, one_line(&failure.to_string())));
        }
        text.push_str(&format!(
            "\r\nIt arrived here {} as {}. No further attempt will be made.\r\n",
            self.arrived.to_rfc5322(),
            self.original_id
        ));
        text
    }

    fn per_message(&self) -> String {
        let envid = self
            .envelope
            .envid
            .as_deref()
            .map(|id| format!("Original-Envelope-Id: {}\r\n", one_line(&from_xtext(id))))
            .unwrap_or_default();
        format!("Reporting-MTA: dns; {}\r\n{envid}Arrival-Date: {}\r\n", self.hostname, self.arrived.to_rfc5322())
    }

    fn per_recipient(&self, recipient: &Recipient, failure: &Failure, utf8: bool) -> String {
        let kind = if utf8 { "utf-8" } else { "rfc822" };
        let original = recipient
            .orcpt
            .as_deref()
            .map(|orcpt| format!("Original-Recipient: {}\r\n", one_line(&from_xtext(orcpt))))
            .unwrap_or_default();
        let remote = failure
            .next_hop
            .as_ref()
            .map(|hop: &NextHop| format!("Remote-MTA: dns; {}\r\n", hop.host))
            .unwrap_or_default();
        let diagnostic = failure
            .reply
            .as_ref()
            .map(|reply| format!("Diagnostic-Code: smtp; {}\r\n", one_line(&reply.to_string())))
            .unwrap_or_default();
        format!(
            "\r\n{original}Final-Recipient: {kind}; {}\r\nAction: failed\r\nStatus: {}\r\n{remote}{diagnostic}",
            recipient.address,
            status(failure)
        )
    }

    /// The whole mail where RET=FULL asks for it and it is small; else its header section.
    fn returned(&self, utf8: bool) -> (&'static str, Vec<u8>) {
        // RFC 8689 §4.3: what required TLS is not shown to those on the way back.
        let whole = self.envelope.ret == Some(Ret::Full) && !self.envelope.require_tls;
        if whole && self.content.len() <= MAX_RETURNED {
            let kind = if utf8 { "message/global" } else { "message/rfc822" };
            return (kind, self.content.to_bytes().to_vec());
        }
        let header = self.content.header();
        let kept: Vec<u8> = if header.len() <= MAX_RETURNED {
            header.to_vec()
        } else {
            self.content.fields().take(100).filter(|f| f.raw.len() < 2000).flat_map(|f| f.raw).copied().collect()
        };
        (if utf8 { "message/global-headers" } else { "text/rfc822-headers" }, kept)
    }
}

/// The status of RFC 3463: the next hop's own, else by what went wrong.
fn status(failure: &Failure) -> EnhancedCode {
    use mail::FailureKind as Kind;
    if let Some(code) = failure.reply.as_ref().and_then(|reply| reply.enhanced).filter(|code| code.class != 2) {
        return EnhancedCode { class: 5, ..code };
    }
    match failure.kind {
        Kind::Dns => EnhancedCode::new(5, 4, 4),
        Kind::Connect => EnhancedCode::new(5, 4, 1),
        Kind::Timeout => EnhancedCode::new(5, 4, 7),
        Kind::Tls | Kind::Identity => EnhancedCode::new(5, 7, 5),
        Kind::Protocol => EnhancedCode::new(5, 5, 0),
        Kind::TempFail => EnhancedCode::new(5, 4, 7),
        Kind::PermFail | Kind::Other => EnhancedCode::new(5, 0, 0),
    }
}

/// RFC 3461 §4: `+41` is `A`. What does not decode stays as it is.
fn from_xtext(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (first, hex) {
            (b'+', Some(byte)) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What others said must not break out of its line.
fn one_line(text: &str) -> String {
    text.chars().take(900).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::{FailureKind, Notify, Reply};

    fn report(sender: &str, notify: Option<Notify>, orcpt: Option<&str>) -> Option<(Envelope, Content)> {
        let recipient = Recipient { address: "ann@example.org".parse().unwrap(), notify, orcpt: orcpt.map(Into::into) };
        let envelope =
            Envelope { sender: sender.parse().unwrap(), recipients: vec![recipient.clone()], ..Envelope::default() };
        let failure = Failure {
            reply: Some(Reply::new(550, (5, 1, 1), "no such user")),
            ..Failure::new(FailureKind::PermFail, None, "refused")
        };
        let content = Content::new("Subject: hi\r\n\r\nsecret\r\n".into());
        let id = MailId::from_u128(7);
        Report {
            hostname: "mx.example",
            id,
            now: Timestamp::from_secs(0),
            arrived: Timestamp::from_secs(0),
            original_id: id,
            envelope: &envelope,
            content: &content,
            failed: &[(recipient, failure)],
        }
        .write()
    }

    #[test]
    fn a_report_tells_what_failed_and_returns_the_header_section() {
        let (envelope, content) = report("bob@sender.example", None, Some("rfc822;Ann+40example.org")).unwrap();
        assert_eq!(envelope.sender, ReversePath::Null);
        assert_eq!(envelope.recipients.first().unwrap().address.as_str(), "bob@sender.example");
        let text = String::from_utf8(content.to_bytes().to_vec()).unwrap();
        for part in [
            "Action: failed\r\n",
            "Status: 5.1.1\r\n",
            "Final-Recipient: rfc822; ann@example.org\r\n",
            "Original-Recipient: rfc822;Ann@example.org\r\n",
            "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
            "Subject: hi\r\n",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("secret"));
    }

    #[test]
    fn nobody_is_told_without_a_sender_or_against_their_wish() {
        assert!(report("", None, None).is_none());
        assert!(report("bob@sender.example", Some(Notify::NEVER), None).is_none());
    }

    #[test]
    fn xtext_cannot_break_a_line() {
        let (_, content) = report("bob@sender.example", None, Some("rfc822;x+0D+0ABcc:+20y")).unwrap();
        let text = String::from_utf8(content.to_bytes().to_vec()).unwrap();
        assert!(text.contains("Original-Recipient: rfc822;x  Bcc: y\r\n"));
    }
}
