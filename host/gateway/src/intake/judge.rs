//! Decides what becomes of a whole mail: asks its domain's chain, then makes it durable. Only then is it ours.
//!
//! Knows nothing of the session's further way.

use super::{policy::Policy, receiver::MailFacts, replies, session::Intake, trace_fields};
use crate::{domains::DomainState, memory::Share};
use mail::{Authenticity, CallRecord, Content, Envelope, Reply, SessionFacts, Transaction, Verdict};
use queue::{EnqueueError, InitialState, NewMail};
use tracing::{info, warn};

/// What came of a whole mail.
pub(super) struct Judged {
    pub(super) reply: Reply,
    pub(super) outcome: &'static str,
    pub(super) calls: Vec<CallRecord>,
    pub(super) authenticity: Authenticity,
}

impl Judged {
    pub(super) fn plain(reply: Reply, outcome: &'static str) -> Self {
        Self::asked(reply, outcome, Vec::new())
    }

    fn asked(reply: Reply, outcome: &'static str, calls: Vec<CallRecord>) -> Self {
        Self { reply, outcome, calls, authenticity: Authenticity::default() }
    }
}

impl Intake {
    /// Asks the domain's chain, and takes the mail over if it may stay: then it is durable.
    pub(super) async fn judge(
        &self,
        session: &SessionFacts,
        facts: MailFacts,
        policy: Policy,
        mut content: Content,
        share: Option<Share>,
    ) -> Judged {
        let Policy { domain, mut transaction, quarantine, .. } = policy;
        if transaction.recipients.is_empty() {
            return Judged::plain(self.discarded(session, &transaction, "by a plugin, at RCPT"), "discarded");
        }
        let verdict = match quarantine {
            Some(reason) => Verdict::Quarantine(reason),
            None if domain.chain.hooks().on_message => domain.chain.on_message(&mut transaction, &mut content).await,
            None => Verdict::Pass,
        };
        let (id, size, calls) = (transaction.id, content.len(), std::mem::take(&mut transaction.calls));
        let discarded = |reason| {
            let reply = self.discarded(session, &transaction, reason);
            Judged::asked(reply, "discarded", calls.clone())
        };
        let state = match verdict {
            Verdict::Pass | Verdict::Accept if transaction.recipients.is_empty() => {
                return discarded("no recipient left");
            }
            Verdict::Pass | Verdict::Accept => InitialState::Queued,
            Verdict::Quarantine(reason) => InitialState::Quarantined { reason },
            Verdict::Discard => return discarded("by a plugin"),
            Verdict::TempFail(reply) | Verdict::Reject(reply) => {
                let outcome = if reply.is_permanent() { "rejected" } else { "tempfailed" };
                info!(%id, domain = %transaction.domain, sender = %transaction.sender, peer = %session.peer, size, outcome, %reply);
                return Judged::asked(reply, outcome, calls);
            }
        };
        let new = self.new_mail(session, facts, &domain, transaction, content, state);
        let (domain, sender, recipients) =
            (new.domain.clone(), new.envelope.sender.clone(), new.envelope.recipients.len());
        let (outcome, event) = match &new.state {
            InitialState::Queued => ("queued", ("queued", None)),
            InitialState::Quarantined { reason } | InitialState::Held { reason } => {
                ("quarantined", ("held", Some(reason.clone())))
            }
        };
        match self.queue.enqueue(new).await {
            Ok(mut claim) => {
                if share.is_none() {
                    // A large mail is read as it goes out: until then it keeps no memory.
                    claim.leave_on_disk();
                }
                info!(%id, %domain, %sender, recipients, peer = %session.peer, size, outcome);
                for recipient in &claim.mail.envelope.recipients {
                    self.stories.tell(event.0, &claim.mail, &recipient.address, event.1.as_deref());
                }
                self.deliverer.submit(claim, share);
                Judged::asked(replies::queued(id), outcome, calls)
            }
            Err(error) => {
                warn!(%id, %domain, %sender, peer = %session.peer, size, outcome = "tempfailed", %error);
                Judged::asked(enqueue_refusal(&error), "tempfailed", calls)
            }
        }
    }

    fn new_mail(
        &self,
        session: &SessionFacts,
        facts: MailFacts,
        domain: &DomainState,
        transaction: Transaction,
        content: Content,
        state: InitialState,
    ) -> NewMail {
        let now = self.clock.now();
        let envelope = Envelope {
            sender: transaction.sender,
            recipients: transaction.recipients,
            body: facts.body,
            smtputf8: facts.smtputf8,
            require_tls: facts.require_tls,
            ret: facts.ret,
            envid: facts.envid,
        };
        let sole = match envelope.recipients.as_slice() {
            [only] => Some(&only.address),
            _ => None,
        };
        let received = trace_fields::received(
            session,
            facts.esmtp,
            self.hostname.as_str(),
            transaction.id,
            sole,
            facts.smtputf8,
            self.clock.date(),
        );
        NewMail {
            id: transaction.id,
            domain: transaction.domain,
            content: content.with_fields_on_top(received.as_bytes()),
            envelope,
            attributes: transaction.attributes,
            received_at: now,
            expires_at: now.plus(domain.config.retention),
            state,
        }
    }

    fn discarded(&self, session: &SessionFacts, transaction: &Transaction, reason: &str) -> Reply {
        info!(id = %transaction.id, domain = %transaction.domain, sender = %transaction.sender, peer = %session.peer, outcome = "discarded", reason);
        replies::queued(transaction.id)
    }
}

fn enqueue_refusal(error: &EnqueueError) -> Reply {
    match error {
        EnqueueError::Full => replies::FULL,
        _ => replies::UNHEALTHY,
    }
}
