//! An instance's exports, and how each of them is asked.

use crate::{
    bindings::{
        exports::waypost::plugin::{
            on_connect, on_event, on_message, on_offline, on_online, on_recipient, on_route, setup,
        },
        waypost::plugin::types::Verdict,
    },
    state::State,
    subject::Subject,
};
use mail::Hook;
use wasmtime::{
    Store,
    component::{Instance, InstancePre},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// `setup`.
    Validate,
    Hook(Hook),
}

pub(crate) enum Answer {
    Validated(Result<(), String>),
    Verdict(Verdict),
    Routing(on_route::Routing),
    Action(on_offline::Action),
    GoesOut(bool),
    Told,
}

/// Where a component's hooks are.
pub(crate) struct Exports {
    setup: Option<setup::GuestIndices>,
    on_connect: Option<on_connect::GuestIndices>,
    on_recipient: Option<on_recipient::GuestIndices>,
    on_message: Option<on_message::GuestIndices>,
    on_route: Option<on_route::GuestIndices>,
    on_offline: Option<on_offline::GuestIndices>,
    on_online: Option<on_online::GuestIndices>,
    on_event: Option<on_event::GuestIndices>,
}

/// The same of one instance, type-checked.
pub(crate) struct Guest {
    setup: Option<setup::Guest>,
    on_connect: Option<on_connect::Guest>,
    on_recipient: Option<on_recipient::Guest>,
    on_message: Option<on_message::Guest>,
    on_route: Option<on_route::Guest>,
    on_offline: Option<on_offline::Guest>,
    on_online: Option<on_online::Guest>,
    on_event: Option<on_event::Guest>,
}

impl Exports {
    /// `hooks` are the names of those that the component exports.
    pub(crate) fn new(pre: &InstancePre<State>, hooks: &[&str]) -> wasmtime::Result<Self> {
        let has = |hook: &str| hooks.contains(&hook);
        Ok(Self {
            setup: has("setup").then(|| setup::GuestIndices::new(pre)).transpose()?,
            on_connect: has("on-connect").then(|| on_connect::GuestIndices::new(pre)).transpose()?,
            on_recipient: has("on-recipient").then(|| on_recipient::GuestIndices::new(pre)).transpose()?,
            on_message: has("on-message").then(|| on_message::GuestIndices::new(pre)).transpose()?,
            on_route: has("on-route").then(|| on_route::GuestIndices::new(pre)).transpose()?,
            on_offline: has("on-offline").then(|| on_offline::GuestIndices::new(pre)).transpose()?,
            on_online: has("on-online").then(|| on_online::GuestIndices::new(pre)).transpose()?,
            on_event: has("on-event").then(|| on_event::GuestIndices::new(pre)).transpose()?,
        })
    }

    /// Fails where a hook has another type than ours.
    pub(crate) fn load(&self, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Guest> {
        Ok(Guest {
            setup: self.setup.as_ref().map(|hook| hook.load(&mut *store, instance)).transpose()?,
            on_connect: self.on_connect.as_ref().map(|hook| hook.load(&mut *store, instance)).transpose()?,
            on_recipient: self.on_recipient.as_ref().map(|hook| hook.load(&mut *store, instance)).transpose()?,
            on_message: self.on_message.as_ref().map(|hook| hook.load(&mut *store, instance)).transpose()?,
            on_route: self.on_route.as_ref().map(|hook| hook.load(&mut *store, instance)).transpose()?,
            on_offline: self.on_offline.as_ref().map(|hook| hook.load(&mut *store, instance)).transpose()?,
            on_online: self.on_online.as_ref().map(|hook| hook.load(&mut *store, instance)).transpose()?,
            on_event: self.on_event.as_ref().map(|hook| hook.load(&mut *store, instance)).transpose()?,
        })
    }
}

impl Guest {
    /// What it is about lies in the store.
    pub(crate) async fn ask(&self, store: &mut Store<State>, question: Question) -> wasmtime::Result<Answer> {
        let hook = match question {
            Question::Hook(hook) => hook,
            Question::Validate => {
                return match &self.setup {
                    Some(guest) => guest.call_validate(store).await.map(Answer::Validated),
                    None => Ok(Answer::Validated(Ok(()))),
                };
            }
        };
        match hook {
            Hook::OnConnect => exported(&self.on_connect)?.call_connect(store).await.map(Answer::Verdict),
            Hook::OnRecipient => {
                let Subject::Recipient { asked, .. } = &store.data().call.subject else { return Err(mixed_up()) };
                let address = asked.as_str().to_owned();
                exported(&self.on_recipient)?.call_check_recipient(store, &address).await.map(Answer::Verdict)
            }
            Hook::OnMessage => exported(&self.on_message)?.call_check_message(store).await.map(Answer::Verdict),
            Hook::OnRoute => exported(&self.on_route)?.call_route(store).await.map(Answer::Routing),
            Hook::OnOffline => exported(&self.on_offline)?.call_offline(store).await.map(Answer::Action),
            Hook::OnOnline => {
                let Subject::Online { held } = store.data().call.subject else { return Err(mixed_up()) };
                let domain = store.data().profile.domain.clone();
                exported(&self.on_online)?.call_online(store, domain.as_str(), held).await.map(Answer::GoesOut)
            }
            Hook::OnEvent => {
                let Subject::Event { event } = &store.data().call.subject else { return Err(mixed_up()) };
                let (kind, at, json) = (event.kind, event.at.as_secs(), event.json.clone());
                exported(&self.on_event)?.call_notify(store, kind, at, &json).await.map(|()| Answer::Told)
            }
        }
    }
}

fn exported<G>(hook: &Option<G>) -> wasmtime::Result<&G> {
    hook.as_ref().ok_or_else(|| wasmtime::format_err!("the plugin has no such hook"))
}

fn mixed_up() -> wasmtime::Error {
    wasmtime::format_err!("the call is about something else")
}
