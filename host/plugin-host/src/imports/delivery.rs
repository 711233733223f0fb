//! Answers for `delivery` and `failure`: one queued recipient, and why its next hop is away.

use super::outside;
use crate::{
    bindings::waypost::plugin::{
        delivery,
        failure::{self, Kind},
        types::{Error, Reply},
    },
    state::State,
    subject::Subject,
};
use mail::{Failure, FailureKind, Timestamp};
use std::time::Duration;

/// However far a plugin moves it, a mail expires within a year of its arrival.
const LONGEST_LIFETIME: Duration = Duration::from_secs(365 * 86_400);

impl delivery::Host for State {
    fn id(&mut self) -> String {
        self.called("delivery.id");
        self.call.subject.delivery().map_or_else(String::new, |d| d.id.to_string())
    }
    fn domain(&mut self) -> String {
        self.called("delivery.domain");
        self.profile.domain.as_str().to_owned()
    }
    fn sender(&mut self) -> Option<String> {
        self.called("delivery.sender");
        Some(self.call.subject.delivery()?.sender.mailbox()?.as_str().to_owned())
    }
    fn recipient(&mut self) -> String {
        self.called("delivery.recipient");
        self.call.subject.delivery().map_or_else(String::new, |d| d.recipient.as_str().to_owned())
    }
    fn queued_at(&mut self) -> u64 {
        self.called("delivery.queued-at");
        self.call.subject.delivery().map_or(0, |d| d.queued_at.as_secs())
    }
    fn expires_at(&mut self) -> u64 {
        self.called("delivery.expires-at");
        let now = self.call.subject.delivery().map(|d| d.expires_at);
        self.call.staged.expires_at.or(now).map_or(0, Timestamp::as_secs)
    }
    fn attempts(&mut self) -> u32 {
        self.called("delivery.attempts");
        self.call.subject.delivery().map_or(0, |d| d.attempts)
    }
    fn offline_since(&mut self) -> Option<u64> {
        self.called("delivery.offline-since");
        self.call.subject.delivery()?.offline_since.map(Timestamp::as_secs)
    }
    fn set_expiry(&mut self, at: u64) -> Result<(), Error> {
        self.called("delivery.set-expiry");
        let delivery = self.call.subject.attempt().ok_or_else(|| outside("on-route and on-offline"))?;
        let at = Timestamp::from_secs(at);
        if at < delivery.queued_at {
            return Err(Error::Invalid("the time lies before the mail was queued".to_owned()));
        }
        let latest = delivery.queued_at.plus(LONGEST_LIFETIME);
        if at > latest {
            return Err(Error::Limit(format!("the latest is {}", latest.as_secs())));
        }
        self.call.staged.expires_at = Some(at);
        Ok(())
    }
}

impl State {
    fn failure(&self) -> Option<&Failure> {
        match &self.call.subject {
            Subject::Offline { failure, .. } => Some(failure),
            _ => None,
        }
    }
}

impl failure::Host for State {
    fn what(&mut self) -> Kind {
        self.called("failure.what");
        match self.failure().map(|failure| failure.kind) {
            Some(FailureKind::Dns) => Kind::Dns,
            Some(FailureKind::Connect) => Kind::Connect,
            Some(FailureKind::Tls) => Kind::Tls,
            Some(FailureKind::Identity) => Kind::Identity,
            Some(FailureKind::Timeout) => Kind::Timeout,
            Some(FailureKind::TempFail) => Kind::Tempfail,
            Some(FailureKind::PermFail) => Kind::Permfail,
            Some(FailureKind::Protocol) => Kind::Protocol,
            Some(FailureKind::Other) | None => Kind::Other,
        }
    }
    fn detail(&mut self) -> String {
        self.called("failure.detail");
        self.failure().map_or_else(String::new, |failure| failure.detail.clone())
    }
    fn next_hop(&mut self) -> Option<String> {
        self.called("failure.next-hop");
        Some(self.failure()?.next_hop.as_ref()?.to_string())
    }
    fn answered(&mut self) -> Option<Reply> {
        self.called("failure.answered");
        let reply = self.failure()?.reply.as_ref()?;
        Some(Reply {
            code: reply.code,
            enhanced: reply.enhanced.map(|code| code.to_string()),
            text: reply.text.to_string(),
        })
    }
}
