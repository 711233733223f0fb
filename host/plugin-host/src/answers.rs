//! Turns what a guest answers into the field's words. All of it is hostile until checked here.

use crate::{
    bindings::{
        exports::waypost::plugin::{on_offline::Action, on_route::Routing as GuestRouting},
        waypost::plugin::types::{Reply as GuestReply, Verdict as GuestVerdict},
    },
    guest::Answer,
};
use mail::{Domain, Mailbox, NextHop, OfflineAction, Reply, Routing, Verdict};
use std::time::Duration;

const MAX_HOPS: usize = 20;
const MAX_REASON: usize = 500;

/// Why an answer cannot be used.
pub(crate) type Nonsense = String;

pub(crate) fn verdict(answer: Answer) -> Result<Verdict, Nonsense> {
    let Answer::Verdict(verdict) = answer else { return Err(mixed_up()) };
    Ok(match verdict {
        GuestVerdict::Pass => Verdict::Pass,
        GuestVerdict::Accept => Verdict::Accept,
        GuestVerdict::Tempfail(reply) => Verdict::TempFail(transient(reply)?),
        GuestVerdict::Reject(reply) => Verdict::Reject(permanent(reply)?),
        GuestVerdict::Discard => Verdict::Discard,
        GuestVerdict::Quarantine(why) => Verdict::Quarantine(reason(why)?),
    })
}

pub(crate) fn routing(answer: Answer, domain: &Domain) -> Result<Routing, Nonsense> {
    let Answer::Routing(routing) = answer else { return Err(mixed_up()) };
    Ok(match routing {
        GuestRouting::UseDefault => Routing::Default,
        GuestRouting::Relay(list) => Routing::Relay(hops(&list)?),
        GuestRouting::Rewrite(address) => Routing::Rewrite(own_address(&address, domain)?),
        GuestRouting::Tempfail(reply) => Routing::TempFail(transient(reply)?),
        GuestRouting::Reject(reply) => Routing::Reject(permanent(reply)?),
        GuestRouting::Discard => Routing::Discard,
    })
}

pub(crate) fn action(answer: Answer) -> Result<OfflineAction, Nonsense> {
    let Answer::Action(action) = answer else { return Err(mixed_up()) };
    Ok(match action {
        Action::UseDefault => OfflineAction::Default,
        Action::RetryAfter(seconds) => OfflineAction::RetryAfter(Duration::from_secs(u64::from(seconds.max(1)))),
        Action::Hold(why) => OfflineAction::Hold(reason(why)?),
        Action::Redirect(list) => OfflineAction::Redirect(hops(&list)?),
        Action::Bounce(reply) => OfflineAction::Bounce(permanent(reply)?),
        Action::Discard => OfflineAction::Discard,
    })
}

pub(crate) fn goes_out(answer: Answer) -> Result<bool, Nonsense> {
    if let Answer::GoesOut(goes_out) = answer { Ok(goes_out) } else { Err(mixed_up()) }
}

pub(crate) fn told(answer: Answer) -> Result<(), Nonsense> {
    if let Answer::Told = answer { Ok(()) } else { Err(mixed_up()) }
}

fn mixed_up() -> Nonsense {
    "an answer to another question".to_owned()
}

fn checked(reply: &GuestReply) -> Result<Reply, Nonsense> {
    Reply::checked(reply.code, reply.enhanced.as_deref(), &reply.text).map_err(|error| error.to_string())
}

fn transient(reply: GuestReply) -> Result<Reply, Nonsense> {
    let reply = checked(&reply)?;
    // RFC 5321 §3.8: 421 closes the whole session, which is not one domain's to decide.
    if reply.is_transient() && reply.code != 421 {
        Ok(reply)
    } else {
        Err(format!("{} is no reply code for a tempfail; expected 4yz, not 421", reply.code))
    }
}

fn permanent(reply: GuestReply) -> Result<Reply, Nonsense> {
    let reply = checked(&reply)?;
    let code = reply.code;
    if reply.is_permanent() { Ok(reply) } else { Err(format!("{code} is no reply code for a rejection; expected 5yz")) }
}

fn reason(text: String) -> Result<String, Nonsense> {
    if text.len() > MAX_REASON {
        return Err(format!("a reason of {} bytes; expected at most {MAX_REASON}", text.len()));
    }
    if text.chars().any(char::is_control) { Err("a reason with control characters".to_owned()) } else { Ok(text) }
}

fn hops(list: &[String]) -> Result<Vec<NextHop>, Nonsense> {
    if list.is_empty() || list.len() > MAX_HOPS {
        return Err(format!("{} next hops; expected 1 to {MAX_HOPS}", list.len()));
    }
    list.iter().map(|text| text.parse().map_err(|error: mail::NextHopError| error.to_string())).collect()
}

fn own_address(text: &str, domain: &Domain) -> Result<Mailbox, Nonsense> {
    let address: Mailbox = text.parse().map_err(|error: mail::AddressError| error.to_string())?;
    if address.domain_str() == domain.as_str() {
        Ok(address)
    } else {
        Err(format!("{address} is not an address of {domain}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, enhanced: Option<&str>, text: &str) -> GuestReply {
        GuestReply { code, enhanced: enhanced.map(str::to_owned), text: text.to_owned() }
    }

    #[test]
    fn codes_must_fit_the_verdict() {
        let ok = |v| verdict(Answer::Verdict(v)).is_ok();
        assert!(ok(GuestVerdict::Tempfail(reply(450, Some("4.7.1"), "later"))));
        assert!(!ok(GuestVerdict::Tempfail(reply(550, None, "never"))));
        assert!(!ok(GuestVerdict::Tempfail(reply(421, None, "go away"))));
        assert!(ok(GuestVerdict::Reject(reply(550, None, "never"))));
        for wrong in
            [reply(450, None, "x"), reply(250, None, "x"), reply(550, Some("4.1.1"), "x"), reply(550, None, "a\r\nb")]
        {
            assert!(!ok(GuestVerdict::Reject(wrong)));
        }
        assert!(!ok(GuestVerdict::Quarantine("a\nb".into())));
        assert!(!ok(GuestVerdict::Quarantine("a".repeat(501))));
        assert!(verdict(Answer::Action(Action::Discard)).is_err());
    }

    #[test]
    fn hops_and_addresses_are_parsed() {
        let domain: Domain = "example.org".parse().unwrap();
        let route = |r| routing(Answer::Routing(r), &domain);
        assert!(route(GuestRouting::Relay(vec!["mail.example.org:25".into(), "lmtp://[::1]:24".into()])).is_ok());
        assert!(route(GuestRouting::Relay(vec![])).is_err());
        assert!(route(GuestRouting::Relay(vec!["not a hop".into()])).is_err());
        assert!(route(GuestRouting::Rewrite("a@example.org".into())).is_ok());
        assert!(route(GuestRouting::Rewrite("a@example.net".into())).is_err());
        assert_eq!(
            action(Answer::Action(Action::RetryAfter(0))),
            Ok(OfflineAction::RetryAfter(Duration::from_secs(1)))
        );
    }
}
