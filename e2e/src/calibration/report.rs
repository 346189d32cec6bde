//! What a report says of one metric.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Outcome;

/// One row of `metrics`, merged over sites; durations in seconds.
#[derive(Clone, Debug)]
pub struct Reading {
    values: BTreeMap<String, f64>,
}

impl Reading {
    /// One of its columns, for instance `count` or `p95`.
    ///
    /// # Panics
    ///
    /// If the report does not have it.
    #[must_use]
    pub fn get(&self, column: &str) -> f64 {
        *self
            .values
            .get(column)
            .unwrap_or_else(|| panic!("the report has no {column}: {self:?}"))
    }
}

/// The row of a metric with these labels, and no `site`.
///
/// # Panics
///
/// If there is none, or more than one.
#[must_use]
pub fn reading(outcome: &Outcome, metric: &str, labels: &[(&str, &str)]) -> Reading {
    let rows = outcome.report["metrics"].as_array();
    let fits = |row: &&Value| {
        row["name"] == metric
            && row["labels"].get("site").is_none()
            && labels
                .iter()
                .all(|(name, value)| row["labels"][*name] == *value)
    };
    let found: Vec<&Value> = rows.into_iter().flatten().filter(fits).collect();
    let [row] = found[..] else {
        panic!(
            "{metric} {labels:?} has {} rows:\n{}",
            found.len(),
            outcome.stderr
        );
    };
    let columns = row.as_object().into_iter().flatten();
    let values = columns.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
    Reading {
        values: values.collect(),
    }
}
