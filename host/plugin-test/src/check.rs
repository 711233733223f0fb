//! Compares what came of a call with what its step expects: every difference, as two texts.

use crate::{
    bench::{Answered, Plugin},
    question::{After, Answer, Question},
    scenario::{Expect, KvExpect},
    shown,
};
use mail::{Attributes, Content, OfflineAction, Routing, Timestamp, Transaction};
use plugin_host::{Metric, MetricValue};
use std::{collections::BTreeMap, fmt::Display, time::Duration};

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The key of the expectation: `verdict`, `kv."a|b"`.
    pub what: String,
    pub expected: String,
    pub got: String,
}

/// Collects differences.
#[derive(Default)]
pub(crate) struct Check(Vec<Difference>);

/// `at` is the time of the call.
pub(crate) fn check(
    expect: &Expect,
    question: &Question,
    answered: &Answered,
    plugin: &Plugin,
    at: Timestamp,
) -> Vec<Difference> {
    let mut check = Check::default();
    check.failure(expect, answered);
    check.answer(expect, &answered.answer);
    match &answered.after {
        After::Connection(connection) => check.attributes(expect, &connection.attributes),
        After::Transaction(transaction) => check.transaction(expect, transaction),
        After::Message(transaction, content) => {
            check.transaction(expect, transaction);
            check.mail(expect, question.content().unwrap_or(content), content);
        }
        After::Delivery(delivery) => {
            check.attributes(expect, &delivery.attributes);
            check.duration("expires-in", expect.expires_in, delivery.expires_at.since(at));
        }
        After::Nothing => {}
    }
    check.kv(expect, plugin, at);
    check.log(expect, answered);
    check.metrics(expect, &plugin.metrics());
    check.calls(expect, answered);
    check.cost(expect, answered);
    check.0
}

impl Check {
    fn differs(&mut self, what: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) {
        self.0.push(Difference { what: what.into(), expected: expected.into(), got: got.into() });
    }

    fn same<T: PartialEq + Display>(&mut self, what: &str, expected: Option<&T>, got: Option<&T>) {
        let Some(wanted) = expected else { return };
        if got != Some(wanted) {
            self.differs(what, wanted.to_string(), got.map_or_else(nothing, ToString::to_string));
        }
    }

    fn same_text(&mut self, what: &str, expected: Option<&String>, got: Option<&str>) {
        let Some(wanted) = expected else { return };
        if got != Some(wanted.as_str()) {
            self.differs(what, quoted(wanted), got.map_or_else(nothing, quoted));
        }
    }

    fn contains(&mut self, what: &str, expected: Option<&String>, got: Option<&str>) {
        let Some(wanted) = expected else { return };
        if !got.is_some_and(|got| got.contains(wanted.as_str())) {
            self.differs(what, format!("… {} …", quoted(wanted)), got.map_or_else(nothing, quoted));
        }
    }

    fn same_list(&mut self, what: &str, expected: Option<&Vec<String>>, got: &[String]) {
        let Some(wanted) = expected else { return };
        if got != wanted.as_slice() {
            self.differs(what, list(wanted), list(got));
        }
    }

    fn duration(&mut self, what: &str, expected: Option<Duration>, got: Duration) {
        if let Some(wanted) = expected.filter(|wanted| *wanted != got) {
            self.differs(what, format!("{wanted:?}"), format!("{got:?}"));
        }
    }

    /// A failure that nobody expects is one whatever its policy has made of it.
    fn failure(&mut self, expect: &Expect, answered: &Answered) {
        let failure = answered.record.failure.as_ref();
        let kind = failure.map(|failure| failure.kind.as_str());
        if kind != expect.failure.as_deref() {
            let got = failure.map_or_else(
                || "an answer".to_owned(),
                |failure| {
                    let frames = failure.backtrace.iter().map(|frame| format!("\n  in {frame}")).collect::<String>();
                    format!("{}: {}{frames}", failure.kind, failure.text)
                },
            );
            self.differs("failure", expect.failure.as_deref().unwrap_or("an answer"), got);
        }
    }

    fn answer(&mut self, expect: &Expect, answer: &Answer) {
        self.same("verdict", expect.verdict.as_ref(), Some(&answer.word().to_owned()));
        let reply = answer.reply();
        self.same("code", expect.code.as_ref(), reply.map(|reply| &reply.code));
        self.same("enhanced", expect.enhanced.as_ref(), reply.and_then(|reply| reply.enhanced.as_ref()));
        self.same_text("text", expect.text.as_ref(), reply.map(|reply| &*reply.text));
        self.contains("text-contains", expect.text_contains.as_ref(), reply.map(|reply| &*reply.text));
        self.same_text("reason", expect.reason.as_ref(), answer.reason());
        if let Some(wanted) = &expect.next_hops {
            let texts = |hops: &[mail::NextHop]| hops.iter().map(ToString::to_string).collect::<Vec<_>>();
            self.same_list("next-hops", Some(&texts(wanted)), &texts(answer.next_hops().unwrap_or_default()));
        }
        let address = if let Answer::Routing(Routing::Rewrite(address)) = answer { Some(address) } else { None };
        self.same("address", expect.address.as_ref(), address);
        if let Some(wanted) = expect.retry_after {
            match answer {
                Answer::Offline(OfflineAction::RetryAfter(wait)) => self.duration("retry-after", Some(wanted), *wait),
                _ => self.differs("retry-after", format!("{wanted:?}"), nothing()),
            }
        }
    }

    fn transaction(&mut self, expect: &Expect, after: &Transaction) {
        self.same("score", expect.score.as_ref(), Some(&after.score));
        for (symbol, points) in &expect.symbols {
            let got = after.symbols.iter().filter(|(name, _)| name == symbol).map(|(_, points)| points);
            let got: Option<i32> = got.copied().reduce(i32::saturating_add);
            self.same(&format!("symbols.{symbol}"), Some(points), got.as_ref());
        }
        if let Some(wanted) = expect.sender.as_ref().filter(|wanted| **wanted != after.sender) {
            self.differs("sender", format!("<{wanted}>"), format!("<{}>", after.sender));
        }
        let recipients: Vec<String> = after.recipients.iter().map(|one| one.address.to_string()).collect();
        self.same_list("recipients", expect.recipients.as_ref(), &recipients);
        self.attributes(expect, &after.attributes);
    }

    fn attributes(&mut self, expect: &Expect, after: &Attributes) {
        self.wanted("attributes", &expect.attributes, |name| after.get(name).cloned());
    }

    fn mail(&mut self, expect: &Expect, before: &Content, after: &Content) {
        if expect.added.is_some() || expect.removed.is_some() {
            let (added, removed) = shown::changed_fields(before, after);
            self.same_list("added", expect.added.as_ref(), &added);
            self.same_list("removed", expect.removed.as_ref(), &removed);
        }
        self.wanted("headers", &expect.headers, |name| shown::header(after, name));
        if expect.body.is_some() || expect.body_contains.is_some() {
            let body = shown::body(after);
            self.same_text("body", expect.body.as_ref(), Some(&body));
            self.contains("body-contains", expect.body_contains.as_ref(), Some(&body));
        }
    }

    fn wanted(&mut self, what: &str, wanted: &BTreeMap<String, Option<String>>, got: impl Fn(&str) -> Option<String>) {
        for (name, wanted) in wanted {
            let got = got(name);
            if got != *wanted {
                let shown = |value: &Option<String>| value.as_deref().map_or_else(nothing, quoted);
                self.differs(format!("{what}.{name}"), shown(wanted), shown(&got));
            }
        }
    }

    fn kv(&mut self, expect: &Expect, plugin: &Plugin, at: Timestamp) {
        for (key, wanted) in &expect.kv {
            let entry = plugin.kv().entry(plugin.space(), key);
            let ends_in = entry.as_ref().and_then(|entry| entry.ends_at).map(|ends_at| ends_at.since(at));
            let value = entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
            let fits = match (wanted, &value) {
                (None, None) => true,
                (Some(KvExpect { value: wanted, ends_in: ends }), Some(value)) => {
                    wanted == value && (ends.is_none() || *ends == ends_in)
                }
                _ => false,
            };
            if fits {
                continue;
            }
            let shown = |value: Option<&str>, ends: Option<Duration>| match (value, ends) {
                (Some(value), Some(ends)) => format!("{} for {ends:?}", quoted(value)),
                (Some(value), None) => quoted(value),
                (None, _) => nothing(),
            };
            let expected = shown(
                wanted.as_ref().map(|wanted| wanted.value.as_str()),
                wanted.as_ref().and_then(|wanted| wanted.ends_in),
            );
            let mut got = shown(value.as_deref(), ends_in);
            if value.is_none() {
                let keys = plugin.kv().keys(plugin.space());
                got = format!("{got}; the keys are {}", list(&keys));
            }
            self.differs(format!("kv.{}", quoted(key)), expected, got);
        }
    }

    fn log(&mut self, expect: &Expect, answered: &Answered) {
        let lines: Vec<String> = answered.log.iter().map(ToString::to_string).collect();
        match expect.log.as_deref() {
            None => {}
            Some([]) if lines.is_empty() => {}
            Some([]) => self.differs("log", "no line", list(&lines)),
            Some(wanted) => {
                for text in wanted.iter().filter(|text| !lines.iter().any(|line| line.contains(text.as_str()))) {
                    self.differs("log", format!("… {text} …"), list(&lines));
                }
            }
        }
    }

    fn metrics(&mut self, expect: &Expect, metrics: &[Metric]) {
        for (name, wanted) in &expect.metrics {
            let of_name = metrics.iter().filter(|metric| metric.name == *name || with_labels(metric) == *name);
            let got = of_name.map(number).reduce(|sum, value| sum + value);
            self.same(&format!("metrics.{name}"), Some(wanted), got.as_ref());
        }
    }

    fn calls(&mut self, expect: &Expect, answered: &Answered) {
        if let Some(wanted) = &expect.requests {
            let asked: Vec<String> = answered.asked.iter().map(|one| format!("{} {}", one.method, one.url)).collect();
            self.same_list("requests", Some(wanted), &asked);
        }
        let calls = &answered.record.host_calls;
        let called = |name: &str| {
            calls.iter().any(|(call, _)| call == name || call.split_once('.').is_some_and(|(of, _)| of == name))
        };
        let all = || list(&calls.iter().map(|(call, count)| format!("{call} ×{count}")).collect::<Vec<_>>());
        for name in expect.called.iter().filter(|name| !called(name)) {
            self.differs("called", name, all());
        }
        for name in expect.not_called.iter().filter(|name| called(name)) {
            self.differs("not-called", format!("no {name}"), all());
        }
    }

    fn cost(&mut self, expect: &Expect, answered: &Answered) {
        let spent = &answered.record.spent;
        let over = |most: Option<u64>, got: u64| most.filter(|most| got > *most);
        if let Some(most) = over(expect.max_fuel, spent.fuel.unwrap_or(0)) {
            self.differs("max-fuel", most.to_string(), spent.fuel.unwrap_or(0).to_string());
        }
        if let Some(most) = over(expect.max_memory, spent.peak_memory) {
            self.differs("max-memory", format!("{most} bytes"), format!("{} bytes", spent.peak_memory));
        }
    }
}

/// `hits{list="zen"}`
fn with_labels(metric: &Metric) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{}{{{}}}", metric.name, labels.join(","))
}

/// Of what was observed, the sum.
fn number(metric: &Metric) -> f64 {
    match metric.value {
        MetricValue::Count(count) => count as f64,
        MetricValue::Observed { sum, .. } => sum,
    }
}

fn nothing() -> String {
    "nothing".to_owned()
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn list(texts: &[String]) -> String {
    if texts.is_empty() { "none".to_owned() } else { texts.join("\n") }
}
