//! Writes a report as a mail of its own (RFC 3464 §2, RFC 6522).

use super::{
    Action, Told,
    encoding::Form,
    explanation::{self, About},
    fields,
    returned::returned,
};
use mail::{BodyKind, Content, Envelope, MailId, Mailbox, Notify, Recipient, Ret, ReversePath, Timestamp};

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
    pub told: &'a [Told],
}

impl Report<'_> {
    /// None where nobody may be told.
    pub fn write(&self) -> Option<(Envelope, Content)> {
        let sender = self.envelope.sender.mailbox().filter(|_| !self.told.is_empty())?;
        // An address in UTF-8 needs SMTPUTF8 on the way back; to all others a report goes that passes everywhere.
        let form = if sender.needs_smtputf8() { Form::Utf8 } else { Form::Ascii };
        let boundary = format!("=_{}", self.id);
        let mut bytes = self.header(sender, &boundary).into_bytes();
        self.explanation(form, &boundary, &mut bytes);
        bytes.extend_from_slice(self.status(form, &boundary).as_bytes());
        let failed = self.told.iter().any(|told| matches!(told.action, Action::Failed(_)));
        // RFC 8689 §4.3: what required TLS is not shown to those on the way back.
        let whole = failed && self.envelope.ret == Some(Ret::Full) && !self.envelope.require_tls;
        let part = returned(form, self.content, whole);
        bytes.extend_from_slice(format!("\r\n--{boundary}\r\n{}", part.header).as_bytes());
        bytes.extend_from_slice(&part.bytes);
        bytes.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let content = Content::new(bytes.into());
        let body = if content.is_8bit() { BodyKind::EightBitMime } else { BodyKind::SevenBit };
        // RFC 3461 §6.2: nobody is told of a notification.
        let recipient = Recipient { notify: Some(Notify::NEVER), ..Recipient::new(sender.clone()) };
        let envelope = Envelope {
            sender: ReversePath::Null,
            recipients: vec![recipient],
            body,
            smtputf8: form == Form::Utf8,
            require_tls: self.envelope.require_tls,
            ret: None,
            envid: None,
        };
        Some((envelope, content))
    }

    fn header(&self, to: &Mailbox, boundary: &str) -> String {
        let (host, date, id) = (self.hostname, self.now.to_rfc5322(), self.id);
        let subject = explanation::subject(self.told);
        format!(
            "From: Mail Delivery System <MAILER-DAEMON@{host}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {date}\r\n\
             Message-ID: <{id}@{host}>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"\r\n\r\n"
        )
    }

    fn explanation(&self, form: Form, boundary: &str, out: &mut Vec<u8>) {
        let about = About { hostname: self.hostname, arrived: self.arrived, id: self.original_id };
        let text = explanation::explanation(form, self.told, &about);
        let encoding = if text.is_ascii() { "7bit" } else { "8bit" };
        let header = format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
        );
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(text.as_bytes());
    }

    fn status(&self, form: Form, boundary: &str) -> String {
        let (kind, encoding) = match form {
            Form::Ascii => ("message/delivery-status", ""),
            Form::Utf8 => ("message/global-delivery-status", "Content-Transfer-Encoding: 8bit\r\n"),
        };
        let mut text = format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\n{encoding}\r\n");
        text.push_str(&fields::per_message(form, self.hostname, self.envelope.envid.as_deref(), self.arrived));
        self.told.iter().for_each(|told| text.push_str(&fields::per_recipient(form, told, self.now)));
        text
    }
}
