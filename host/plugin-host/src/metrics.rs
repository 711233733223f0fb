//! Counters that plugins keep, in memory, bounded.

use mail::Domain;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Series of one plugin of one domain; further ones are not kept.
const MAX_SERIES: usize = 200;
const MAX_NAME: usize = 64;
const MAX_LABELS: usize = 8;
const MAX_LABEL: usize = 128;

/// One series, for a page or an exposition.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    pub plugin: Arc<str>,
    pub domain: Domain,
    /// Letters, digits and underscores, as the plugin named it.
    pub name: String,
    /// Sorted by name.
    pub labels: Vec<(String, String)>,
    pub value: MetricValue,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricValue {
    Count(u64),
    Observed { count: u64, sum: f64 },
}

type Series = (String, Vec<(String, String)>);

#[derive(Debug)]
pub(crate) struct Metrics {
    plugin: Arc<str>,
    domain: Domain,
    series: Mutex<BTreeMap<Series, MetricValue>>,
}

impl Metrics {
    pub(crate) fn new(plugin: Arc<str>, domain: Domain) -> Self {
        Self { plugin, domain, series: Mutex::default() }
    }

    pub(crate) fn count(&self, name: String, delta: u64, labels: Vec<(String, String)>) {
        self.update(name, labels, MetricValue::Count(0), |value| {
            if let MetricValue::Count(count) = value {
                *count = count.saturating_add(delta);
            }
        });
    }

    pub(crate) fn observe(&self, name: String, observed: f64, labels: Vec<(String, String)>) {
        if !observed.is_finite() {
            return;
        }
        self.update(name, labels, MetricValue::Observed { count: 0, sum: 0.0 }, |value| {
            if let MetricValue::Observed { count, sum } = value {
                *count = count.saturating_add(1);
                *sum += observed;
            }
        });
    }

    fn update(
        &self,
        name: String,
        mut labels: Vec<(String, String)>,
        first: MetricValue,
        change: impl FnOnce(&mut MetricValue),
    ) {
        let label_ok = |(name, value): &(String, String)| {
            is_name(name) && value.len() <= MAX_LABEL && !value.chars().any(char::is_control)
        };
        if !is_name(&name) || labels.len() > MAX_LABELS || !labels.iter().all(label_ok) {
            return;
        }
        labels.sort_unstable();
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let known = series.len();
        match series.entry((name, labels)) {
            std::collections::btree_map::Entry::Occupied(mut entry) => change(entry.get_mut()),
            std::collections::btree_map::Entry::Vacant(entry) if known < MAX_SERIES => change(entry.insert(first)),
            std::collections::btree_map::Entry::Vacant(_) => {}
        }
    }

    pub(crate) fn read(&self) -> Vec<Metric> {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let metric = |((name, labels), value): (&Series, &MetricValue)| Metric {
            plugin: Arc::clone(&self.plugin),
            domain: self.domain.clone(),
            name: name.clone(),
            labels: labels.clone(),
            value: *value,
        };
        series.iter().map(metric).collect()
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_bounded_and_names_are_checked() {
        let metrics = Metrics::new("p".into(), "example.org".parse().unwrap());
        metrics.count("hits".into(), 2, vec![("b".into(), "2".into()), ("a".into(), "1".into())]);
        metrics.count("hits".into(), 3, vec![("a".into(), "1".into()), ("b".into(), "2".into())]);
        metrics.observe("seconds".into(), 0.5, vec![]);
        metrics.observe("seconds".into(), f64::NAN, vec![]);
        metrics.count("bad name\n".into(), 1, vec![]);
        let read = metrics.read();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].value, MetricValue::Count(5));
        assert_eq!(read[1].value, MetricValue::Observed { count: 1, sum: 0.5 });
        (0..1000).for_each(|n| metrics.count(format!("n{n}"), 1, vec![]));
        assert_eq!(metrics.read().len(), MAX_SERIES);
    }
}
