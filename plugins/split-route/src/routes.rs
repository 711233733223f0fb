//! Decides to which next hops a recipient's mail goes. Calls nothing.

use serde::Deserialize;
use std::{collections::HashSet, hash::BuildHasherDefault, hash::DefaultHasher};
use waypost_sdk::Routing;
use waypost_sdk::text::{Address, Glob, NextHop, OneOrMany, fold};

/// `[config.split-route]` of a domain.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    routes: Vec<Route>,
}

impl Settings {
    pub const EXAMPLE: &str = r#"
        routes = [{ match = "sales-*", next-hop = "sales.example.org:25" }]
    "#;
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Route {
    /// For the local part, or for the whole address where it holds an `@`.
    #[serde(rename = "match")]
    patterns: Option<OneOrMany<Glob>>,
    /// Local parts, or whole addresses.
    recipients: Option<OneOrMany<String>>,
    next_hop: OneOrMany<NextHop>,
}

/// The settings, ready for look-ups; in the order of the configuration.
#[derive(Debug)]
pub struct Routes(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    patterns: Vec<Glob>,
    recipients: HashSet<Box<str>, BuildHasherDefault<DefaultHasher>>,
    next_hops: Vec<String>,
}

impl Routes {
    pub fn new(settings: Settings) -> Result<Self, String> {
        let rule = |(index, route): (usize, &Route)| Rule::new(route).map_err(|why| format!("`routes[{index}]{why}"));
        settings.routes.iter().enumerate().map(rule).collect::<Result<_, _>>().map(Self)
    }

    /// The first route that fits wins.
    pub fn decide(&self, recipient: &str) -> Routing {
        let folded = fold(recipient);
        let address = Address::new(&folded);
        let rule = self.0.iter().find(|rule| rule.fits(&address));
        rule.map_or(Routing::UseDefault, |rule| Routing::Relay(rule.next_hops.clone()))
    }
}

impl Rule {
    fn new(route: &Route) -> Result<Self, String> {
        let patterns = route.patterns.iter().flat_map(|list| list.iter());
        let recipients = route.recipients.iter().flat_map(|list| list.iter());
        let rule = Self {
            patterns: patterns
                .map(|glob| fold(glob.as_str()).parse())
                .collect::<Result<_, _>>()
                .map_err(|why: String| format!(".match`: {why}"))?,
            recipients: recipients.map(|entry| canonical(entry)).collect::<Result<_, _>>()?,
            next_hops: route.next_hop.iter().map(String::from).collect(),
        };
        if rule.patterns.is_empty() && rule.recipients.is_empty() {
            return Err("` says for whom with neither `match` nor `recipients`; expected one of them, for instance \
                        match = \"sales-*\", or match = \"*\" for everyone"
                .to_owned());
        }
        Ok(rule)
    }

    fn fits(&self, address: &Address<'_>) -> bool {
        let whole = || format!("{}@{}", address.local, address.domain);
        self.recipients.contains(address.local.as_ref())
            || (!self.recipients.is_empty() && self.recipients.contains(whole().as_str()))
            || self.patterns.iter().any(|glob| match glob.as_str().contains('@') {
                true => glob.matches(&whole()),
                false => glob.matches(&address.local),
            })
    }
}

/// Case and needless quotes make no difference: a route is not a refusal, the next hop still decides.
fn canonical(entry: &str) -> Result<Box<str>, String> {
    let folded = fold(entry.trim());
    let problem = match folded.rsplit_once('@') {
        _ if folded.is_empty() => "is empty",
        _ if folded.contains(['*', '?']) => "is a pattern, which belongs in `match`",
        Some(("", _) | (_, "")) => "is half an address",
        Some((_, domain)) if !domain.is_ascii() => "has a domain that mail never carries: write its ASCII form (xn--…)",
        Some(_) => {
            let address = Address::new(&folded);
            return Ok(format!("{}@{}", address.local, address.domain).into());
        }
        None => return Ok(Address::new(&folded).local.into()),
    };
    Err(format!(".recipients`: {entry:?} {problem}; expected for instance \"ann\" or \"ann@example.org\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_sdk::config::parse;

    fn routes(json: &str) -> Result<Routes, String> {
        Routes::new(parse(json, Settings::EXAMPLE)?)
    }

    const THREE: &str = r#"{"routes":[
        {"recipients":["sales-boss@example.org","Ann"],"next-hop":["a:25","smtp://b:25?tls=required"]},
        {"match":"Sales-*","next-hop":"sales:2525"},
        {"match":["*@other.example","x?"],"recipients":"zoe","next-hop":"lmtp://[::1]:24"}
    ]}"#;

    #[test]
    fn without_routes_mail_goes_where_it_always_goes() {
        assert_eq!(routes("{}").unwrap().decide("ann@example.org"), Routing::UseDefault);
    }

    #[test]
    fn the_first_route_that_fits_wins() {
        let routes = routes(THREE).unwrap();
        let first = Routing::relay(["a:25", "smtp://b:25?tls=required"]);
        let second = Routing::relay(["sales:2525"]);
        let third = Routing::relay(["lmtp://[::1]:24"]);
        for (recipient, expected) in [
            ("sales-boss@example.org", &first),
            ("ANN@example.org", &first),
            ("\"ann\"@example.org", &first),
            ("sales-eu@example.org", &second),
            ("SALES-eu@example.org", &second),
            ("sales-boss@other.example", &second),
            ("bob@other.example", &third),
            ("x1@example.org", &third),
            ("zoe@example.org", &third),
            ("sales@example.org", &Routing::UseDefault),
            ("postmaster@example.org", &Routing::UseDefault),
            ("x12@example.org", &Routing::UseDefault),
        ] {
            assert_eq!(&routes.decide(recipient), expected, "{recipient}");
        }
    }

    #[test]
    fn a_star_takes_everyone() {
        let routes = routes(r#"{"routes":[{"match":"*","next-hop":"a:25"}]}"#).unwrap();
        assert_eq!(routes.decide("anyone@example.org"), Routing::relay(["a:25"]));
    }

    #[test]
    fn a_bad_configuration_is_refused_with_its_key_and_an_example() {
        for (json, parts) in [
            (r#"{"route":[]}"#, ["`route` is not a key here", "did you mean `routes`?", "sales-*"]),
            (r#"{"routes":{}}"#, ["`routes`", "expected a list", "for instance: routes = "]),
            (r#"{"routes":[{"match":"a"}]}"#, ["`routes[0].next-hop` is missing", "for instance", "next-hop = "]),
            (
                r#"{"routes":[{"matches":"a","next-hop":"a:1"}]}"#,
                ["`routes[0].matches`", "did you mean `match`?", "sales-*"],
            ),
            (
                r#"{"routes":[{"match":"a","next-hop":"a"}]}"#,
                ["`routes[0].next-hop`", "the port is missing", "mail.example.org:25"],
            ),
            (
                r#"{"routes":[{"match":"a","next-hop":["a:1","b:x"]}]}"#,
                ["`routes[0].next-hop[1]`", "the port", "for instance"],
            ),
            (
                r#"{"routes":[{"match":"a","next-hop":[]}]}"#,
                ["`routes[0].next-hop`", "the list is empty", "for instance"],
            ),
            (
                r#"{"routes":[{"next-hop":"a:1"}]}"#,
                ["`routes[0]`", "neither `match` nor `recipients`", "match = \"*\""],
            ),
            (
                r#"{"routes":[{"recipients":["a*"],"next-hop":"a:1"}]}"#,
                ["`routes[0].recipients`", "`match`", "for instance"],
            ),
            (
                r#"{"routes":[{"recipients":["a@"],"next-hop":"a:1"}]}"#,
                ["`routes[0].recipients`", "half", "for instance"],
            ),
            (r#"{"routes":[{"match":7,"next-hop":"a:1"}]}"#, ["`routes[0].match`", "a string or a list", "found 7"]),
        ] {
            let message = routes(json).map(drop).unwrap_err();
            for part in parts {
                assert!(message.contains(part), "{json}: {message}");
            }
        }
    }

    #[test]
    fn the_examples_in_readme_and_messages_are_valid() {
        let readme = include_str!("../README.md");
        let block = readme.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let file: serde_json::Value = toml::from_str(block).unwrap();
        let example: serde_json::Value = toml::from_str(Settings::EXAMPLE).unwrap();
        for table in [&file["config"]["split-route"], &example] {
            routes(&table.to_string()).map(drop).unwrap();
        }
    }
}
