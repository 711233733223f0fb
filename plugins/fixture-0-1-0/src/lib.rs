//! A plugin as its author built it against contract 0.1.0. It has every hook, and each answers by
//! what it has read through the services of its time. Never changed: it shows that built plugins go on working.

mod bindings;

use bindings::{
    exports::waypost::plugin::{
        on_connect, on_event, on_message, on_offline, on_online, on_recipient, on_route, setup,
    },
    waypost::plugin::{
        attributes, config, delivery, dns, failure, kv, log, message, metrics, session, transaction,
        types::{AuthResult, Error, Reply, Verdict},
    },
};

struct Fixture;

/// The macro's own code is unsafe.
#[allow(unsafe_code)]
mod export {
    use crate::{Fixture, bindings};
    bindings::export!(Fixture with_types_in bindings);
}

fn reply(code: u16, text: &str) -> Reply {
    Reply { code, enhanced: None, text: text.to_owned() }
}

impl setup::Guest for Fixture {
    fn validate() -> Result<(), String> {
        if config::json() == "{}" { Err("no configuration".to_owned()) } else { Ok(()) }
    }
}

impl on_connect::Guest for Fixture {
    fn connect() -> Verdict {
        Verdict::Tempfail(reply(450, &format!("{}:{}", session::peer_ip(), session::peer_port())))
    }
}

impl on_recipient::Guest for Fixture {
    fn check_recipient(address: String) -> Verdict {
        Verdict::Reject(reply(550, &format!("{address} from {}", transaction::sender().unwrap_or_default())))
    }
}

impl on_message::Guest for Fixture {
    fn check_message() -> Verdict {
        log::write(log::Level::Info, "a message", &[("size".to_owned(), message::size().to_string())]);
        metrics::count("messages", 1, &[]);
        let seen = kv::increment("seen", 1, Some(60)).unwrap_or_default();
        let done = message::add_header("X-Fixture", "0.1.0").and_then(|()| attributes::set("fixture", "was here"));
        transaction::add_score(25, "FIXTURE");
        let checks = [transaction::spf(), transaction::dmarc(), transaction::arc()];
        let fine = done.is_ok()
            && seen == 1
            && checks == [AuthResult::None; 3]
            && transaction::dkim().is_empty()
            && dns::txt("example.org") == Err(Error::Denied)
            && message::part_text(0, 4).as_deref() == Ok("body")
            && config::get("key").as_deref() == Some("value");
        if fine { Verdict::Accept } else { Verdict::Quarantine(format!("{done:?} {seen}")) }
    }
}

impl on_route::Guest for Fixture {
    fn route() -> on_route::Routing {
        on_route::Routing::Relay(vec![format!("{}:2525", delivery::domain())])
    }
}

impl on_offline::Guest for Fixture {
    fn offline() -> on_offline::Action {
        on_offline::Action::Hold(format!("{:?} {}", failure::what(), failure::detail()))
    }
}

impl on_online::Guest for Fixture {
    fn online(_: String, held: u64) -> bool {
        held < 10
    }
}

impl on_event::Guest for Fixture {
    fn notify(kind: String, at: u64, _: String) {
        drop(kv::set("event", format!("{kind} {at}").as_bytes(), None));
    }
}
