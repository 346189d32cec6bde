//! Which names will be there when an expression runs.

use std::collections::BTreeMap;

use super::compile::{ExprProblem, Reference};
use crate::plan::nearest::nearest;

/// Names in scope while a plan is checked.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Each name, with its fields if these are known.
    names: BTreeMap<String, Option<Vec<String>>>,
    /// What to say about names that exist elsewhere.
    elsewhere: BTreeMap<&'static str, &'static str>,
}

impl Names {
    /// Adds a name of which any field may be read.
    pub fn add(&mut self, name: impl Into<String>) {
        self.names.insert(name.into(), None);
    }

    /// Adds fields to a name of which only known fields may be read.
    pub fn add_fields<F: Into<String>>(
        &mut self,
        name: impl Into<String>,
        fields: impl IntoIterator<Item = F>,
    ) {
        let known = self
            .names
            .entry(name.into())
            .or_insert_with(|| Some(Vec::new()));
        if let Some(known) = known {
            for field in fields.into_iter().map(Into::into) {
                if !known.contains(&field) {
                    known.push(field);
                }
            }
        }
    }

    /// Removes a name.
    pub fn remove(&mut self, name: &str) {
        self.names.remove(name);
    }

    /// Whether there is that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The known fields of a name.
    #[must_use]
    pub fn fields(&self, name: &str) -> &[String] {
        self.names
            .get(name)
            .and_then(Option::as_deref)
            .unwrap_or_default()
    }

    /// Says what to tell about a name that is not in scope here but is elsewhere.
    pub fn explain(&mut self, name: &'static str, hint: &'static str) {
        self.elsewhere.insert(name, hint);
    }

    fn listed(&self) -> String {
        let names: Vec<&str> = self.names.keys().map(String::as_str).collect();
        format!("in scope are {}", names.join(", "))
    }
}

/// Every reference that will not be there.
pub(super) fn check(references: &[Reference], names: &Names) -> Vec<ExprProblem> {
    let mut problems = Vec::new();
    for reference in references {
        let Reference { root, field, at } = reference;
        let problem = |message, hint| ExprProblem {
            at: Some(*at),
            scope: true,
            message,
            hint,
        };
        let Some(fields) = names.names.get(root) else {
            let message = format!("`{root}` is not in scope");
            let known = names
                .elsewhere
                .get(root.as_str())
                .map(|hint| (*hint).to_owned());
            let hint = known.unwrap_or_else(|| {
                nearest(root, names.names.keys().map(String::as_str))
                    .map_or_else(|| names.listed(), |near| format!("did you mean `{near}`?"))
            });
            problems.push(problem(message, Some(hint)));
            continue;
        };
        let (Some(fields), Some(field)) = (fields, field) else {
            continue;
        };
        if !fields.contains(field) {
            let message = format!("there is no `{root}.{field}` here");
            let hint = nearest(field, fields.iter().map(String::as_str)).map_or_else(
                || match fields.is_empty() {
                    true => format!("`{root}` is empty"),
                    false => format!("there are {}", fields.join(", ")),
                },
                |near| format!("did you mean `{root}.{near}`?"),
            );
            problems.push(problem(message, Some(hint)));
        }
    }
    problems
}
