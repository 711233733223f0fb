//! `waypost domain trust`: shows the key that is trusted and the one that was seen since, and trusts the latter if told to.

use super::{DomainError, print};
use crate::{admin_client::AdminClient, cli::TrustArgs, trace_command::say};
use mail::Domain;
use serde_json::Value;
use std::io::{self, BufRead, IsTerminal, Write};

pub fn run(client: &AdminClient, domain: &Domain, args: &TrustArgs) -> Result<(), DomainError> {
    let keys: Value = client.get(&format!("/api/domains/{domain}/identity"), &[])?;
    let waiting: Vec<&Value> = hops(&keys).filter(|hop| hop["seen"].is_object()).collect();
    let wanted = |hop: &&Value| args.next_hop.as_ref().is_none_or(|wanted| hop["next-hop"].as_str() == Some(wanted));
    let chosen: Vec<&Value> = waiting.into_iter().filter(wanted).collect();
    let hop = match chosen[..] {
        [] => {
            return Err(DomainError::Trust(format!(
                "no next hop of {domain} has shown another key than the trusted one"
            )));
        }
        [hop] => hop,
        _ => {
            return Err(DomainError::Trust(
                "several next hops have shown other keys: say which with --next-hop".to_owned(),
            ));
        }
    };
    let next_hop = text(&hop["next-hop"]);
    let Some(key) = hop.pointer("/seen/key").and_then(Value::as_str) else {
        return Err(DomainError::Trust(format!(
            "{next_hop} has shown no key: {}",
            hop.pointer("/seen/reason").map_or_else(String::new, text)
        )));
    };
    if !args.json {
        tell_hop(hop).iter().for_each(|line| say(line));
    }
    if !args.yes && !agreed(domain, &next_hop)? {
        return Err(DomainError::Trust("nothing was changed".to_owned()));
    }
    // The key goes along: one that was shown meanwhile is not trusted.
    let query = [("next-hop", next_hop.clone()), ("key", key.to_owned())];
    let done: Value = client.post(&format!("/api/domains/{domain}/trust"), &query)?;
    if args.json {
        print(&done);
    } else {
        say(&format!("{next_hop} of {domain}: {key} is trusted; what waits goes out"));
    }
    Ok(())
}

fn agreed(domain: &Domain, next_hop: &str) -> Result<bool, DomainError> {
    if !io::stdin().is_terminal() {
        return Err(DomainError::Trust(format!("say --yes if {next_hop} is {domain}'s server with a new key")));
    }
    print!("Is {next_hop} {domain}'s server with a new key? [y/N] ");
    let _ = io::stdout().flush();
    let mut answer = String::new();
    let _ = io::stdin().lock().read_line(&mut answer);
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn hops(keys: &Value) -> impl Iterator<Item = &Value> {
    keys.as_array().into_iter().flatten()
}

/// Of next hops whose keys are known.
pub fn tell_keys(keys: &Value) -> Vec<String> {
    hops(keys).filter(|hop| hop["trusted"].is_object() || hop["seen"].is_object()).flat_map(tell_hop).collect()
}

fn tell_hop(hop: &Value) -> Vec<String> {
    let mut lines = vec![format!("key of {}", text(&hop["next-hop"]))];
    for name in ["trusted", "seen"] {
        let told = &hop[name];
        if told.is_object() {
            lines.push(format!("  {name:<9}{}", told["key"].as_str().unwrap_or("none")));
            lines.push(format!("           {}, issued by {}", text(&told["subject"]), text(&told["issuer"])));
            lines.push(format!(
                "           good until {}, first seen {}",
                text(&told["not-after"]),
                text(&told["first-seen"])
            ));
            lines.extend(told["reason"].as_str().map(|reason| format!("           {reason}")));
        }
    }
    lines
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}
