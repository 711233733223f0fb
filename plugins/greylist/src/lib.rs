//! Plugin: asks strangers to come back later. Reads the clock and the call, asks [`Policy`], answers RCPT.

mod key;
mod policy;
mod record;
mod settings;

pub use policy::{Contact, Decision, Policy, Store};
pub use settings::Settings;

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};
use waypost_sdk::{OnRecipient, Setup, Verdict, config, kv, metrics, session, transaction};

struct Greylist;

/// Read once for each instance; an instance serves one domain with one configuration.
static POLICY: LazyLock<Result<Policy, String>> =
    LazyLock::new(|| Policy::new(config::with_example(Settings::EXAMPLE)?));

impl Setup for Greylist {
    fn validate() -> Result<(), String> {
        POLICY.as_ref().map(drop).map_err(String::clone)
    }
}

impl OnRecipient for Greylist {
    fn on_recipient(address: &str) -> Result<Verdict, String> {
        let ip = session::peer_ip();
        let sender = transaction::sender();
        let contact = Contact {
            ip: ip.parse().map_err(|_| format!("the gateway gave {ip:?} as the client's address"))?,
            authenticated: session::auth_user().is_some(),
            sender: sender.as_deref(),
            recipient: address,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        match POLICY.as_ref()?.decide(&contact, now, &mut Host) {
            Ok(Decision::Pass) => Ok(Verdict::Pass),
            Ok(Decision::Wait(seconds)) => {
                metrics::count("delayed", 1, &[]);
                Ok(Decision::Wait(seconds).verdict())
            }
            // Greylisting is a courtesy to the spam filter; mail must not stop because its memory fails.
            Err(reason) => {
                waypost_sdk::warn!("passes unasked: {reason}"; client = ip);
                Ok(Verdict::Pass)
            }
        }
    }
}

/// The gateway's store, in the name space of this plugin and domain.
struct Host;

impl Store for Host {
    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(kv::get(key)?)
    }
    fn set(&mut self, key: &str, value: &[u8], ttl: u32) -> Result<(), String> {
        Ok(kv::set(key, value, Some(ttl))?)
    }
    fn add(&mut self, key: &str, value: &[u8], ttl: u32) -> Result<bool, String> {
        Ok(kv::add(key, value, Some(ttl))?)
    }
}

waypost_sdk::export!(Greylist: Setup, OnRecipient);
