//! The walk of a plan beside the table of keys: unknown, missing, mistyped and not-yet keys.
//!
//! It sees the whole plan, also what readers never reach because something around it is wrong.
//! Readers may find the same problem again; one of each is kept.

use super::item::Item;
use super::keys::{Form, Group, Keys, Need, State};
use super::nearest::nearest;
use super::problem::{Problem, ProblemCode, Span};
use super::table::STAGE;
use super::yaml::{Entry, NodeKind};
use crate::load::table::{self, LOADS};

/// The keys of a stage that are no driver's but stand for one.
const COMPOSITES: [&str; 3] = ["repeat", "parallel", "use"];

/// Walks a value that should have that form.
pub(super) fn walk(item: Item<'_>, form: &Form) {
    match form {
        Form::Name => {
            let _ = item.name();
        }
        Form::Text => {
            let _ = item.text();
        }
        Form::Bool => {
            let _ = item.bool();
        }
        Form::Int(least, most) => {
            let _ = item.int(*least..=*most);
        }
        Form::Duration => {
            let _ = item.duration();
        }
        Form::Size => {
            let _ = item.size();
        }
        Form::Share => {
            let _ = item.share();
        }
        Form::Rate => {
            let _ = item.rate();
        }
        Form::Word(words) => {
            let _ = item.word(words);
        }
        Form::FieldPath => {
            let _ = item.field_path();
        }
        Form::File | Form::Target(_) => {
            let _ = item.text();
        }
        // Compiled by the readers, which know the names in scope.
        Form::Template | Form::Expr | Form::Json | Form::Value => {}
        Form::List(of) => match &item.node.kind {
            NodeKind::List(items) => items.iter().for_each(|node| walk(item.at(node), of)),
            NodeKind::Scalar { .. } if item.node.is_null() => {}
            NodeKind::Scalar { .. } | NodeKind::Map(_) => item.wrong_type("a list"),
        },
        Form::Map(of) => {
            if expect_map(item) {
                item.node
                    .entries()
                    .iter()
                    .for_each(|entry| walk(item.at(&entry.value), of));
            }
        }
        Form::Object(keys) => object(item, keys),
        Form::Either(forms) => either(item, forms),
        Form::Stage => stage(item),
        Form::TargetDefinition => target(item),
        Form::Load => load(item),
    }
}

fn expect_map(item: Item<'_>) -> bool {
    if !item.is_map() && !item.node.is_null() {
        item.wrong_type("a map");
    }
    item.is_map()
}

fn either(item: Item<'_>, forms: &[Form]) {
    let fits = |form: &&Form| match &item.node.kind {
        NodeKind::Map(_) => matches!(
            form,
            Form::Object(_) | Form::Map(_) | Form::Json | Form::Value
        ),
        NodeKind::List(_) => matches!(form, Form::List(_) | Form::Json | Form::Value),
        NodeKind::Scalar { .. } => !matches!(form, Form::Object(_) | Form::Map(_) | Form::List(_)),
    };
    match forms.iter().find(fits).or_else(|| forms.first()) {
        Some(form) => walk(item, form),
        None => item.wrong_type("another value"),
    }
}

fn object(item: Item<'_>, keys: &Keys) {
    if !item.is_map() {
        item.wrong_type("a map");
        return;
    }
    for entry in item.node.entries() {
        match keys.key(&entry.key) {
            Some(key) if key.state == State::NotYet => not_yet(item, entry, &entry.key),
            Some(key) => walk(item.at(&entry.value), &key.form),
            None => unknown(item, entry, keys.name, keys.keys.iter().map(|key| key.name)),
        }
    }
    required(item, keys);
    for group in keys.groups {
        check_group(item, keys, *group);
    }
}

fn required(item: Item<'_>, keys: &Keys) {
    for key in keys.keys.iter().filter(|key| key.need == Need::Required) {
        if !item.has(key.name) {
            let message = format!("{} needs the key `{}`", named(keys.name), key.name);
            item.problem_at(head(item), ProblemCode::MissingKey, message, key.doc);
        }
    }
}

fn check_group(item: Item<'_>, keys: &Keys, group: Group) {
    let (names, needed) = match group {
        Group::ExactlyOne(names) => (names, true),
        Group::AtMostOne(names) => (names, false),
    };
    let found: Vec<&Entry> = item
        .node
        .entries()
        .iter()
        .filter(|entry| names.contains(&entry.key.as_str()))
        .collect();
    match found.as_slice() {
        [] if needed => {
            let message = format!("{} needs one of {}", named(keys.name), listed(names));
            item.problem_at(
                head(item),
                ProblemCode::MissingKey,
                message,
                "write exactly one of them",
            );
        }
        [] | [_] => {}
        [first, second, ..] => exclude(item, first, second),
    }
}

fn exclude(item: Item<'_>, first: &Entry, second: &Entry) {
    let message = format!("`{}` and `{}` exclude each other", first.key, second.key);
    item.problem_at(
        second.key_span,
        ProblemCode::Conflict,
        message,
        "remove one of them",
    );
}

fn stage(item: Item<'_>) {
    if !item.is_map() {
        item.wrong_type("a stage");
        return;
    }
    let mut doing: Vec<&Entry> = Vec::new();
    for entry in item.node.entries() {
        let form = item.context.form(&entry.key);
        if form.is_some() || COMPOSITES.contains(&entry.key.as_str()) {
            doing.push(entry);
        }
        match (form, STAGE.key(&entry.key)) {
            (Some(form), _) if form.state == State::NotYet => not_yet(item, entry, form.name),
            (Some(form), _) => walk(item.at(&entry.value), &form.stage),
            (None, Some(key)) => walk(item.at(&entry.value), &key.form),
            (None, None) => {
                let drivers = item.context.forms.iter().map(|form| form.name);
                unknown(
                    item,
                    entry,
                    "stage",
                    drivers.chain(STAGE.keys.iter().map(|key| key.name)),
                );
            }
        }
    }
    match doing.as_slice() {
        [] => {
            let drivers: Vec<&str> = item
                .context
                .forms
                .iter()
                .map(|form| form.name)
                .chain(COMPOSITES)
                .collect();
            let message = "a stage needs a driver, or `repeat`, `parallel` or `use`";
            item.problem_at(
                head(item),
                ProblemCode::MissingKey,
                message,
                format!("write one of {}", listed(&drivers)),
            );
        }
        [_] => {}
        [first, second, ..] => {
            let message = format!(
                "a stage does one thing, not `{}` and `{}`",
                first.key, second.key
            );
            item.problem_at(
                second.key_span,
                ProblemCode::Conflict,
                message,
                "write two stages",
            );
        }
    }
    if !item.has("name") && !item.has("use") {
        item.problem_at(
            head(item),
            ProblemCode::MissingKey,
            "a stage needs the key `name`",
            "names label a stage's metrics",
        );
    }
}

fn load(item: Item<'_>) {
    // What is no map is a word, which its reader knows.
    if !item.is_map() {
        return;
    }
    let names: Vec<&str> = LOADS.iter().map(|form| form.name).collect();
    let chosen: Vec<&Entry> = (item.node.entries().iter())
        .filter(|entry| names.contains(&entry.key.as_str()))
        .collect();
    match chosen.as_slice() {
        [] => {
            // A name that nearly is one says what was meant.
            let keys = || {
                LOADS
                    .iter()
                    .flat_map(|form| form.keys.keys)
                    .map(|key| key.name)
            };
            let entries = item.node.entries().iter();
            for entry in entries.filter(|entry| !keys().any(|key| key == entry.key)) {
                unknown(item, entry, "load", names.iter().copied().chain(keys()));
            }
            let message = format!("`load` needs one of {}", listed(&names));
            item.problem_at(
                head(item),
                ProblemCode::MissingKey,
                message,
                "write exactly one of them",
            );
        }
        [entry] => match table::chosen(item) {
            Some(form) if form.state == State::NotYet => not_yet(item, entry, form.name),
            Some(form) => object(item, form.keys),
            None => {}
        },
        [first, second, ..] => exclude(item, first, second),
    }
}

fn target(item: Item<'_>) {
    if !item.is_map() {
        item.wrong_type("a target");
        return;
    }
    let mut forms = item
        .node
        .entries()
        .iter()
        .filter_map(|entry| Some((entry, item.context.form(&entry.key)?)));
    let Some((entry, form)) = forms.next() else {
        let drivers: Vec<&str> = item
            .context
            .forms
            .iter()
            .filter(|form| form.target.is_some())
            .map(|form| form.name)
            .collect();
        let message = "a target needs the key of its driver";
        item.problem_at(
            head(item),
            ProblemCode::MissingKey,
            message,
            format!("write one of {}", listed(&drivers)),
        );
        return;
    };
    match form.target {
        _ if form.state == State::NotYet => not_yet(item, entry, form.name),
        Some(keys) => object(item, keys),
        None => {
            let message = format!("`{}` has no targets", form.name);
            item.problem_at(
                entry.key_span,
                ProblemCode::UnknownKey,
                message,
                "write the address into its stages",
            );
        }
    }
}

fn not_yet(item: Item<'_>, entry: &Entry, what: &str) {
    let message = format!("this build knows `{what}`, but does not run it yet");
    item.problem_at(
        entry.key_span,
        ProblemCode::NotYet,
        message,
        "remove it, or use a build that runs it",
    );
}

fn unknown<'a>(
    item: Item<'_>,
    entry: &Entry,
    object: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) {
    let message = format!("{} has no key `{}`", named(object), entry.key);
    let near = nearest(&entry.key, known.clone());
    let hint = near.map_or_else(
        || format!("it has {}", listed(&known.collect::<Vec<_>>())),
        |near| format!("did you mean `{near}`?"),
    );
    item.context
        .report(Problem::new(entry.key_span, ProblemCode::UnknownKey, message).hint(hint));
}

/// Where to point at when something is not in an object: its first key, or its start.
fn head(item: Item<'_>) -> Span {
    item.node
        .entries()
        .first()
        .map_or(item.node.span, |entry| entry.key_span)
}

fn named(object: &str) -> String {
    format!("`{object}`")
}

fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
