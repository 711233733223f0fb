//! A real mail with a code in it, and whether somebody who has read it says the code again.
//!
//! The code is remembered by the queue, so that it can be confirmed after a restart.

use mail::{Content, Domain, Envelope, MailId, Mailbox, Recipient, Timestamp};
use queue::{InitialState, NewMail, Queue};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long the mail is tried.
const LIFETIME: Duration = Duration::from_secs(86_400);

/// What is remembered of the last one of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sent {
    pub id: String,
    pub code: String,
    pub to: String,
    pub sent_at: String,
    /// What the domain's next hops had to prove then: another route is not confirmed by it.
    #[serde(default)]
    pub proof: String,
}

#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error("{0} is not an address of {1}: say one whose mail you can read")]
    Foreign(String, Domain),
    #[error("{0}")]
    Address(String),
    #[error("no code was sent to {0} from here: waypost probe {0} --message TO sends one")]
    NoneSent(Domain),
    #[error("that is not the code of the last mail, which was sent to {to} at {sent_at}")]
    Wrong { to: String, sent_at: String },
    #[error("the next hops of {0}, their tls or [identity] are others than when the code was sent: send another")]
    Moved(Domain),
    #[error("the queue cannot be read or written now: {0}")]
    Store(String),
}

/// From postmaster at the gateway's own name, to `to`, which must be of `domain`.
pub fn compose(
    hostname: &Domain,
    domain: &Domain,
    proof: String,
    to: &str,
    now: Timestamp,
) -> Result<(NewMail, Sent), MessageError> {
    let wrong = |error: mail::AddressError| MessageError::Address(error.to_string());
    let to: Mailbox = to.parse().map_err(wrong)?;
    if to.domain_str() != domain.as_str() {
        return Err(MessageError::Foreign(to.to_string(), domain.clone()));
    }
    let sender = format!("postmaster@{hostname}");
    let (id, code) = (MailId::new(now, fastrand::u128(..)), code());
    let text = format!(
        "From: <{sender}>\r\nTo: <{to}>\r\nSubject: waypost probe {code}\r\nDate: {}\r\nMessage-ID: <{id}@{hostname}>\r\n\
         Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
         This mail shows that the way from {hostname} to this mailbox works.\r\n\r\n\
         Tell the gateway so:\r\n\r\n    waypost probe {domain} --confirm {code}\r\n",
        now.to_rfc5322()
    );
    let mut envelope = Envelope {
        sender: sender.parse().map_err(wrong)?,
        recipients: vec![Recipient::new(to.clone())],
        ..Envelope::default()
    };
    envelope.smtputf8 = envelope.has_utf8_address();
    let mail = NewMail {
        id,
        domain: domain.clone(),
        envelope,
        content: Content::new(text.into_bytes().into()),
        attributes: mail::Attributes::default(),
        received_at: now,
        expires_at: now.plus(LIFETIME),
        state: InitialState::Queued,
    };
    let sent = Sent { id: id.to_string(), code, to: to.to_string(), sent_at: now.to_rfc3339(), proof };
    Ok((mail, sent))
}

/// Ten of Crockford's base 32: nobody confuses them when they are read out.
fn code() -> String {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    (0..10).filter_map(|_| fastrand::choice(LETTERS)).map(|letter| char::from(*letter)).collect()
}

pub fn remember(queue: &Queue, domain: &Domain, sent: &Sent) -> Result<(), MessageError> {
    let store = |error: String| MessageError::Store(error);
    let text = serde_json::to_vec(sent).map_err(|error| store(error.to_string()))?;
    queue.set_fact(&key(domain), Some(&text)).map_err(|error| store(error.to_string()))
}

/// What was sent, where `code` is its code.
pub fn confirm(queue: &Queue, domain: &Domain, proof: &str, code: &str) -> Result<Sent, MessageError> {
    let found = queue.fact(&key(domain)).map_err(|error| MessageError::Store(error.to_string()))?;
    let sent: Option<Sent> = found.and_then(|text| serde_json::from_slice(&text).ok());
    let sent = sent.ok_or_else(|| MessageError::NoneSent(domain.clone()))?;
    if sent.code.eq_ignore_ascii_case(code.trim()) {
        if sent.proof == proof { Ok(sent) } else { Err(MessageError::Moved(domain.clone())) }
    } else {
        Err(MessageError::Wrong { to: sent.to, sent_at: sent.sent_at })
    }
}

fn key(domain: &Domain) -> String {
    format!("probe-message/{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_in_the_subject_and_the_text_and_is_known_again() {
        let now = Timestamp::from_secs(1_700_000_000);
        let (hostname, domain): (Domain, Domain) = ("gw.test".parse().unwrap(), "example.org".parse().unwrap());
        let queue = Queue::open_in_memory(queue::Options::default(), now).unwrap();
        assert!(matches!(confirm(&queue, &domain, "p", "X"), Err(MessageError::NoneSent(_))));
        let (mail, sent) = compose(&hostname, &domain, "p".into(), "ann@example.org", now).unwrap();
        let text = String::from_utf8([&mail.content.header()[..], &mail.content.body()[..]].concat()).unwrap();
        assert!(text.contains(&format!("Subject: waypost probe {}\r\n", sent.code)));
        assert!(text.contains(&format!("waypost probe example.org --confirm {}\r\n", sent.code)));
        assert_eq!(sent.code.len(), 10);
        remember(&queue, &domain, &sent).unwrap();
        assert_eq!(confirm(&queue, &domain, "p", &sent.code.to_lowercase()).unwrap(), sent);
        assert!(matches!(confirm(&queue, &domain, "another route", &sent.code), Err(MessageError::Moved(_))));
        assert!(matches!(confirm(&queue, &domain, "p", "X"), Err(MessageError::Wrong { .. })));
    }

    #[test]
    fn a_mail_goes_to_nobody_of_another_domain() {
        let (hostname, domain) = ("gw.test".parse().unwrap(), "example.org".parse().unwrap());
        for to in ["ann@example.net", "ann", "ann@example.org.example.net"] {
            assert!(compose(&hostname, &domain, "p".into(), to, Timestamp::from_secs(1)).is_err(), "{to}");
        }
    }
}
