//! Answers one client: MAIL, RCPT, and the end of the data. What it accepts is durable first.
//!
//! Knows no sockets and no SMTP syntax: it gets parsed questions and gives replies.

use super::{
    account::{Account, Ending, Recorder},
    bounds, checking,
    data::{Data, Received},
    incoming::Incoming,
    judge::Judged,
    origin,
    policy::Policy,
    receiver::{MailFacts, Receiver},
    replies, trace_fields,
};
use crate::{
    authenticity::{Checked, Checks},
    clock::Clock,
    delivery::Deliverer,
    disk::Disk,
    domains::Domains,
    memory::Budget,
    stories::Stories,
};
use bytes::Bytes;
use journal::recorded::{self, Recorded};
use mail::{
    Attributes, Authenticity, CallRecord, Connection, Domain, MailId, Mailbox, Recipient, Reply, SessionFacts, Verdict,
};
use queue::Queue;
use smtp::Xclient;
use std::{net::IpAddr, sync::Arc};
use tracing::{info, warn};

/// What all sessions share.
pub struct Intake {
    pub hostname: Domain,
    pub domains: Arc<Domains>,
    pub queue: Queue,
    pub deliverer: Arc<Deliverer>,
    pub budget: Arc<Budget>,
    pub incoming: Arc<Incoming>,
    pub disk: Arc<Disk>,
    pub clock: Clock,
    pub stories: Stories,
    pub recorder: Arc<Recorder>,
    pub checks: Arc<Checks>,
}

pub struct Session {
    intake: Arc<Intake>,
    facts: Arc<SessionFacts>,
    /// What on-connect plugins noted and left behind: every transaction begins with it.
    attributes: Attributes,
    calls: Vec<CallRecord>,
    mail: Option<Mail>,
    /// The address whose name was asked for.
    named: Option<IpAddr>,
}

/// One transaction under way.
struct Mail {
    facts: MailFacts,
    id: MailId,
    policy: Option<Policy>,
    data: Data,
    account: Account,
    /// Once for all recipients.
    spf: Option<Checked>,
}

impl Session {
    pub fn new(intake: Arc<Intake>, facts: SessionFacts) -> Self {
        let (attributes, calls) = (Attributes::new(), Vec::new());
        Self { intake, facts: Arc::new(facts), attributes, calls, mail: None, named: None }
    }

    /// Asks the gateway-wide plugins before the greeting; the reply in its place, if they don't want the client.
    pub async fn connect(&mut self) -> Option<Reply> {
        let connect = self.intake.domains.connect().filter(|connect| connect.chain.hooks().on_connect)?;
        checking::name_client(&self.intake.checks, &mut self.facts, &mut self.named).await;
        let session = self.facts.clone();
        let mut connection = Connection { session, attributes: Attributes::new(), calls: Vec::new() };
        let verdict = connect.chain.on_connect(&mut connection).await;
        (self.attributes, self.calls) = (connection.attributes, connection.calls);
        let reply = match verdict {
            Verdict::Reject(reply) => replies::unwelcome(554, reply),
            Verdict::TempFail(reply) => replies::unwelcome(421, reply),
            Verdict::Pass | Verdict::Accept | Verdict::Discard | Verdict::Quarantine(_) => return None,
        };
        info!(listener = %self.facts.listener, peer = %self.facts.peer, outcome = "refused", %reply);
        Some(reply)
    }

    fn update(&mut self, change: impl FnOnce(&mut SessionFacts)) {
        self.give_up();
        change(Arc::make_mut(&mut self.facts));
    }

    /// The client has thought better of it.
    fn give_up(&mut self) {
        let Some(Mail { facts, id, account, spf, .. }) = self.mail.take() else { return };
        let Some(reply) = account.last_reply().cloned() else { return };
        let ending = Ending {
            session: &self.facts,
            id,
            sender: &facts.sender,
            outcome: if reply.is_positive() { "left" } else { "refused" },
            reply: &reply,
            size: None,
            authenticity: Authenticity {
                spf: spf.map(|spf| spf.result).unwrap_or_default(),
                ..Authenticity::default()
            },
            calls: self.calls.clone(),
        };
        account.close(ending, &self.intake.stories);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.give_up();
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
        self.give_up();
    }

    async fn comes_from(&mut self, client: Xclient) -> Option<Reply> {
        let proxy = self.facts.peer;
        self.update(|facts| origin::apply(facts, client));
        info!(listener = %self.facts.listener, %proxy, peer = %self.facts.peer, outcome = "xclient");
        self.connect().await
    }

    fn mail(&mut self, facts: MailFacts) -> Reply {
        if let Some(reply) = self.intake.cannot_take(facts.size) {
            return reply;
        }
        self.give_up();
        let id = MailId::new(self.intake.clock.now(), fastrand::u128(..));
        let data = self.intake.incoming.begin();
        self.mail = Some(Mail { facts, id, policy: None, data, account: Account::default(), spf: None });
        replies::SENDER_OK
    }

    async fn start(&mut self, node: smtp::Node) -> Reply {
        self.intake.start(&node, &self.facts).await
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
            let reply = replies::unproven(&domain);
            mail.account.asked(&domain, recipient, &reply, Vec::new());
            return reply;
        }
        if mail.policy.is_none() && self.intake.checks.are_wanted_at_recipients_of(&state) {
            checking::name_client(&self.intake.checks, &mut self.facts, &mut self.named).await;
            if mail.spf.is_none() {
                mail.spf = Some(self.intake.checks.envelope(&self.facts, &mail.facts.sender).await);
            }
        }
        let mut policy = match mail.policy.take() {
            None => Policy::new(&self.facts, mail.id, &mail.facts, state, domain.clone(), self.attributes.clone()),
            Some(policy) if policy.transaction.domain == domain => policy,
            Some(policy) => {
                mail.policy = Some(policy);
                return replies::OTHER_DOMAIN;
            }
        };
        policy.transaction.authenticity.spf = mail.spf.as_ref().map(|spf| spf.result).unwrap_or_default();
        let verdict = policy.ask(&recipient.address).await;
        let calls = std::mem::take(&mut policy.transaction.calls);
        let reply = policy.apply(verdict, recipient.clone());
        mail.account.asked(&domain, recipient, &reply, calls);
        // A transaction without a recipient binds no domain yet.
        if policy.is_bound() {
            mail.policy = Some(policy);
        }
        reply
    }

    fn data_start(&mut self) -> Reply {
        self.intake.cannot_take(None).unwrap_or(replies::START_MAIL)
    }

    async fn body(&mut self, bytes: Bytes) {
        if let Some(mail) = &mut self.mail {
            mail.data.push(bytes).await;
        }
    }

    /// The reply is 250 only once the mail is on stable storage.
    async fn end_of_message(&mut self) -> Reply {
        let Some(Mail { facts, id, policy: Some(mut policy), data, account, spf }) = self.mail.take() else {
            return replies::UNHEALTHY;
        };
        if self.intake.checks.are_wanted_by(&policy.domain) {
            checking::name_client(&self.intake.checks, &mut self.facts, &mut self.named).await;
            policy.transaction.session = self.facts.clone();
        }
        let (sender, size) = (facts.sender.clone(), data.len() as usize);
        let judged = self.judge(id, facts, policy, spf, data, &account).await;
        let mut calls = self.calls.clone();
        calls.extend(judged.calls);
        let (reply, outcome) = (judged.reply, judged.outcome);
        let size = Some(size);
        let authenticity = judged.authenticity;
        let ending =
            Ending { session: &self.facts, id, sender: &sender, outcome, reply: &reply, size, authenticity, calls };
        account.close(ending, &self.intake.stories);
        reply
    }
}

impl Session {
    async fn judge(
        &self,
        id: MailId,
        facts: MailFacts,
        mut policy: Policy,
        spf: Option<Checked>,
        data: Data,
        account: &Account,
    ) -> Judged {
        // The turn ends with this function, when the mail is in the queue or refused.
        let Received { content, share, turn: _turn } = match data.finish(&policy.transaction.domain).await {
            Ok(received) => received,
            Err(refused) => {
                warn!(%id, outcome = "tempfailed", reason = refused.reason, reply = %refused.reply);
                return Judged::plain(refused.reply, "tempfailed");
            }
        };
        if let Some(reply) = bounds::refusal(&content) {
            info!(%id, domain = %policy.transaction.domain, outcome = "rejected", reason = "header", %reply);
            return Judged::plain(reply, "rejected");
        }
        if trace_fields::is_looping(&content) {
            info!(%id, domain = %policy.transaction.domain, outcome = "rejected", reason = "loop");
            return Judged::plain(replies::LOOP, "rejected");
        }
        let record = policy.domain.config.record.filter(|record| Recorder::wants(Some(record), id));
        let kept = record.map(|record| (record, content.clone(), facts.sender.clone(), facts.params.clone()));
        let content = checking::check(&self.intake.checks, &mut policy, spf, content).await;
        let authenticity = policy.transaction.authenticity.clone();
        let mut judged = self.intake.judge(&self.facts, facts, policy, content, share).await;
        if let (Some((record, content, sender, mail_params)), Some(domain)) = (kept, &account.domain) {
            let mut calls = account.all_calls();
            calls.extend(judged.calls.iter().cloned());
            let recorded = Recorded {
                version: recorded::VERSION,
                id,
                received_at: self.intake.clock.now(),
                domain: domain.clone(),
                session: self.facts.as_ref().into(),
                sender,
                mail_params,
                recipients: account.recipients(),
                authenticity: authenticity.clone(),
                attributes: self.attributes.clone(),
                calls,
                answer: judged.reply.clone(),
            };
            self.intake.recorder.keep(recorded, content, record);
        }
        judged.authenticity = authenticity;
        judged
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
}
