//! Reads what must come of a step. Which expectations there are depends on the hook.

use mail::{EnhancedCode, Hook, Mailbox, NextHop, ReversePath};
use std::{collections::BTreeMap, time::Duration};
use toml_keys::{Table, Value};

/// What is none is not looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    pub verdict: Option<String>,
    /// The word that names how the call fails: `trap`, `cpu`, …
    pub failure: Option<String>,
    pub code: Option<u16>,
    pub enhanced: Option<EnhancedCode>,
    pub text: Option<String>,
    pub text_contains: Option<String>,
    /// Of a quarantine or a hold.
    pub reason: Option<String>,
    /// Of relay and redirect.
    pub next_hops: Option<Vec<NextHop>>,
    /// Of rewrite.
    pub address: Option<Mailbox>,
    pub retry_after: Option<Duration>,
    /// From the time of the call.
    pub expires_in: Option<Duration>,
    pub score: Option<i32>,
    pub symbols: BTreeMap<String, i32>,
    pub sender: Option<ReversePath>,
    pub recipients: Option<Vec<String>>,
    /// None: it must not be there.
    pub attributes: BTreeMap<String, Option<String>>,
    /// `Name: value`, all of them.
    pub added: Option<Vec<String>>,
    pub removed: Option<Vec<String>>,
    /// The first field of that name; none: there must be none.
    pub headers: BTreeMap<String, Option<String>>,
    pub body: Option<String>,
    pub body_contains: Option<String>,
    pub kv: BTreeMap<String, Option<KvExpect>>,
    /// Each must occur in a line `level message fields`; an empty list: there must be no line.
    pub log: Option<Vec<String>>,
    /// By name, or by name and labels: `hits{list="zen"}`.
    pub metrics: BTreeMap<String, f64>,
    /// `POST http://127.0.0.1:11333/checkv2`, all of them in order.
    pub requests: Option<Vec<String>>,
    /// Functions of the host, `kv.get`, or interfaces, `kv`.
    pub called: Vec<String>,
    pub not_called: Vec<String>,
    pub max_fuel: Option<u64>,
    pub max_memory: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvExpect {
    pub value: String,
    /// From the time of the call.
    pub ends_in: Option<Duration>,
}

/// Answers are read by the words of the contract.
fn verdicts(hook: Hook) -> &'static [&'static str] {
    match hook {
        Hook::OnConnect | Hook::OnRecipient | Hook::OnMessage => {
            &["pass", "accept", "tempfail", "reject", "discard", "quarantine"]
        }
        Hook::OnRoute => &["use-default", "relay", "rewrite", "tempfail", "reject", "discard"],
        Hook::OnOffline => &["use-default", "retry-after", "hold", "redirect", "bounce", "discard"],
        Hook::OnOnline => &["release", "hold"],
        Hook::OnEvent => &["told"],
    }
}

const FAILURES: [&str; 8] = ["trap", "time", "cpu", "memory", "tables", "nonsense", "breaker", "busy"];

/// None where a mistake is noted.
pub(super) fn read(mut table: Table<'_>, hook: Hook) -> Option<Expect> {
    let choices = |names: &'static [&'static str]| names.iter().map(|name| (*name, *name)).collect::<Vec<_>>();
    let verdict = table.get("verdict").map(|value| value.choice(&choices(verdicts(hook))));
    let failure = table.get("failure").map(|value| value.choice(&choices(&FAILURES)));
    if verdict.is_none() && failure.is_none() && hook != Hook::OnEvent {
        table.required("verdict", &format!("\"{}\"", verdicts(hook).first().copied().unwrap_or_default()));
    }
    let mut expect = Expect::default();
    read_answer(&mut table, hook, &mut expect);
    if matches!(hook, Hook::OnRecipient | Hook::OnMessage) {
        read_transaction(&mut table, &mut expect);
    }
    if hook == Hook::OnMessage {
        read_mail(&mut table, &mut expect);
    }
    if !matches!(hook, Hook::OnOnline | Hook::OnEvent) {
        expect.attributes = wanted(table.get("attributes"), |value| value.string("\"1\"").map(str::to_owned));
    }
    read_surroundings(&mut table, &mut expect);
    table.finish();
    expect.verdict = verdict.map_or(Some(None), |word| word.map(|word| Some(word.to_owned())))?;
    expect.failure = failure.map_or(Some(None), |word| word.map(|word| Some(word.to_owned())))?;
    Some(expect)
}

fn read_answer(table: &mut Table<'_>, hook: Hook, expect: &mut Expect) {
    if matches!(hook, Hook::OnOnline | Hook::OnEvent) {
        return;
    }
    expect.code = table.get("code").and_then(|value| value.whole_number(400..=599, "451"));
    expect.enhanced = table.get("enhanced").and_then(|value| value.parsed("\"4.7.1\"", str::parse));
    expect.text = text(table, "text", "\"come back later\"");
    expect.text_contains = text(table, "text-contains", "\"later\"");
    if hook != Hook::OnRoute {
        expect.reason = text(table, "reason", "\"looks like spam\"");
    }
    if matches!(hook, Hook::OnRoute | Hook::OnOffline) {
        let hops = table.get("next-hops").and_then(|value| value.list("[\"mail.example.org:25\"]"));
        expect.next_hops = hops.map(|hops| {
            hops.iter().filter_map(|value| value.parsed("[\"mail.example.org:25\"]", str::parse)).collect()
        });
        expect.expires_in = table.get("expires-in").and_then(|value| value.any_duration("\"30 d\""));
    }
    if hook == Hook::OnRoute {
        expect.address = table.get("address").and_then(|value| value.parsed("\"ann@example.org\"", str::parse));
    }
    if hook == Hook::OnOffline {
        expect.retry_after = table.get("retry-after").and_then(|value| value.any_duration("\"5 min\""));
    }
}

fn read_transaction(table: &mut Table<'_>, expect: &mut Expect) {
    expect.score = table.get("score").and_then(|value| value.whole_number(i32::MIN..=i32::MAX, "150"));
    let points =
        |(name, value): (&str, Value<'_>)| Some((name.to_owned(), value.whole_number(i32::MIN..=i32::MAX, "150")?));
    expect.symbols = entries(table.get("symbols")).into_iter().filter_map(points).collect();
    let parse = |text: &str| if text == "<>" { Ok(ReversePath::Null) } else { text.parse() };
    expect.sender = table.get("sender").and_then(|value| value.parsed("\"ann@client.example\"", parse));
    expect.recipients = list(table, "recipients", "[\"ann@example.org\"]");
}

fn read_mail(table: &mut Table<'_>, expect: &mut Expect) {
    expect.added = list(table, "added", "[\"X-Tag: 1\"]");
    expect.removed = list(table, "removed", "[\"X-Tag: 1\"]");
    expect.headers = wanted(table.get("headers"), |value| value.string("\"hello\"").map(str::to_owned));
    expect.body = text(table, "body", "\"hello\\r\\n\"");
    expect.body_contains = text(table, "body-contains", "\"hello\"");
}

fn read_surroundings(table: &mut Table<'_>, expect: &mut Expect) {
    expect.kv = wanted(table.get("kv"), kv_entry);
    expect.log = list(table, "log", "[\"warn no state\"]");
    let number = |(name, value): (&str, Value<'_>)| Some((name.to_owned(), value.number("1")?));
    expect.metrics = entries(table.get("metrics")).into_iter().filter_map(number).collect();
    expect.requests = list(table, "requests", "[\"GET http://127.0.0.1:80/\"]");
    expect.called = list(table, "called", "[\"kv.get\"]").unwrap_or_default();
    expect.not_called = list(table, "not-called", "[\"kv\"]").unwrap_or_default();
    expect.max_fuel = table.get("max-fuel").and_then(|value| value.whole_number(1..=u64::MAX >> 1, "1000000"));
    expect.max_memory = table.get("max-memory").and_then(|value| value.size(1..=u64::MAX, "\"4 MiB\""));
}

fn kv_entry(value: &Value<'_>) -> Option<KvExpect> {
    if !value.is_table() {
        return Some(KvExpect { value: value.string("\"1\"")?.to_owned(), ends_in: None });
    }
    let mut table = value.table()?;
    let text = table.required("value", "\"1\"").and_then(|value| value.string("\"1\""));
    let ends_in = table.get("ends-in").map(|value| value.any_duration("\"1 d\""));
    table.finish();
    Some(KvExpect { value: text?.to_owned(), ends_in: ends_in.map_or(Some(None), |ends| ends.map(Some))? })
}

fn text(table: &mut Table<'_>, key: &'static str, example: &str) -> Option<String> {
    table.get(key).and_then(|value| value.string(example)).map(str::to_owned)
}

fn list(table: &mut Table<'_>, key: &'static str, example: &str) -> Option<Vec<String>> {
    table.get(key).and_then(|value| value.strings(example))
}

/// `false` says that there must be nothing under the name.
fn wanted<T>(value: Option<Value<'_>>, read: impl Fn(&Value<'_>) -> Option<T>) -> BTreeMap<String, Option<T>> {
    let one = |(name, value): (&str, Value<'_>)| {
        let wanted = if value.as_boolean() == Some(false) { None } else { Some(read(&value)?) };
        Some((name.to_owned(), wanted))
    };
    entries(value).into_iter().filter_map(one).collect()
}

fn entries<'a>(value: Option<Value<'a>>) -> Vec<(&'a str, Value<'a>)> {
    value.and_then(|value| value.table()).map(|table| table.all()).unwrap_or_default()
}
