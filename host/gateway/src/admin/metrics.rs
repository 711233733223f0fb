//! `/metrics`: what can be counted, in the text format that Prometheus reads. Needs the token, as every call.

use super::api::State;
use crate::alerts::Totals;
use crate::delivery::NotifierCounts;
use crate::disk::{Low, Seen};
use crate::limits::Limits;
use crate::memory::{Budget, Pressure};
use crate::plugins::{MetricValue, PluginMetric, PluginStatus};
use axum::{
    Router,
    extract::State as Shared,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use queue::{Counts, Health};
use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
};

pub fn routes() -> Router<State> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(Shared(state): Shared<State>) -> Response {
    let mut page = Page::default();
    page.queue(&state.queue.counts(), &state.queue.health());
    page.memory(&state.deliverer.budget);
    page.disk(state.disk.seen());
    let events = state.deliverer.domains.all().values().map(|domain| domain.listeners.dropped()).sum::<u64>();
    page.one("waypost_events_dropped_total", "counter", "Events that no plugin was told.", &[], events);
    let dropped = state.deliverer.stories.journal.dropped();
    page.one("waypost_journal_dropped_total", "counter", "Steps of mails that the journal lacks.", &[], dropped);
    let faults = state.reloader.status().not_in_force.len();
    page.one("waypost_configuration_faults", "gauge", "Mistakes in files; what was there before serves.", &[], faults);
    page.clients(&state.limits);
    page.alerts(state.deliverer.alerts.totals());
    page.notifications(&state.deliverer.notifier.counts());
    page.plugins(&state.plugins.status());
    page.of_plugins(&state.plugins.metrics());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.text()).into_response()
}

type Labels<'a> = [(&'a str, &'a str)];

/// Families in order of their names, each once, whoever adds to it.
#[derive(Default)]
struct Page(BTreeMap<String, Family>);

struct Family {
    kind: &'static str,
    help: &'static str,
    lines: String,
}

impl Page {
    fn one(&mut self, name: &str, kind: &'static str, help: &'static str, labels: &Labels<'_>, value: impl Display) {
        self.line(name, "", kind, help, labels, value);
    }

    fn line(
        &mut self,
        family: &str,
        suffix: &str,
        kind: &'static str,
        help: &'static str,
        labels: &Labels<'_>,
        value: impl Display,
    ) {
        let known = self.0.entry(family.to_owned()).or_insert(Family { kind, help, lines: String::new() });
        // A plugin that counts and observes under one name has the first of both.
        if known.kind != kind {
            return;
        }
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(known.lines, "{family}{suffix}{labels} {value}");
    }

    fn queue(&mut self, counts: &Counts, health: &Health) {
        let states = [
            ("queued", counts.queued),
            ("claimed", counts.claimed),
            ("deferred", counts.deferred),
            ("held", counts.held),
            ("quarantined", counts.quarantined),
        ];
        for (state, count) in states {
            self.one("waypost_queue_recipients", "gauge", "Recipients that wait.", &[("state", state)], count);
        }
        self.one("waypost_queue_mails", "gauge", "Mails with such recipients.", &[], counts.mails);
        self.one("waypost_queue_bytes", "gauge", "Of their content.", &[], counts.bytes);
        let now = match health {
            Health::Healthy => "healthy",
            Health::Full => "full",
            Health::Unhealthy { .. } => "unhealthy",
        };
        for state in ["healthy", "full", "unhealthy"] {
            let is = u8::from(state == now);
            self.one("waypost_queue_health", "gauge", "1 for what the queue's store is.", &[("state", state)], is);
        }
        let since = match health {
            Health::Unhealthy { since, .. } => since.as_millis() / 1000,
            Health::Healthy | Health::Full => 0,
        };
        let help = "Since when the store is unhealthy, in seconds of Unix time; 0 while it is not.";
        self.one("waypost_queue_unhealthy_since_seconds", "gauge", help, &[], since);
    }

    fn memory(&mut self, budget: &Budget) {
        for (kind, bytes) in [("fresh", budget.used()), ("read-back", budget.read_back.used())] {
            self.one("waypost_memory_bytes", "gauge", "Mail in memory.", &[("kind", kind)], bytes);
        }
        let help = "Of each kind of mail in memory, at most.";
        self.one("waypost_memory_limit_bytes", "gauge", help, &[], budget.limit());
        for (at, stops) in [(Pressure::High, "mail"), (Pressure::Critical, "sessions")] {
            let is = u8::from(budget.pressure() >= at);
            self.one("waypost_memory_short", "gauge", "1 for what is refused for it.", &[("stops", stops)], is);
        }
    }

    fn disk(&mut self, seen: Seen) {
        if let Some(free) = seen.free {
            self.one("waypost_disk_free_bytes", "gauge", "Of the data directory's disk.", &[], free.space);
            if let Some(inodes) = free.inodes {
                self.one("waypost_disk_free_inodes", "gauge", "Of the data directory's disk.", &[], inodes);
            }
        }
        for of in [Low::Space, Low::Inodes] {
            let is = u8::from(seen.low == Some(of));
            self.one("waypost_disk_low", "gauge", "1 while new mail is refused for it.", &[("of", of.as_str())], is);
        }
    }

    fn clients(&mut self, limits: &Limits) {
        self.one("waypost_connections", "gauge", "Connections of clients.", &[], limits.open());
        for (what, whose, count) in limits.refusals() {
            let labels = [("limit", what), ("scope", whose)];
            self.one("waypost_refused_total", "counter", "What was over a limit and refused.", &labels, count);
        }
        for (reason, count) in limits.cuts() {
            let labels = [("reason", reason)];
            self.one(
                "waypost_cut_total",
                "counter",
                "Connections that were ended for what the client did.",
                &labels,
                count,
            );
        }
    }

    fn alerts(&mut self, totals: Totals) {
        let Totals { outstanding, sent, failed, dropped } = totals;
        self.one("waypost_alerts_outstanding", "gauge", "Alerts that nobody has accepted yet.", &[], outstanding);
        self.one("waypost_alerts_sent_total", "counter", "Alerts that were accepted.", &[], sent);
        self.one("waypost_alerts_failed_total", "counter", "Tries that were not accepted.", &[], failed);
        self.one("waypost_alerts_dropped_total", "counter", "Alerts that were given up.", &[], dropped);
    }

    fn notifications(&mut self, counts: &NotifierCounts) {
        for (action, count) in counts.told {
            let help = "Recipients of whom a notification tells.";
            self.one("waypost_dsn_recipients_total", "counter", help, &[("action", action)], count);
        }
        let help = "Recipients whose sender was not told: too many notifications.";
        self.one("waypost_dsn_capped_total", "counter", help, &[], counts.capped);
        let help = "Notifications that could not be delivered themselves.";
        self.one("waypost_dsn_dropped_total", "counter", help, &[], counts.dropped);
    }

    fn plugins(&mut self, plugins: &[PluginStatus]) {
        // One plugin may stand in a chain more than once.
        let mut sums: BTreeMap<(&str, &str), (u64, u64, usize, bool)> = BTreeMap::new();
        for plugin in plugins {
            let sum = sums.entry((&plugin.plugin, &plugin.domain)).or_default();
            sum.0 += plugin.calls;
            sum.1 += plugin.failures;
            sum.2 += plugin.warm;
            sum.3 |= plugin.breaker != "closed";
        }
        for ((plugin, domain), (calls, failures, warm, broken)) in sums {
            let labels = [("plugin", plugin), ("domain", domain)];
            self.one("waypost_plugin_calls_total", "counter", "Questions to plugins.", &labels, calls);
            self.one("waypost_plugin_failures_total", "counter", "Those without an answer.", &labels, failures);
            self.one("waypost_plugin_warm_instances", "gauge", "Idle instances.", &labels, warm);
            let broken = u8::from(broken);
            self.one("waypost_plugin_broken", "gauge", "1 while its policy is applied unasked.", &labels, broken);
        }
    }

    /// What plugins count themselves, under names that cannot be mistaken for the gateway's.
    fn of_plugins(&mut self, metrics: &[PluginMetric]) {
        const HELP: &str = "A plugin's own.";
        let mut sums: BTreeMap<(&str, BTreeMap<&str, &str>), MetricValue> = BTreeMap::new();
        for metric in metrics {
            let own = metric.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let whose = [("plugin", metric.plugin.as_str()), ("domain", metric.domain.as_str())];
            let labels = own.chain(whose).collect();
            // An entry of a chain counts for itself; here they are one plugin.
            match (sums.entry((&metric.name, labels)).or_insert(nothing(metric.value)), metric.value) {
                (MetricValue::Count(sum), MetricValue::Count(count)) => *sum = sum.saturating_add(count),
                (MetricValue::Observed { count, sum }, MetricValue::Observed { count: more, sum: further }) => {
                    *count = count.saturating_add(more);
                    *sum += further;
                }
                _ => {}
            }
        }
        for ((name, labels), value) in sums {
            let name = format!("waypost_custom_{name}");
            let labels: Vec<_> = labels.into_iter().collect();
            match value {
                MetricValue::Count(count) => self.one(&name, "counter", HELP, &labels, count),
                MetricValue::Observed { count, sum } => {
                    self.line(&name, "_count", "summary", HELP, &labels, count);
                    self.line(&name, "_sum", "summary", HELP, &labels, sum);
                }
            }
        }
    }

    fn text(self) -> String {
        let mut text = String::new();
        for (name, family) in self.0 {
            let _ = write!(text, "# HELP {name} {}\n# TYPE {name} {}\n{}", family.help, family.kind, family.lines);
        }
        text
    }
}

fn nothing(like: MetricValue) -> MetricValue {
    match like {
        MetricValue::Count(_) => MetricValue::Count(0),
        MetricValue::Observed { .. } => MetricValue::Observed { count: 0, sum: 0.0 },
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, labels: &[(&str, &str)], value: MetricValue) -> PluginMetric {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        PluginMetric { plugin: "p".to_owned(), domain: "a.example".to_owned(), name: name.to_owned(), labels, value }
    }

    #[test]
    fn a_plugins_own_counters_are_told_with_whose_they_are() {
        let mut page = Page::default();
        page.of_plugins(&[
            metric("seen", &[("kind", "a\"b"), ("domain", "other")], MetricValue::Count(3)),
            metric("seen", &[("kind", "a\"b")], MetricValue::Count(4)),
            metric("size", &[], MetricValue::Observed { count: 2, sum: 1.5 }),
            metric("seen", &[], MetricValue::Observed { count: 2, sum: 1.5 }),
        ]);
        assert_eq!(
            page.text(),
            "# HELP waypost_custom_seen A plugin's own.\n# TYPE waypost_custom_seen counter\n\
             waypost_custom_seen{domain=\"a.example\",kind=\"a\\\"b\",plugin=\"p\"} 7\n\
             # HELP waypost_custom_size A plugin's own.\n# TYPE waypost_custom_size summary\n\
             waypost_custom_size_count{domain=\"a.example\",plugin=\"p\"} 2\n\
             waypost_custom_size_sum{domain=\"a.example\",plugin=\"p\"} 1.5\n"
        );
    }

    #[test]
    fn a_plugin_that_stands_in_a_chain_twice_is_one_series() {
        let status = |calls, breaker: &str| PluginStatus {
            plugin: "p".to_owned(),
            domain: "a.example".to_owned(),
            breaker: breaker.to_owned(),
            calls,
            ..PluginStatus::default()
        };
        let mut page = Page::default();
        page.plugins(&[status(3, "closed"), status(4, "open")]);
        let text = page.text();
        assert!(text.contains("waypost_plugin_calls_total{plugin=\"p\",domain=\"a.example\"} 7\n"), "{text}");
        assert!(text.contains("waypost_plugin_broken{plugin=\"p\",domain=\"a.example\"} 1\n"), "{text}");
    }
}
