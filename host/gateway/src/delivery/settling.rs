//! Writes outcomes durably, in the background, each together with the notification that it calls for.
//!
//! Nothing is deleted before its outcome is durable.

use super::{
    deliver::Deliverer,
    job::{Held, Notes},
    notify::Owed,
    settle,
};
use queue::{Claim, Filter, Settled, Settlement};
use std::sync::Arc;
use tracing::warn;

impl Deliverer {
    /// Durable, in the background; the queue gives the recipients out again if it cannot be written.
    pub(super) fn settle(
        self: &Arc<Self>,
        claim: Claim,
        mut outcomes: Vec<(u32, Settled)>,
        notes: Notes,
        hold: Arc<Held>,
    ) {
        self.bring_notices_forward(&claim, &mut outcomes);
        settle::log(&claim, &outcomes);
        self.stories.settled(&claim, &outcomes);
        let this = self.clone();
        self.tasks.spawn(async move {
            this.settle_durably(claim, outcomes, notes).await;
            // Under way until it is written: what cannot be written must not be replaced by more.
            drop(hold);
        });
    }

    pub(super) async fn settle_durably(self: &Arc<Self>, claim: Claim, outcomes: Vec<(u32, Settled)>, notes: Notes) {
        let awaited = outcomes.iter().find_map(|(_, settled)| match settled {
            // After an attempt the next hop was there: who is held has a time of its own, or waits for a closed lane.
            Settled::Held { waiting_for, .. } if !notes.tried || notes.closed => waiting_for.clone(),
            // It has a time of its own, and is in no hurry.
            _ => None,
        });
        let Owed { dsn, delay_told } = self.owed(&claim, &outcomes, notes.passed_on).await;
        let Notes { attributes, expires_at, .. } = notes;
        let (id, domain) = (claim.mail.id, claim.mail.domain.clone());
        match self.queue.settle(Settlement { claim, outcomes, dsn, attributes, expires_at, delay_told }).await {
            Ok(Some(dsn)) => self.submit(dsn, None),
            Ok(None) => {}
            Err(error) => warn!(%error, "an outcome could not be written: the mail may be delivered again"),
        }
        let Some(hop) = awaited else { return };
        if !self.is_away(&hop, &domain) && !self.switches.get(&domain).offline {
            // The next hop may have come back before this was written.
            self.queue.wake(&hop, self.clock.now(), |waiting| *waiting == domain);
        } else if self.domains.get(&domain).is_some_and(|domain| domain.reachable(&hop).is_none())
            && !self.reroutes.lead_to(&hop)
        {
            // A reload that took the next hop away did not find it waiting yet.
            self.queue.retry(&Filter { id: Some(id), waiting_for: Some(hop), ..Filter::default() }).await;
        }
    }
}
