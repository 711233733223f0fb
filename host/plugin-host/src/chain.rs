//! A domain's ordered plugins: who is asked next, whose changes count, and who only watches.

use crate::{
    bound::{Asked, Bound, Gate},
    host::Shared,
    opinion::{GoesOut, Opinion, Told},
    sample,
    subject::Subject,
};
use mail::{
    BoxFuture, CallRecord, Chain, Connection, Content, DeliveryFacts, Domain, Event, Failure, Hook, HookSet, Mailbox,
    Mode, OfflineAction, ReversePath, Routing, Transaction, Verdict,
};
use std::{mem, sync::Arc};
use tokio::{sync::Semaphore, task::JoinSet};

pub(crate) struct DomainChain {
    domain: Domain,
    plugins: Vec<Arc<Bound>>,
    /// Held by each running call, so that one domain cannot take all instances of the host.
    gate: Gate,
    /// The same for calls that decide nothing: they must not stand in the way of those that do.
    shadow_gate: Arc<Gate>,
}

/// What a chain makes of a question.
struct Outcome<T> {
    subject: Subject,
    opinion: T,
    /// In the order of the chain.
    records: Vec<CallRecord>,
}

impl DomainChain {
    pub(crate) fn new(domain: Domain, plugins: Vec<Arc<Bound>>, shared: &Shared) -> Self {
        let calls = shared.pool.calls_per_domain.clamp(1, Semaphore::MAX_PERMITS);
        let long = Arc::new(Semaphore::new(shared.long_at_once));
        let gate = || Gate { calls: Semaphore::new(calls), long: Arc::clone(&long) };
        Self { domain, plugins, gate: gate(), shadow_gate: Arc::new(gate()) }
    }

    fn with_hook(&self, hook: Hook) -> impl Iterator<Item = &Arc<Bound>> {
        self.plugins.iter().filter(move |plugin| plugin.loaded.has(hook.as_str()))
    }

    /// One after the other, until one of them decides.
    ///
    /// A shadow is asked about a copy of what a plugin in its place would be asked about, while the chain
    /// goes on; at the end the answer waits for it, so that its record is there, but for no longer than
    /// its own time limit.
    async fn ask<T: Opinion>(&self, hook: Hook, mut subject: Subject) -> Outcome<T> {
        let (mut records, mut shadows) = (Vec::new(), JoinSet::new());
        let mut opinion = T::NONE;
        let key = subject.sample_key();
        for (place, plugin) in self.with_hook(hook).enumerate() {
            if !sample::is_in(plugin.manner.sample, &plugin.profile.plugin, key) {
                continue;
            }
            if plugin.manner.mode == Mode::Shadow {
                let (plugin, gate, copy) = (Arc::clone(plugin), Arc::clone(&self.shadow_gate), subject.clone());
                shadows.spawn(async move { (place, plugin.ask::<T>(&gate, hook, copy).await.record) });
                continue;
            }
            let asked: Asked<T> = plugin.ask(&self.gate, hook, subject).await;
            subject = asked.subject;
            records.push((place, asked.record));
            opinion = asked.opinion;
            if opinion.is_final() {
                break;
            }
        }
        while let Some(watched) = shadows.join_next().await {
            match watched {
                Ok(record) => records.push(record),
                Err(error) => tracing::error!(domain = %self.domain, %error, "a shadow's call was lost"),
            }
        }
        records.sort_by_key(|(place, _)| *place);
        Outcome { subject, opinion, records: records.into_iter().map(|(_, record)| record).collect() }
    }

    async fn ask_about_connection(&self, connection: &mut Connection) -> Verdict {
        let lent = Connection {
            session: Arc::clone(&connection.session),
            attributes: mem::take(&mut connection.attributes),
            calls: Vec::new(),
        };
        let outcome = self.ask(Hook::OnConnect, Subject::Connect { connection: Box::new(lent) }).await;
        if let Subject::Connect { connection: lent } = outcome.subject {
            connection.attributes = lent.attributes;
        }
        connection.calls.extend(outcome.records);
        outcome.opinion
    }

    async fn ask_about_transaction(
        &self,
        hook: Hook,
        transaction: &mut Transaction,
        about: impl FnOnce(Box<Transaction>) -> Subject,
        content: Option<&mut Content>,
    ) -> Verdict {
        let mut calls = mem::take(&mut transaction.calls);
        let outcome = self.ask(hook, about(Box::new(lend(transaction)))).await;
        match outcome.subject {
            Subject::Recipient { transaction: lent, .. } => *transaction = *lent,
            Subject::Message { transaction: lent, content: changed } => {
                *transaction = *lent;
                if let Some(content) = content {
                    *content = changed;
                }
            }
            _ => {}
        }
        calls.extend(outcome.records);
        transaction.calls = calls;
        outcome.opinion
    }

    async fn ask_about_delivery<T: Opinion>(
        &self,
        hook: Hook,
        delivery: &mut DeliveryFacts,
        about: impl FnOnce(Box<DeliveryFacts>) -> Subject,
    ) -> T {
        let mut calls = mem::take(&mut delivery.calls);
        let outcome = self.ask(hook, about(Box::new(delivery.clone()))).await;
        if let Subject::Route { delivery: lent } | Subject::Offline { delivery: lent, .. } = outcome.subject {
            *delivery = *lent;
        }
        calls.extend(outcome.records);
        delivery.calls = calls;
        outcome.opinion
    }
}

/// Moves the transaction into the call; an empty one keeps its place.
fn lend(transaction: &mut Transaction) -> Transaction {
    let placeholder = Transaction {
        session: Arc::clone(&transaction.session),
        id: transaction.id,
        domain: transaction.domain.clone(),
        sender: ReversePath::Null,
        mail_params: Vec::new(),
        recipients: Vec::new(),
        authenticity: mail::Authenticity::default(),
        score: 0,
        symbols: Vec::new(),
        attributes: mail::Attributes::new(),
        calls: Vec::new(),
    };
    mem::replace(transaction, placeholder)
}

impl Chain for DomainChain {
    fn hooks(&self) -> HookSet {
        let any = |hook| self.with_hook(hook).next().is_some();
        HookSet {
            on_connect: any(Hook::OnConnect),
            on_recipient: any(Hook::OnRecipient),
            on_message: any(Hook::OnMessage),
            on_route: any(Hook::OnRoute),
            on_offline: any(Hook::OnOffline),
            on_online: any(Hook::OnOnline),
            on_event: any(Hook::OnEvent),
        }
    }
    fn on_connect<'a>(&'a self, connection: &'a mut Connection) -> BoxFuture<'a, Verdict> {
        Box::pin(self.ask_about_connection(connection))
    }
    fn on_recipient<'a>(&'a self, transaction: &'a mut Transaction, address: &'a Mailbox) -> BoxFuture<'a, Verdict> {
        let about = |transaction| Subject::Recipient { transaction, asked: address.clone() };
        Box::pin(self.ask_about_transaction(Hook::OnRecipient, transaction, about, None))
    }
    fn on_message<'a>(&'a self, transaction: &'a mut Transaction, content: &'a mut Content) -> BoxFuture<'a, Verdict> {
        let copy = content.clone();
        let about = |transaction| Subject::Message { transaction, content: copy };
        Box::pin(self.ask_about_transaction(Hook::OnMessage, transaction, about, Some(content)))
    }
    fn on_route<'a>(&'a self, delivery: &'a mut DeliveryFacts) -> BoxFuture<'a, Routing> {
        Box::pin(self.ask_about_delivery(Hook::OnRoute, delivery, |delivery| Subject::Route { delivery }))
    }
    fn on_offline<'a>(&'a self, delivery: &'a mut DeliveryFacts, failure: &'a Failure) -> BoxFuture<'a, OfflineAction> {
        let about = |delivery| Subject::Offline { delivery, failure: Box::new(failure.clone()) };
        Box::pin(self.ask_about_delivery(Hook::OnOffline, delivery, about))
    }
    fn on_online<'a>(&'a self, held: u64, calls: &'a mut Vec<CallRecord>) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let outcome = self.ask::<GoesOut>(Hook::OnOnline, Subject::Online { held }).await;
            calls.extend(outcome.records);
            outcome.opinion.0
        })
    }
    fn on_event<'a>(&'a self, event: &'a Event, calls: &'a mut Vec<CallRecord>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if self.with_hook(Hook::OnEvent).next().is_some() {
                let outcome = self.ask::<Told>(Hook::OnEvent, Subject::Event { event: Box::new(event.clone()) }).await;
                calls.extend(outcome.records);
            }
        })
    }
}
