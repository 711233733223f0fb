//! What becomes of a mail whose next hop cannot be reached: the next of the list, a plugin's word, or the
//! domain's configured handling.

use super::{
    deliver::Deliverer,
    job::{Job, Stage},
    lane::Away,
    route,
    settle::{self, Awaited},
};
use crate::domains::DomainState;
use mail::{OfflineAction, Timestamp};
use std::{sync::Arc, time::Duration};

/// A mail that could go elsewhere too does not only wait for its first next hop.
const AGAIN: Duration = Duration::from_secs(300);

fn again(job: &Job, now: Timestamp) -> Option<Timestamp> {
    job.has_alternatives().then(|| now.plus(AGAIN))
}

impl Deliverer {
    /// The next hop is away: the next of the list, else what the domain or its plugin says.
    pub(super) fn unreachable(self: &Arc<Self>, mut job: Job, away: &Away) {
        if job.at + 1 < job.hops.len() {
            job.at += 1;
            return self.hand_over(job);
        }
        let domain = self.domains.get(&job.claim.mail.domain);
        match domain {
            Some(domain) if job.stage == Stage::Routed && domain.chain.hooks().on_offline => {
                let (this, away) = (self.clone(), away.clone());
                self.tasks.spawn(async move { this.ask_offline(job, domain, away).await });
            }
            Some(domain) if job.stage == Stage::Routed => {
                let actions = job.claim.recipients.iter().map(|r| (r.index, OfflineAction::Default)).collect();
                self.act_offline(job, &domain, away, actions);
            }
            _ => {
                let awaited = job.awaited().cloned();
                let now = self.clock.now();
                let again = again(&job, now);
                let settled = job
                    .claim
                    .recipients
                    .iter()
                    .map(|r| (r.index, settle::wait(r, &away.failure, awaited.clone(), again, now)))
                    .collect();
                self.settle(job.claim, settled, job.notes, job.hold);
            }
        }
    }

    async fn ask_offline(self: &Arc<Self>, mut job: Job, domain: Arc<DomainState>, away: Away) {
        let mut actions = Vec::with_capacity(job.claim.recipients.len());
        let content = self.in_turn(&job.claim);
        for recipient in &mut job.claim.recipients {
            let mut facts = route::facts(&job.claim.mail, recipient, &content, &job.notes, Some(away.since));
            let action = domain.chain.on_offline(&mut facts, &away.failure).await;
            job.notes.take_from(facts, &job.claim.mail, recipient);
            actions.push((recipient.index, action));
        }
        self.stories.calls(&job.claim.mail, std::mem::take(&mut job.notes.calls));
        self.act_offline(job, &domain, &away, actions);
    }

    fn act_offline(self: &Arc<Self>, job: Job, domain: &DomainState, away: &Away, actions: Vec<(u32, OfflineAction)>) {
        let now = self.clock.now();
        let Some(awaited) = job.awaited().cloned() else { return self.queue.unclaim(job.claim) };
        let again = again(&job, now);
        let decide = |(index, action): (u32, OfflineAction)| {
            let recipient = job.claim.recipients.iter().find(|r| r.index == index)?;
            Some((
                index,
                settle::while_away(recipient, action, domain, &Awaited { hop: &awaited, again }, &away.failure, now),
            ))
        };
        let decisions: Vec<_> = actions.into_iter().filter_map(decide).collect();
        for (index, _) in decisions.iter().filter(|(_, decision)| matches!(decision, route::Decision::Relay(_))) {
            if let Some(recipient) = job.claim.recipients.iter().find(|r| r.index == *index) {
                let reason = away.failure.to_string();
                self.stories.tell("redirected", &job.claim.mail, &recipient.recipient.address, Some(&reason));
            }
        }
        let stage = Stage::Redirected { away: awaited };
        self.carry_out(job.claim, decisions, job.tls, &stage, &job.hold, &job.notes);
    }
}
