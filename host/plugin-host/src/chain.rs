//! A domain's ordered plugins: who is asked next, whose edits count, and what a failure turns into.

use crate::{answers, bound::Bound, failure, host::Shared, instance::Question, state::Subject};
use mail::{
    BoxFuture, Chain, Content, DeliveryFacts, Domain, Failure, HookSet, Mailbox, OfflineAction, ReversePath, Routing,
    Transaction, Verdict,
};
use std::sync::Arc;
use tokio::sync::Semaphore;

pub(crate) struct DomainChain {
    pub(crate) domain: Domain,
    pub(crate) plugins: Vec<Arc<Bound>>,
    /// Held by each running call, so that one domain cannot take all instances of the host.
    gate: Semaphore,
}

impl DomainChain {
    pub(crate) fn new(domain: Domain, plugins: Vec<Arc<Bound>>, shared: &Shared) -> Self {
        let gate = Semaphore::new(shared.pool.calls_per_domain.clamp(1, Semaphore::MAX_PERMITS));
        Self { domain, plugins, gate }
    }

    fn with_hook(&self, hook: &'static str) -> impl Iterator<Item = &Arc<Bound>> {
        self.plugins.iter().filter(move |plugin| plugin.loaded.has(hook))
    }

    async fn ask_recipient(&self, transaction: &mut Transaction, address: &Mailbox) -> Verdict {
        const HOOK: &str = "on-recipient";
        for plugin in self.with_hook(HOOK) {
            let subject = Subject::Recipient { transaction: lend(transaction), asked: address.clone() };
            let question = Question::Recipient(address.as_str());
            let called = plugin.call(HOOK, &self.gate, question, subject, answers::verdict).await;
            take_back(transaction, called.subject.into_transaction());
            let verdict = match called.result {
                Ok((verdict, staged)) => {
                    if lets_through(&verdict) {
                        staged.apply_to_transaction(transaction);
                    }
                    verdict
                }
                Err(_) => failure::verdict(plugin.on_failure, &plugin.profile.plugin),
            };
            if verdict != Verdict::Pass {
                return verdict;
            }
        }
        Verdict::Pass
    }

    async fn ask_message(&self, transaction: &mut Transaction, content: &mut Content) -> Verdict {
        const HOOK: &str = "on-message";
        for plugin in self.with_hook(HOOK) {
            let subject = Subject::Message { transaction: lend(transaction), content: content.clone() };
            let called = plugin.call(HOOK, &self.gate, Question::Message, subject, answers::verdict).await;
            take_back(transaction, called.subject.into_transaction());
            let verdict = match called.result {
                Ok((verdict, staged)) => {
                    if lets_through(&verdict) {
                        let edits = staged.apply_to_transaction(transaction);
                        if !edits.is_empty() {
                            *content = content.edited(&edits);
                        }
                    }
                    verdict
                }
                Err(_) => failure::verdict(plugin.on_failure, &plugin.profile.plugin),
            };
            if verdict != Verdict::Pass {
                return verdict;
            }
        }
        Verdict::Pass
    }

    async fn ask_route(&self, delivery: &mut DeliveryFacts) -> Routing {
        const HOOK: &str = "on-route";
        for plugin in self.with_hook(HOOK) {
            let subject = Subject::Route { delivery: Box::new(delivery.clone()) };
            let check = |answer| answers::routing(answer, &self.domain);
            let called = plugin.call(HOOK, &self.gate, Question::Route, subject, check).await;
            // After 250 a failure never costs mail: the next plugin, and at last the configuration, decides.
            let Ok((routing, staged)) = called.result else { continue };
            staged.apply_to_delivery(delivery);
            if routing != Routing::Default {
                return routing;
            }
        }
        Routing::Default
    }

    async fn ask_offline(&self, delivery: &mut DeliveryFacts, failure: &Failure) -> OfflineAction {
        const HOOK: &str = "on-offline";
        for plugin in self.with_hook(HOOK) {
            let subject = Subject::Offline { delivery: Box::new(delivery.clone()), failure: failure.clone() };
            let called = plugin.call(HOOK, &self.gate, Question::Offline, subject, answers::action).await;
            let Ok((action, staged)) = called.result else { continue };
            staged.apply_to_delivery(delivery);
            if action != OfflineAction::Default {
                return action;
            }
        }
        OfflineAction::Default
    }
}

/// What is quarantined may be released later, so its edits count as well.
fn lets_through(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Pass | Verdict::Accept | Verdict::Quarantine(_) => true,
        Verdict::TempFail(_) | Verdict::Reject(_) | Verdict::Discard => false,
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
        score: 0,
        symbols: Vec::new(),
        attributes: mail::Attributes::new(),
        calls: Vec::new(),
    };
    std::mem::replace(transaction, placeholder)
}

fn take_back(transaction: &mut Transaction, lent: Option<Transaction>) {
    if let Some(lent) = lent {
        *transaction = lent;
    }
}

impl Chain for DomainChain {
    fn hooks(&self) -> HookSet {
        let any = |hook| self.with_hook(hook).next().is_some();
        HookSet {
            on_connect: any("on-connect"),
            on_online: any("on-online"),
            on_event: any("on-event"),
            on_recipient: any("on-recipient"),
            on_message: any("on-message"),
            on_route: any("on-route"),
            on_offline: any("on-offline"),
        }
    }
    fn on_recipient<'a>(&'a self, transaction: &'a mut Transaction, address: &'a Mailbox) -> BoxFuture<'a, Verdict> {
        Box::pin(self.ask_recipient(transaction, address))
    }
    fn on_message<'a>(&'a self, transaction: &'a mut Transaction, content: &'a mut Content) -> BoxFuture<'a, Verdict> {
        Box::pin(self.ask_message(transaction, content))
    }
    fn on_route<'a>(&'a self, delivery: &'a mut DeliveryFacts) -> BoxFuture<'a, Routing> {
        Box::pin(self.ask_route(delivery))
    }
    fn on_offline<'a>(&'a self, delivery: &'a mut DeliveryFacts, failure: &'a Failure) -> BoxFuture<'a, OfflineAction> {
        Box::pin(self.ask_offline(delivery, failure))
    }
}
