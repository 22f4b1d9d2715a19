//! The text format of Prometheus, read strictly.

use std::collections::{BTreeMap, BTreeSet};

/// One sample: its name, its labels and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

impl Sample {
    /// Whether it has all these labels.
    pub(super) fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(name, value)| self.labels.get(*name).is_some_and(|label| label == value))
    }
}

/// All samples of an exposition in which every metric has a type and a help before its samples.
#[track_caller]
pub(super) fn parse(text: &str) -> Vec<Sample> {
    let (mut helped, mut types) = (BTreeSet::new(), BTreeMap::new());
    let mut samples: Vec<Sample> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped.insert(help.split(' ').next().unwrap());
        } else if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, kind) = of.split_once(' ').expect(line);
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name, kind).is_none(), "twice: {line}");
            assert!(helped.contains(name), "no help: {line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let sample = sample(line).expect(line);
            let is_typed = types.iter().any(|(name, kind)| {
                let rest = sample.name.strip_prefix(name);
                match *kind {
                    "histogram" => matches!(rest, Some("_bucket" | "_sum" | "_count")),
                    _ => rest == Some(""),
                }
            });
            assert!(is_typed, "no type: {line}");
            let is_twice = samples
                .iter()
                .any(|known| known.name == sample.name && known.labels == sample.labels);
            assert!(!is_twice, "twice: {line}");
            samples.push(sample);
        }
    }
    samples
}

fn sample(line: &str) -> Option<Sample> {
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let (series, value) = line.rsplit_once(' ')?;
    let (name, inside) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let mut labels = BTreeMap::new();
    // No value of ours has a comma or a quote.
    for label in inside.split(',').filter(|label| !label.is_empty()) {
        let (name, value) = label.split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        if !is_name(name) || labels.insert(name.to_owned(), value.to_owned()).is_some() {
            return None;
        }
    }
    is_name(name).then_some(Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().ok()?,
    })
}
