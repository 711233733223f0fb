//! Reads one step: which hook, when, and the facts that it is asked about. A key of another hook is a mistake.

use super::{Step, authenticity, content, expect};
use crate::question::Question;
use mail::{
    Attributes, Connection, Content, DeliveryFacts, Domain, Event, Failure, FailureKind, Hook, MailId, Mailbox,
    NextHop, Recipient, Reply, ReversePath, SessionFacts, Timestamp, Transaction,
};
use std::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};
use toml_keys::{Table, Value};

/// What a step may say, of whatever hook it is, but its name, its time and what it expects.
pub(super) const KEYS: [&str; 29] = [
    "hook",
    "listener",
    "peer-ip",
    "peer-port",
    "peer-name",
    "helo",
    "tls-version",
    "auth-user",
    "sender",
    "recipient",
    "recipients",
    "mail-params",
    "score",
    "spf",
    "dkim",
    "dmarc",
    "arc",
    "attributes",
    "message",
    "mail",
    "fill-to",
    "age",
    "lifetime",
    "attempts",
    "offline-for",
    "failure",
    "held",
    "kind",
    "data",
];
const KINDS: [&str; 11] = [
    "queued",
    "delivered",
    "delayed",
    "failed",
    "expired",
    "held",
    "released",
    "redirected",
    "discarded",
    "offline",
    "online",
];

/// What all steps of a file share.
pub(super) struct Place<'a> {
    pub(super) file: &'a Path,
    pub(super) domain: &'a Domain,
    pub(super) start: Timestamp,
}

/// The step's keys, and behind them those of `[default]`.
pub(super) struct Keys<'a, 'd> {
    step: Table<'a>,
    default: Option<&'d RefCell<Table<'a>>>,
}

impl<'a> Keys<'a, '_> {
    pub(super) fn get(&mut self, key: &'static str) -> Option<Value<'a>> {
        let default = self.default.and_then(|default| default.borrow_mut().get(key));
        self.step.get(key).or(default)
    }

    fn text(&mut self, key: &'static str, example: &str) -> Option<String> {
        self.get(key).and_then(|value| value.string(example)).map(str::to_owned)
    }

    fn required(&mut self, key: &'static str, example: &str) -> Option<Value<'a>> {
        let found = self.get(key);
        if found.is_none() {
            self.step.error(format!("`{key}` is missing in [[step]]"), format!("for instance {key} = {example}"));
        }
        found
    }
}

/// None where a mistake is noted. `before` is the time of the step before it.
pub(super) fn read<'a>(
    step: Table<'a>,
    default: Option<&RefCell<Table<'a>>>,
    place: &Place<'_>,
    index: usize,
    before: Duration,
) -> Option<Step> {
    let line = step.line();
    let mut keys = Keys { step, default };
    let name = keys.step.get("name").map(|value| value.string("\"a first contact is deferred\""));
    let hooks = Hook::ALL.map(|hook| (hook.as_str(), hook));
    let hook = keys.required("hook", "\"on-message\"").and_then(|value| value.choice(&hooks));
    let at = at(&mut keys, before);
    let expect_table = keys.step.get("expect").map(|value| value.named("step.expect"));
    let Some(hook) = hook else {
        // Which keys are right is not known: naming some as wrong would be a guess.
        return None;
    };
    let now = at.map(|at| place.start.plus(at));
    let question = question(&mut keys, hook, place, now.unwrap_or(place.start), index);
    let expect = match expect_table {
        Some(value) => value.table().and_then(|table| expect::read(table, hook)),
        None if hook == Hook::OnEvent => Some(expect::Expect::default()),
        None => {
            keys.step.error(
                "the step expects nothing".to_owned(),
                "write [step.expect] below it, with for instance verdict = \"pass\"".to_owned(),
            );
            None
        }
    };
    keys.step.finish();
    let name = name.map_or_else(|| Some(format!("step {}", index + 1)), |name| name.map(str::to_owned))?;
    Some(Step { name, line, at: at?, question: question?, expect: expect? })
}

/// As late as the step before, where nothing is said.
fn at(keys: &mut Keys<'_, '_>, before: Duration) -> Option<Duration> {
    let Some(value) = keys.step.get("at") else { return Some(before) };
    let at = value.any_duration("\"5 min\"")?;
    if at < before {
        value.error(
            format!("`at` is {at:?}, before the step above it ({before:?})"),
            "time counts from the start of the scenario, and goes on",
        );
        return None;
    }
    Some(at)
}

fn question(keys: &mut Keys<'_, '_>, hook: Hook, place: &Place<'_>, now: Timestamp, index: usize) -> Option<Question> {
    let id = MailId::new(now, index as u128 + 1);
    match hook {
        Hook::OnConnect => {
            let (session, attributes) = (session(keys), attributes(keys));
            Some(Question::Connect(Connection { session: Arc::new(session?), attributes, calls: Vec::new() }))
        }
        Hook::OnRecipient => {
            let transaction = transaction(keys, place, id, false);
            let asked = keys.required("recipient", "\"ann@example.org\"").and_then(|value| mailbox(&value, place));
            Some(Question::Recipient(Box::new(transaction?), asked?))
        }
        Hook::OnMessage => {
            let transaction = transaction(keys, place, id, true);
            let content = content::content(keys, place.file);
            if content.is_none() && keys.get("message").is_none() && keys.get("mail").is_none() {
                keys.required("message", "\"hello.eml\"");
            }
            Some(Question::Message(Box::new(transaction?), content?))
        }
        Hook::OnRoute => Some(Question::Route(Box::new(delivery(keys, place, id, now)?))),
        Hook::OnOffline => {
            let (delivery, failure) = (delivery(keys, place, id, now), failure(keys));
            Some(Question::Offline(Box::new(delivery?), failure?))
        }
        Hook::OnOnline => {
            let held = keys.get("held").map(|value| value.whole_number(0..=u64::MAX >> 1, "3"));
            Some(Question::Online { held: held.unwrap_or(Some(0))? })
        }
        Hook::OnEvent => {
            let kinds = KINDS.map(|kind| (kind, kind));
            let kind = keys.required("kind", "\"delivered\"").and_then(|value| value.choice(&kinds));
            let data = keys.get("data").map(|value| value.table().and_then(|_| value.json()));
            let data = data.unwrap_or_else(|| Some(serde_json::json!({})));
            let delivery = delivery(keys, place, id, now);
            // What happens to a next hop is about no mail.
            let about_mail = kind.is_none_or(|kind| !matches!(kind, "offline" | "online"));
            let delivery = if about_mail { Some(delivery?) } else { None };
            Some(Question::Event(Box::new(Event { kind: kind?, at: now, delivery, json: data?.to_string() })))
        }
    }
}

fn session(keys: &mut Keys<'_, '_>) -> Option<SessionFacts> {
    let listener = keys.text("listener", "\"[::]:25\"").unwrap_or_else(|| "[::]:25".to_owned());
    let ip = keys.get("peer-ip").map(|value| value.parsed("\"192.0.2.1\"", str::parse::<IpAddr>));
    let port = keys.get("peer-port").map(|value| value.whole_number(1..=u16::MAX, "4711"));
    let facts = SessionFacts {
        listener: listener.as_str().into(),
        peer: SocketAddr::new(ip.unwrap_or_else(|| "192.0.2.1".parse().ok())?, port.unwrap_or(Some(4711))?),
        peer_name: keys.text("peer-name", "\"client.example\""),
        helo: keys.text("helo", "\"client.example\""),
        tls_version: keys.text("tls-version", "\"TLSv1.3\""),
        auth_user: keys.text("auth-user", "\"ann\""),
    };
    Some(facts)
}

/// Before a message, a domain has accepted somebody.
fn transaction(keys: &mut Keys<'_, '_>, place: &Place<'_>, id: MailId, with_message: bool) -> Option<Transaction> {
    let (session, sender, attributes) = (session(keys), sender(keys), attributes(keys));
    let score = keys.get("score").map(|value| value.whole_number(i32::MIN..=i32::MAX, "150"));
    let mut params = Vec::new();
    for (name, value) in entries(keys.get("mail-params")) {
        let text = if value.as_boolean() == Some(true) { None } else { value.string("\"1000\"").map(str::to_owned) };
        params.push((name.to_ascii_uppercase(), text));
    }
    let recipients = keys.get("recipients").map(|value| {
        let read: Vec<_> = value.list("[\"ann@example.org\"]")?.iter().map(|value| mailbox(value, place)).collect();
        read.into_iter().collect::<Option<Vec<_>>>()
    });
    let authenticity = authenticity::read(keys);
    let nobody_yet = || if with_message { user(place).into_iter().collect() } else { Vec::new() };
    Some(Transaction {
        session: Arc::new(session?),
        id,
        domain: place.domain.clone(),
        sender: sender?,
        mail_params: params,
        recipients: recipients.unwrap_or_else(|| Some(nobody_yet()))?.into_iter().map(Recipient::new).collect(),
        authenticity,
        score: score.unwrap_or(Some(0))?,
        symbols: Vec::new(),
        attributes,
        calls: Vec::new(),
    })
}

fn delivery(keys: &mut Keys<'_, '_>, place: &Place<'_>, id: MailId, now: Timestamp) -> Option<DeliveryFacts> {
    let (sender, attributes) = (sender(keys), attributes(keys));
    let recipient = keys.get("recipient").map(|value| mailbox(&value, place));
    let duration = |keys: &mut Keys<'_, '_>, key, example| keys.get(key).map(|value| value.any_duration(example));
    let age = duration(keys, "age", "\"1 h\"").unwrap_or(Some(Duration::ZERO));
    let lifetime = duration(keys, "lifetime", "\"30 d\"").unwrap_or(Some(Duration::from_secs(30 * 86_400)));
    let offline = duration(keys, "offline-for", "\"10 min\"");
    let attempts = keys.get("attempts").map(|value| value.whole_number(0..=u32::MAX, "2"));
    let content = content::content(keys, place.file);
    let earlier = |ago: Duration| Timestamp::from_millis(now.as_millis().saturating_sub(ago.as_millis() as u64));
    let queued_at = earlier(age?);
    Some(DeliveryFacts {
        id,
        domain: place.domain.clone(),
        sender: sender?,
        recipient: recipient.unwrap_or_else(|| user(place))?,
        queued_at,
        expires_at: queued_at.plus(lifetime?),
        attempts: attempts.unwrap_or(Some(0))?,
        offline_since: offline.map_or(Some(None), |ago| ago.map(|ago| Some(earlier(ago))))?,
        attributes,
        calls: Vec::new(),
        content: Arc::new(content.unwrap_or_else(|| Content::new("Subject: hello\r\n\r\ntext\r\n".into()))),
    })
}

/// Without one, the connection is refused.
fn failure(keys: &mut Keys<'_, '_>) -> Option<Failure> {
    let kinds = [
        FailureKind::Dns,
        FailureKind::Connect,
        FailureKind::Tls,
        FailureKind::Identity,
        FailureKind::Timeout,
        FailureKind::TempFail,
        FailureKind::PermFail,
        FailureKind::Protocol,
        FailureKind::Other,
    ];
    let names: Vec<(String, FailureKind)> = kinds.into_iter().map(|kind| (kind.to_string(), kind)).collect();
    let choices: Vec<(&str, FailureKind)> = names.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    let mut failure = Failure::new(FailureKind::Connect, None, "connection refused");
    let Some(value) = keys.get("failure") else { return Some(failure) };
    let mut table = value.named("step.failure").table()?;
    let kind = table.required("kind", "\"connect\"").and_then(|value| value.choice(&choices));
    let detail = table.get("detail").map(|value| value.string("\"connection refused\""));
    let hop = table.get("next-hop").map(|value| value.parsed("\"mail.example.org:25\"", str::parse::<NextHop>));
    let reply = table.get("reply").map(|value| value.parsed("\"451 4.3.0 later\"", reply));
    table.finish();
    failure.kind = kind?;
    failure.detail = detail.unwrap_or(Some("connection refused"))?.to_owned();
    failure.next_hop = hop.map_or(Some(None), |hop| hop.map(Some))?;
    failure.reply = reply.map_or(Some(None), |reply| reply.map(Some))?;
    Some(failure)
}

/// `451 4.3.0 later`
fn reply(text: &str) -> Result<Reply, String> {
    let mut words = text.splitn(3, ' ');
    let mut next = || words.next().unwrap_or_default();
    let (code, enhanced, rest) = (next(), next(), next());
    let code = code.parse().map_err(|_| format!("{text:?} does not begin with a code"))?;
    Reply::checked(code, Some(enhanced), rest).map_err(|error| error.to_string())
}

fn sender(keys: &mut Keys<'_, '_>) -> Option<ReversePath> {
    let parse = |text: &str| if text == "<>" { Ok(ReversePath::Null) } else { text.parse() };
    let given = keys.get("sender").map(|value| value.parsed("\"ann@client.example\"", parse));
    given.unwrap_or_else(|| "sender@client.example".parse().ok())
}

fn mailbox(value: &Value<'_>, place: &Place<'_>) -> Option<Mailbox> {
    let mailbox: Mailbox = value.parsed("\"ann@example.org\"", str::parse)?;
    if mailbox.domain() != *place.domain {
        value.error(
            format!("`{}`: {mailbox} is no address of {}, the domain that uses the plugin", value.name, place.domain),
            format!("write domain = \"{}\" at the top of the file", mailbox.domain_str()),
        );
        return None;
    }
    Some(mailbox)
}

/// Somebody, for steps that don't say whom.
fn user(place: &Place<'_>) -> Option<Mailbox> {
    Mailbox::new("user", place.domain).ok()
}

fn attributes(keys: &mut Keys<'_, '_>) -> Attributes {
    let entries = entries(keys.get("attributes"));
    entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.string("\"1\"")?.to_owned()))).collect()
}

fn entries<'a>(value: Option<Value<'a>>) -> Vec<(&'a str, Value<'a>)> {
    value.and_then(|value| value.table()).map(|table| table.all()).unwrap_or_default()
}
