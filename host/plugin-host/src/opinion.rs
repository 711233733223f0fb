//! What each kind of hook answers: how it is checked, what stands in for a failure, and when a chain is done.

use crate::{answers, answers::Nonsense, failure, guest::Answer};
use mail::{Domain, Hook, OfflineAction, OnFailure, Routing, Verdict};

pub(crate) trait Opinion: Clone + std::fmt::Debug + Send + Sized + 'static {
    /// Of a chain that nobody has anything to say in.
    const NONE: Self;
    /// All that a guest says is hostile until it has been here.
    fn check(answer: Answer, hook: Hook, domain: &Domain) -> Result<Self, Nonsense>;
    /// In place of a plugin that failed.
    fn on_failure(policy: Option<OnFailure>, hook: Hook, plugin: &str) -> Self;
    /// Whether what the plugin changed takes effect.
    fn keeps_changes(&self) -> bool;
    /// Whether the next plugin is not asked.
    fn is_final(&self) -> bool;
    /// For the record.
    fn text(&self) -> String;
}

impl Opinion for Verdict {
    const NONE: Self = Self::Pass;

    fn check(answer: Answer, hook: Hook, _: &Domain) -> Result<Self, Nonsense> {
        let verdict = answers::verdict(answer)?;
        match (hook, &verdict) {
            (Hook::OnConnect, Self::Discard | Self::Quarantine(_)) => {
                Err(format!("{} of a connection, which has no mail yet", verdict.text()))
            }
            _ => Ok(verdict),
        }
    }
    fn on_failure(policy: Option<OnFailure>, hook: Hook, plugin: &str) -> Self {
        failure::verdict(policy, hook, plugin)
    }
    /// What is quarantined may be released later, so its edits count as well.
    fn keeps_changes(&self) -> bool {
        match self {
            Self::Pass | Self::Accept | Self::Quarantine(_) => true,
            Self::TempFail(_) | Self::Reject(_) | Self::Discard => false,
        }
    }
    fn is_final(&self) -> bool {
        *self != Self::Pass
    }
    fn text(&self) -> String {
        match self {
            Self::Pass => "pass".to_owned(),
            Self::Accept => "accept".to_owned(),
            Self::TempFail(reply) => format!("tempfail {reply}"),
            Self::Reject(reply) => format!("reject {reply}"),
            Self::Discard => "discard".to_owned(),
            Self::Quarantine(reason) => format!("quarantine {reason}"),
        }
    }
}

impl Opinion for Routing {
    const NONE: Self = Self::Default;

    fn check(answer: Answer, _: Hook, domain: &Domain) -> Result<Self, Nonsense> {
        answers::routing(answer, domain)
    }
    /// After 250 a failure never costs mail: the next plugin, and at last the configuration, decides.
    fn on_failure(_: Option<OnFailure>, _: Hook, _: &str) -> Self {
        Self::Default
    }
    fn keeps_changes(&self) -> bool {
        true
    }
    fn is_final(&self) -> bool {
        *self != Self::Default
    }
    fn text(&self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::Relay(hops) => format!("relay {}", list(hops)),
            Self::Rewrite(address) => format!("rewrite {address}"),
            Self::TempFail(reply) => format!("tempfail {reply}"),
            Self::Reject(reply) => format!("reject {reply}"),
            Self::Discard => "discard".to_owned(),
        }
    }
}

impl Opinion for OfflineAction {
    const NONE: Self = Self::Default;

    fn check(answer: Answer, _: Hook, _: &Domain) -> Result<Self, Nonsense> {
        answers::action(answer)
    }
    fn on_failure(_: Option<OnFailure>, _: Hook, _: &str) -> Self {
        Self::Default
    }
    fn keeps_changes(&self) -> bool {
        true
    }
    fn is_final(&self) -> bool {
        *self != Self::Default
    }
    fn text(&self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::RetryAfter(wait) => format!("retry-after {}s", wait.as_secs()),
            Self::Hold(reason) => format!("hold {reason}"),
            Self::Redirect(hops) => format!("redirect {}", list(hops)),
            Self::Bounce(reply) => format!("bounce {reply}"),
            Self::Discard => "discard".to_owned(),
        }
    }
}

/// Of on-online: whether what was held goes out. One that says no is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GoesOut(pub(crate) bool);

impl Opinion for GoesOut {
    const NONE: Self = Self(true);

    fn check(answer: Answer, _: Hook, _: &Domain) -> Result<Self, Nonsense> {
        answers::goes_out(answer).map(Self)
    }
    fn on_failure(_: Option<OnFailure>, _: Hook, _: &str) -> Self {
        Self::NONE
    }
    fn keeps_changes(&self) -> bool {
        false
    }
    fn is_final(&self) -> bool {
        !self.0
    }
    fn text(&self) -> String {
        if self.0 { "release" } else { "hold" }.to_owned()
    }
}

/// Of on-event: nothing but that the plugin was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told;

impl Opinion for Told {
    const NONE: Self = Self;

    fn check(answer: Answer, _: Hook, _: &Domain) -> Result<Self, Nonsense> {
        answers::told(answer).map(|()| Self)
    }
    fn on_failure(_: Option<OnFailure>, _: Hook, _: &str) -> Self {
        Self
    }
    fn keeps_changes(&self) -> bool {
        false
    }
    fn is_final(&self) -> bool {
        false
    }
    fn text(&self) -> String {
        "told".to_owned()
    }
}

fn list(hops: &[mail::NextHop]) -> String {
    hops.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
