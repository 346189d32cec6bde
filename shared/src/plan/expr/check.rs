//! Which names will be there when an expression runs.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::compile::{ExprProblem, Reference};
use crate::plan::nearest::nearest;

/// How many names a hint lists: nobody reads a thousand.
const LISTED: usize = 30;

/// Names in scope while a plan is checked. Copies share their fields, for each stage has one.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Each name, with its fields if these are known.
    names: BTreeMap<String, Option<Arc<Fields>>>,
    /// What to say about names that exist elsewhere.
    elsewhere: BTreeMap<&'static str, &'static str>,
    /// Fields that stages inside of this one save, each with the name it is below: see [`Names::enter`].
    inside: Vec<(&'static str, String)>,
    /// Whether there may be other names.
    open: bool,
}

/// Fields of a name, each once, in the order they were added.
#[derive(Debug, Clone, Default)]
struct Fields {
    order: Vec<Arc<str>>,
    known: HashSet<Arc<str>>,
}

impl Fields {
    fn add(&mut self, field: &str) {
        if !self.known.contains(field) {
            let field: Arc<str> = field.into();
            self.known.insert(Arc::clone(&field));
            self.order.push(field);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(AsRef::as_ref)
    }
}

impl Names {
    /// Adds a name of which any field may be read.
    pub fn add(&mut self, name: impl Into<String>) {
        self.names.insert(name.into(), None);
    }

    /// Adds fields to a name of which only known fields may be read.
    pub fn add_fields<F: AsRef<str>>(
        &mut self,
        name: impl Into<String>,
        fields: impl IntoIterator<Item = F>,
    ) {
        let known = self
            .names
            .entry(name.into())
            .or_insert_with(|| Some(Arc::default()));
        let Some(known) = known else { return };
        for field in fields {
            if !known.known.contains(field.as_ref()) {
                Arc::make_mut(known).add(field.as_ref());
            }
        }
    }

    /// Adds fields that stages inside of this one save. Nobody may read them before [`Names::enter`].
    pub(in crate::plan) fn add_inside<'f>(
        &mut self,
        name: &'static str,
        fields: impl IntoIterator<Item = &'f str>,
    ) {
        let fields = fields.into_iter().map(|field| (name, field.to_owned()));
        self.inside.extend(fields);
    }

    /// Lets expressions read what stages inside of this one save: those that run while or after these do.
    pub(in crate::plan) fn enter(&mut self) {
        for (name, field) in std::mem::take(&mut self.inside) {
            self.add_fields(name, [field]);
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

    /// The known fields of a name, in the order they were added.
    pub fn fields(&self, name: &str) -> impl Iterator<Item = &str> {
        let fields = self.names.get(name).and_then(Option::as_deref);
        fields.into_iter().flat_map(Fields::iter)
    }

    /// Says what to tell about a name that is not in scope here but is elsewhere.
    pub fn explain(&mut self, name: &'static str, hint: &'static str) {
        self.elsewhere.insert(name, hint);
    }

    /// Lets expressions read other names too: those of a place that is not known.
    pub(in crate::plan) const fn open(&mut self) {
        self.open = true;
    }

    fn unknown(&self, root: &str) -> Option<(String, Option<String>)> {
        let elsewhere = self.elsewhere.get(root);
        if self.open && elsewhere.is_none() {
            return None;
        }
        let hint = elsewhere.map_or_else(
            || {
                let names = self.names.keys().map(String::as_str);
                nearest(root, names.clone()).map_or_else(
                    || format!("in scope are {}", listed(names)),
                    |near| format!("did you mean `{near}`?"),
                )
            },
            |hint| (*hint).to_owned(),
        );
        Some((format!("`{root}` is not in scope"), Some(hint)))
    }
}

/// The first of some names, with commas.
pub(in crate::plan) fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut names: Vec<&str> = names.take(LISTED + 1).collect();
    if names.len() > LISTED {
        names[LISTED] = "…";
    }
    names.join(", ")
}

/// Every reference that will not be there.
pub(super) fn check(references: &[Reference], names: &Names) -> Vec<ExprProblem> {
    let wrong = references.iter().filter_map(|reference| {
        let (message, hint) = missing(reference, names)?;
        Some(ExprProblem {
            at: Some(reference.at),
            scope: true,
            message,
            hint,
        })
    });
    wrong.collect()
}

fn missing(reference: &Reference, names: &Names) -> Option<(String, Option<String>)> {
    let Reference {
        root, field, inner, ..
    } = reference;
    let Some(fields) = names.names.get(root) else {
        return names.unknown(root);
    };
    let (fields, field) = (fields.as_deref()?, field.as_deref()?);
    if fields.known.contains(field) {
        // Of few fields it is known what is below them.
        let root = format!("{root}.{field}");
        let fields = names.names.get(&root)?.as_deref()?;
        return missing_field(&root, fields, inner.as_deref()?);
    }
    missing_field(root, fields, field)
}

fn missing_field(root: &str, fields: &Fields, field: &str) -> Option<(String, Option<String>)> {
    if fields.known.contains(field) {
        return None;
    }
    let hint = nearest(field, fields.iter()).map_or_else(
        || match fields.order.is_empty() {
            true => format!("`{root}` is empty"),
            false => format!("there are {}", listed(fields.iter())),
        },
        |near| format!("did you mean `{root}.{near}`?"),
    );
    Some((format!("there is no `{root}.{field}` here"), Some(hint)))
}
