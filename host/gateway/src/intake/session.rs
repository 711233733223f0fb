//! Answers one client: MAIL, RCPT, and the end of the data. What it accepts is durable first.
//!
//! Knows no sockets and no SMTP syntax: it gets parsed questions and gives replies.

use super::{
    receiver::{MailFacts, Receiver},
    replies, trace_fields,
};
use crate::{
    clock::Clock,
    delivery::Deliverer,
    domains::{DomainState, Domains},
    memory::{Budget, Share},
};
use bytes::{Bytes, BytesMut};
use mail::{Content, Domain, Envelope, MailId, Mailbox, Recipient, Reply, SessionFacts, Transaction, Verdict};
use queue::{EnqueueError, InitialState, NewMail, Queue};
use std::sync::Arc;
use tracing::{info, warn};

/// In bytes; copying less than this costs nothing that could be measured.
const SMALL: usize = 16 * 1024;

/// What all sessions share.
pub struct Intake {
    pub hostname: Domain,
    pub domains: Arc<Domains>,
    pub queue: Queue,
    pub deliverer: Arc<Deliverer>,
    pub budget: Arc<Budget>,
    pub clock: Clock,
}

pub struct Session {
    intake: Arc<Intake>,
    facts: Arc<SessionFacts>,
    mail: Option<Mail>,
}

/// One transaction under way.
struct Mail {
    facts: MailFacts,
    id: MailId,
    policy: Option<Policy>,
    data: Data,
}

/// From the first accepted recipient on.
struct Policy {
    domain: Arc<DomainState>,
    transaction: Transaction,
    /// A plugin chose at RCPT that the whole mail is held.
    quarantine: Option<String>,
    /// A recipient was accepted that gets nothing.
    discarded: bool,
}

#[derive(Default)]
struct Data {
    first: Bytes,
    rest: BytesMut,
    share: Option<Share>,
    over_budget: bool,
}

impl Session {
    pub fn new(intake: Arc<Intake>, facts: SessionFacts) -> Self {
        Self { intake, facts: Arc::new(facts), mail: None }
    }

    fn update(&mut self, change: impl FnOnce(&mut SessionFacts)) {
        change(Arc::make_mut(&mut self.facts));
        self.mail = None;
    }
}

impl Receiver for Session {
    fn hello(&mut self, name: String) {
        self.update(|facts| facts.helo = Some(name));
    }

    fn tls(&mut self, version: Option<String>) {
        self.update(|facts| {
            facts.tls_version = version;
            facts.helo = None;
        });
    }

    fn reset(&mut self) {
        self.mail = None;
    }

    fn mail(&mut self, facts: MailFacts) -> Reply {
        if let Some(reply) = store_refusal(&self.intake.queue) {
            return reply;
        }
        let now = self.intake.clock.now();
        self.mail = Some(Mail { facts, id: MailId::new(now, fastrand::u128(..)), policy: None, data: Data::default() });
        replies::SENDER_OK
    }

    async fn recipient(&mut self, recipient: Recipient) -> Reply {
        let Some(mail) = &mut self.mail else { return replies::UNHEALTHY };
        let recipient = self.intake.own_postmaster(mail, recipient);
        // S11: `%`, `!` and `@` in a local part ask some servers to relay onwards.
        if recipient.address.local_part().contains(['%', '!', '@']) {
            return replies::routed_address();
        }
        let domain = recipient.address.domain();
        let Some(state) = self.intake.domains.get(&domain) else {
            return replies::not_ours(domain.as_str());
        };
        if !state.is_proven() {
            return replies::unproven(&domain);
        }
        let mut policy = match mail.policy.take() {
            None => Policy::new(&self.facts, mail, state, domain),
            Some(policy) if policy.transaction.domain == domain => policy,
            Some(policy) => {
                mail.policy = Some(policy);
                return replies::OTHER_DOMAIN;
            }
        };
        let verdict = policy.ask(&recipient.address).await;
        let reply = policy.apply(verdict, recipient);
        // A transaction without a recipient binds no domain yet.
        if policy.is_bound() {
            mail.policy = Some(policy);
        }
        reply
    }

    fn data_start(&mut self) -> Reply {
        store_refusal(&self.intake.queue).unwrap_or(replies::START_MAIL)
    }

    fn body(&mut self, bytes: Bytes) {
        let Some(mail) = &mut self.mail else { return };
        let share = mail.data.share.get_or_insert_with(|| self.intake.budget.share());
        if mail.data.over_budget || !share.grow(bytes.len() as u64) {
            mail.data = Data { over_budget: true, ..Data::default() };
            return;
        }
        mail.data.push(bytes);
    }

    /// The reply is 250 only once the mail is on stable storage.
    async fn end_of_message(&mut self) -> Reply {
        let Some(Mail { facts, id, policy: Some(policy), data }) = self.mail.take() else {
            return replies::UNHEALTHY;
        };
        if data.over_budget {
            warn!(%id, used = self.intake.budget.used(), "refused: too much mail in memory");
            return replies::TOO_BUSY;
        }
        let Data { first, rest, share, .. } = data;
        let content = Content::new(if rest.is_empty() { first } else { rest.freeze() });
        if trace_fields::is_looping(&content) {
            info!(%id, domain = %policy.transaction.domain, outcome = "rejected", reason = "loop");
            return replies::LOOP;
        }
        self.intake.judge(&self.facts, facts, policy, content, share).await
    }
}

impl Intake {
    /// RFC 5321 §4.5.1: `<postmaster>` and the gateway's own postmaster must reach somebody: the
    /// postmaster of the transaction's domain, else of the first domain.
    fn own_postmaster(&self, mail: &Mail, recipient: Recipient) -> Recipient {
        let address = &recipient.address;
        let ours =
            address.domain_str() == self.hostname.as_str() && address.local_part().eq_ignore_ascii_case("postmaster");
        if !ours || self.domains.get(&self.hostname).is_some() {
            return recipient;
        }
        let domain = match &mail.policy {
            Some(policy) => Some(policy.transaction.domain.clone()),
            None => self.domains.all().keys().next().cloned(),
        };
        match domain.map(|domain| Mailbox::new(address.local_part(), &domain)) {
            Some(Ok(address)) => Recipient { address, ..recipient },
            _ => recipient,
        }
    }

    async fn judge(
        &self,
        session: &SessionFacts,
        facts: MailFacts,
        policy: Policy,
        mut content: Content,
        share: Option<Share>,
    ) -> Reply {
        let Policy { domain, mut transaction, quarantine, .. } = policy;
        if transaction.recipients.is_empty() {
            return self.discarded(session, &transaction, "by a plugin, at RCPT");
        }
        let verdict = match quarantine {
            Some(reason) => Verdict::Quarantine(reason),
            None if domain.chain.hooks().on_message => domain.chain.on_message(&mut transaction, &mut content).await,
            None => Verdict::Pass,
        };
        let (id, size) = (transaction.id, content.len());
        let state = match verdict {
            Verdict::Pass | Verdict::Accept if transaction.recipients.is_empty() => {
                return self.discarded(session, &transaction, "no recipient left");
            }
            Verdict::Pass | Verdict::Accept => InitialState::Queued,
            Verdict::Quarantine(reason) => InitialState::Quarantined { reason },
            Verdict::Discard => return self.discarded(session, &transaction, "by a plugin"),
            Verdict::TempFail(reply) | Verdict::Reject(reply) => {
                let outcome = if reply.is_permanent() { "rejected" } else { "tempfailed" };
                info!(%id, domain = %transaction.domain, sender = %transaction.sender, peer = %session.peer, size, outcome, %reply);
                return reply;
            }
        };
        let new = self.new_mail(session, facts, &domain, transaction, content, state);
        let (domain, sender, recipients) =
            (new.domain.clone(), new.envelope.sender.clone(), new.envelope.recipients.len());
        let outcome = if matches!(new.state, InitialState::Queued) { "queued" } else { "quarantined" };
        match self.queue.enqueue(new).await {
            Ok(claim) => {
                info!(%id, %domain, %sender, recipients, peer = %session.peer, size, outcome);
                self.deliverer.submit(claim, share);
                replies::queued(id)
            }
            Err(error) => {
                warn!(%id, %domain, %sender, peer = %session.peer, size, outcome = "tempfailed", %error);
                enqueue_refusal(&error)
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
            ret: facts.ret,
            envid: facts.envid,
        };
        let sole = match envelope.recipients.as_slice() {
            [only] => Some(&only.address),
            _ => None,
        };
        let received =
            trace_fields::received(session, self.hostname.as_str(), transaction.id, sole, facts.smtputf8, now);
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

impl Policy {
    fn new(session: &Arc<SessionFacts>, mail: &Mail, domain: Arc<DomainState>, name: Domain) -> Self {
        let transaction = Transaction {
            session: session.clone(),
            id: mail.id,
            domain: name,
            sender: mail.facts.sender.clone(),
            mail_params: mail.facts.params.clone(),
            recipients: Vec::new(),
            score: 0,
            symbols: Vec::new(),
            attributes: mail::Attributes::new(),
            calls: Vec::new(),
        };
        Self { domain, transaction, quarantine: None, discarded: false }
    }

    async fn ask(&mut self, address: &Mailbox) -> Verdict {
        // RFC 5321 §4.5.1: postmaster must be accepted, so no plugin is asked.
        if !self.domain.chain.hooks().on_recipient || address.local_part().eq_ignore_ascii_case("postmaster") {
            return Verdict::Pass;
        }
        self.domain.chain.on_recipient(&mut self.transaction, address).await
    }

    fn apply(&mut self, verdict: Verdict, recipient: Recipient) -> Reply {
        match verdict {
            Verdict::Pass | Verdict::Accept => self.transaction.recipients.push(recipient),
            Verdict::Discard => self.discarded = true,
            Verdict::Quarantine(reason) => {
                self.quarantine = Some(reason);
                self.transaction.recipients.push(recipient);
            }
            Verdict::TempFail(reply) | Verdict::Reject(reply) => {
                info!(id = %self.transaction.id, domain = %self.transaction.domain, sender = %self.transaction.sender, recipient = %recipient.address,
                    peer = %self.transaction.session.peer, outcome = "refused", %reply);
                return reply;
            }
        }
        replies::RECIPIENT_OK
    }

    fn is_bound(&self) -> bool {
        !self.transaction.recipients.is_empty() || self.discarded
    }
}

impl Data {
    /// Most mails come in one piece. A small one is copied, so that it doesn't keep the whole read buffer alive.
    fn push(&mut self, bytes: Bytes) {
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = if bytes.len() < SMALL { Bytes::copy_from_slice(&bytes) } else { bytes };
            return;
        }
        if self.rest.is_empty() {
            self.rest.reserve(self.first.len() + bytes.len());
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(&bytes);
    }
}

fn store_refusal(queue: &Queue) -> Option<Reply> {
    match queue.health() {
        // A full disk is tried with each mail: only a write tells that there is room again.
        queue::Health::Healthy | queue::Health::Full => None,
        queue::Health::Unhealthy { .. } => Some(replies::UNHEALTHY),
    }
}

fn enqueue_refusal(error: &EnqueueError) -> Reply {
    match error {
        EnqueueError::Full => replies::FULL,
        _ => replies::UNHEALTHY,
    }
}
