//! One call as a value: what a plugin is asked about, and what comes back.

use mail::{
    CallRecord, Chain, Connection, Content, DeliveryFacts, Event, Failure, Hook, Mailbox, OfflineAction, Routing,
    Transaction, Verdict,
};

#[derive(Clone)]
pub enum Question {
    Connect(Connection),
    Recipient(Box<Transaction>, Mailbox),
    Message(Box<Transaction>, Content),
    Route(Box<DeliveryFacts>),
    Offline(Box<DeliveryFacts>, Failure),
    Online { held: u64 },
    Event(Box<Event>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Verdict(Verdict),
    Routing(Routing),
    Offline(OfflineAction),
    /// Of on-online: what was held goes out.
    Released(bool),
    /// Of on-event.
    Told,
}

/// The facts of a call as the plugin left them.
#[derive(Clone)]
pub enum After {
    Connection(Connection),
    Transaction(Box<Transaction>),
    Message(Box<Transaction>, Content),
    Delivery(Box<DeliveryFacts>),
    Nothing,
}

impl Question {
    pub fn hook(&self) -> Hook {
        match self {
            Self::Connect(_) => Hook::OnConnect,
            Self::Recipient(..) => Hook::OnRecipient,
            Self::Message(..) => Hook::OnMessage,
            Self::Route(_) => Hook::OnRoute,
            Self::Offline(..) => Hook::OnOffline,
            Self::Online { .. } => Hook::OnOnline,
            Self::Event(_) => Hook::OnEvent,
        }
    }

    /// The mail before the call, where the plugin may change it.
    pub fn content(&self) -> Option<&Content> {
        if let Self::Message(_, content) = self { Some(content) } else { None }
    }

    /// None where nobody in the chain has the hook.
    pub(crate) async fn ask(self, chain: &dyn Chain) -> Option<(Answer, After, CallRecord)> {
        let (answer, after, mut calls) = match self {
            Self::Connect(mut connection) => {
                let verdict = chain.on_connect(&mut connection).await;
                let calls = std::mem::take(&mut connection.calls);
                (Answer::Verdict(verdict), After::Connection(connection), calls)
            }
            Self::Recipient(mut transaction, address) => {
                let verdict = chain.on_recipient(&mut transaction, &address).await;
                let calls = std::mem::take(&mut transaction.calls);
                (Answer::Verdict(verdict), After::Transaction(transaction), calls)
            }
            Self::Message(mut transaction, mut content) => {
                let verdict = chain.on_message(&mut transaction, &mut content).await;
                let calls = std::mem::take(&mut transaction.calls);
                (Answer::Verdict(verdict), After::Message(transaction, content), calls)
            }
            Self::Route(mut delivery) => {
                let routing = chain.on_route(&mut delivery).await;
                let calls = std::mem::take(&mut delivery.calls);
                (Answer::Routing(routing), After::Delivery(delivery), calls)
            }
            Self::Offline(mut delivery, failure) => {
                let action = chain.on_offline(&mut delivery, &failure).await;
                let calls = std::mem::take(&mut delivery.calls);
                (Answer::Offline(action), After::Delivery(delivery), calls)
            }
            Self::Online { held } => {
                let mut calls = Vec::new();
                let released = chain.on_online(held, &mut calls).await;
                (Answer::Released(released), After::Nothing, calls)
            }
            Self::Event(event) => {
                let mut calls = Vec::new();
                chain.on_event(&event, &mut calls).await;
                (Answer::Told, After::Nothing, calls)
            }
        };
        Some((answer, after, calls.pop()?))
    }
}

impl Answer {
    /// The word that a scenario's `verdict` expects.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Verdict(verdict) => match verdict {
                Verdict::Pass => "pass",
                Verdict::Accept => "accept",
                Verdict::TempFail(_) => "tempfail",
                Verdict::Reject(_) => "reject",
                Verdict::Discard => "discard",
                Verdict::Quarantine(_) => "quarantine",
            },
            Self::Routing(routing) => match routing {
                Routing::Default => "use-default",
                Routing::Relay(_) => "relay",
                Routing::Rewrite(_) => "rewrite",
                Routing::TempFail(_) => "tempfail",
                Routing::Reject(_) => "reject",
                Routing::Discard => "discard",
            },
            Self::Offline(action) => match action {
                OfflineAction::Default => "use-default",
                OfflineAction::RetryAfter(_) => "retry-after",
                OfflineAction::Hold(_) => "hold",
                OfflineAction::Redirect(_) => "redirect",
                OfflineAction::Bounce(_) => "bounce",
                OfflineAction::Discard => "discard",
            },
            Self::Released(true) => "release",
            Self::Released(false) => "hold",
            Self::Told => "told",
        }
    }

    pub fn reply(&self) -> Option<&mail::Reply> {
        match self {
            Self::Verdict(Verdict::TempFail(reply) | Verdict::Reject(reply))
            | Self::Routing(Routing::TempFail(reply) | Routing::Reject(reply))
            | Self::Offline(OfflineAction::Bounce(reply)) => Some(reply),
            _ => None,
        }
    }

    /// Of a quarantine or a hold.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Verdict(Verdict::Quarantine(reason)) | Self::Offline(OfflineAction::Hold(reason)) => Some(reason),
            _ => None,
        }
    }

    pub fn next_hops(&self) -> Option<&[mail::NextHop]> {
        match self {
            Self::Routing(Routing::Relay(hops)) | Self::Offline(OfflineAction::Redirect(hops)) => Some(hops),
            _ => None,
        }
    }
}
