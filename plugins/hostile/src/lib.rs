//! A plugin that does what its configuration says, most of it bad: a test asks for a misbehaviour by
//! name and checks what the host makes of it. Never shipped.

mod bindings;
mod deeds;
mod http;

use bindings::{
    exports::waypost::plugin::{
        on_connect, on_event, on_message, on_offline, on_online, on_recipient, on_route, setup,
    },
    waypost::plugin::{
        config,
        types::{Reply, Verdict},
    },
};

pub(crate) struct Hostile;

/// The macro's own code is unsafe.
#[allow(unsafe_code)]
mod export {
    use crate::{Hostile, bindings};
    bindings::export!(Hostile with_types_in bindings);
}

/// What the domain's table says under `key`.
fn wanted(key: &str) -> String {
    config::get(key).unwrap_or_default()
}

pub(crate) fn reply(code: u16, enhanced: Option<&str>, text: &str) -> Reply {
    Reply { code, enhanced: enhanced.map(str::to_owned), text: text.to_owned() }
}

impl setup::Guest for Hostile {
    fn validate() -> Result<(), String> {
        let deed = wanted("setup");
        match deed.as_str() {
            "" => Ok(()),
            "refuse" => Err("delay: expected a duration\u{7}".to_owned()),
            _ => {
                deeds::perform(&deed);
                Ok(())
            }
        }
    }
}

impl on_connect::Guest for Hostile {
    fn connect() -> Verdict {
        let deed = wanted("connect");
        match deed.as_str() {
            "discard" => Verdict::Discard,
            "facts" => deeds::facts_of_the_connection(),
            _ => deeds::perform(&deed),
        }
    }
}

impl on_recipient::Guest for Hostile {
    fn check_recipient(address: String) -> Verdict {
        let deed = wanted("recipient");
        match deed.as_str() {
            "tempfail" => Verdict::Tempfail(reply(450, Some("4.7.1"), &address)),
            "outside" => deeds::outside_of_on_recipient(),
            _ => deeds::perform(&deed),
        }
    }
}

impl on_message::Guest for Hostile {
    fn check_message() -> Verdict {
        deeds::perform(&wanted("message"))
    }
}

impl on_route::Guest for Hostile {
    fn route() -> on_route::Routing {
        use on_route::Routing;
        let deed = wanted("route");
        match deed.as_str() {
            "relay" => Routing::Relay(vec![wanted("to")]),
            "rewrite" => Routing::Rewrite(wanted("to")),
            "reject-as-tempfail" => Routing::Tempfail(reply(550, None, "wrong class")),
            "by-subject" => deeds::by_subject(),
            "expire" => deeds::expire(),
            _ => {
                deeds::perform(&deed);
                Routing::UseDefault
            }
        }
    }
}

impl on_offline::Guest for Hostile {
    fn offline() -> on_offline::Action {
        use on_offline::Action;
        let deed = wanted("offline");
        match deed.as_str() {
            "tell" => Action::Hold(deeds::tell_failure()),
            "retry" => Action::RetryAfter(60),
            "redirect" => Action::Redirect(vec![wanted("to")]),
            "bounce-with-4yz" => Action::Bounce(reply(450, None, "wrong class")),
            _ => {
                deeds::perform(&deed);
                Action::UseDefault
            }
        }
    }
}

impl on_online::Guest for Hostile {
    fn online(domain: String, held: u64) -> bool {
        let deed = wanted("online");
        if deed == "unless-few" {
            return domain == "example.org" && held < 10;
        }
        deeds::perform(&deed);
        true
    }
}

impl on_event::Guest for Hostile {
    fn notify(kind: String, at: u64, json: String) {
        let deed = wanted("event");
        if deed == "keep" {
            deeds::keep_event(&kind, at, &json);
        } else {
            deeds::perform(&deed);
        }
    }
}
