//! Tells senders what became of their mail: makes the notification that goes into the commit of an outcome.
//!
//! What is owed is decided in `dsn`; here it is kept within the caps, counted and noted.

use super::{deliver::Deliverer, settle};
use crate::dsn::{self, Action, Caps, Limits, Report, Told};
use mail::{Content, Domain, MailId, Timestamp};
use queue::{Claim, ClaimedRecipient, InitialState, NewMail, Settled};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tracing::{info, warn};

/// How long a notification is tried.
const LIFETIME: Duration = Duration::from_secs(5 * 86400);

pub struct Notifier {
    caps: Caps,
    /// In the order of `Action::NAMES`, by recipient.
    told: [AtomicU64; 4],
    capped: AtomicU64,
    dropped: AtomicU64,
}

/// Since the start, by recipient.
pub struct NotifierCounts {
    /// With the word of RFC 3464 for each.
    pub told: [(&'static str, u64); 4],
    /// Not told, because there were too many notifications.
    pub capped: u64,
    /// Notifications that could not be delivered themselves.
    pub dropped: u64,
}

/// What goes into a commit.
#[derive(Default)]
pub struct Owed {
    pub dsn: Option<NewMail>,
    /// Recipients of whose delay need not be told again, by index.
    pub delay_told: Vec<u32>,
}

impl Notifier {
    pub fn new(limits: Limits) -> Self {
        Self {
            caps: Caps::new(limits),
            told: Default::default(),
            capped: AtomicU64::default(),
            dropped: AtomicU64::default(),
        }
    }

    pub fn counts(&self) -> NotifierCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut told = Action::NAMES.map(|name| (name, 0));
        for ((_, sum), counter) in told.iter_mut().zip(&self.told) {
            *sum = count(counter);
        }
        NotifierCounts { told, capped: count(&self.capped), dropped: count(&self.dropped) }
    }

    fn count(&self, told: &[Told]) {
        for told in told {
            let place = Action::NAMES.iter().position(|name| *name == told.action.as_str());
            if let Some(counter) = place.and_then(|place| self.told.get(place)) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Deliverer {
    fn notice_at(&self, claim: &Claim) -> Timestamp {
        let wait = self.domains.get(&claim.mail.domain).map_or(dsn::DELAY_NOTICE, |domain| domain.config.delay_notice);
        dsn::notice_at(claim.mail.id, claim.mail.received_at, wait)
    }

    /// What waits comes back when its sender is to be told so.
    pub(super) fn bring_notices_forward(&self, claim: &Claim, outcomes: &mut [(u32, Settled)]) {
        let (notice_at, now) = (self.notice_at(claim), self.clock.now());
        for (index, settled) in outcomes {
            if let Some(recipient) = recipient(claim, *index) {
                dsn::bring_forward(recipient, settled, notice_at, now);
            }
        }
    }

    /// `passed_on`: the next hop has the duty to notify together with the mail.
    pub(super) async fn owed(&self, claim: &Claim, outcomes: &[(u32, Settled)], passed_on: bool) -> Owed {
        let (notice_at, now) = (self.notice_at(claim), self.clock.now());
        let Some(sender) = claim.mail.envelope.sender.mailbox() else {
            self.note_dropped(claim, outcomes);
            return Owed::default();
        };
        let (mut told, mut delay_told) = (Vec::new(), Vec::new());
        for (index, settled) in outcomes {
            let Some(recipient) = recipient(claim, *index) else { continue };
            let Some(action) = dsn::action(recipient, settled, passed_on, notice_at, now) else { continue };
            if matches!(action, Action::Delayed { .. }) {
                delay_told.push(*index);
            }
            told.push(Told { recipient: recipient.recipient.clone(), action });
        }
        if told.is_empty() {
            return Owed::default();
        }
        if let Err(cap) = self.notifier.caps.take(sender, now) {
            warn!(id = %claim.mail.id, %sender, recipients = told.len(), outcome = "not told", reason = %cap);
            self.stories.note(claim.mail.id, || format!("{sender} is not told: {cap}"));
            self.notifier.capped.fetch_add(told.len() as u64, Ordering::Relaxed);
            return Owed { dsn: None, delay_told };
        }
        let dsn = self.notification(claim, &told, now).await;
        if let Some(dsn) = &dsn {
            self.notifier.count(&told);
            self.stories.notified(claim.mail.id, dsn);
            for Told { recipient, action } in &told {
                info!(id = %claim.mail.id, notification = %dsn.id, to = %sender, recipient = %recipient.address, action = action.as_str());
            }
        }
        Owed { dsn, delay_told }
    }

    async fn notification(&self, claim: &Claim, told: &[Told], now: Timestamp) -> Option<NewMail> {
        // Where it cannot be read the sender is told all the same, without a copy.
        let content = self.content(claim).await.unwrap_or_default();
        notification(claim, told, &content, self.hostname.as_str(), now)
    }

    /// Never a notification about a notification.
    fn note_dropped(&self, claim: &Claim, outcomes: &[(u32, Settled)]) {
        let failed = outcomes.iter().filter(|(_, settled)| matches!(settled, Settled::Failed(_))).count();
        if failed > 0
            && let Some(about) = claim.mail.attributes.get(settle::DSN_ATTRIBUTE)
        {
            warn!(id = %claim.mail.id, %about, outcome = "dropped", reason = "the notification cannot be delivered");
            self.notifier.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn recipient(claim: &Claim, index: u32) -> Option<&ClaimedRecipient> {
    claim.recipients.iter().find(|recipient| recipient.index == index)
}

fn notification(claim: &Claim, told: &[Told], content: &Content, hostname: &str, now: Timestamp) -> Option<NewMail> {
    let id = MailId::new(now, fastrand::u128(..));
    let report = Report {
        hostname,
        id,
        now,
        arrived: claim.mail.received_at,
        original_id: claim.mail.id,
        envelope: &claim.mail.envelope,
        content,
        told,
    };
    let (envelope, content) = report.write()?;
    let domain: Domain = envelope.recipients.first()?.address.domain();
    let attributes = [(settle::DSN_ATTRIBUTE.to_owned(), claim.mail.id.to_string())].into();
    Some(NewMail {
        id,
        domain,
        envelope,
        content,
        attributes,
        received_at: now,
        expires_at: now.plus(LIFETIME),
        state: InitialState::Queued,
    })
}
