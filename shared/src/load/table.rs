//! The load models. A new one is one file beside this and one line here.

use super::contract::{LoadForm, LoadModel};
use super::{arrivals, once, virtual_users};
use crate::plan::keys::{Keys, State};
use crate::plan::{Item, ProblemCode};

/// Every load model, in the order of the reference.
pub static LOADS: [&LoadForm; 4] = [
    &once::FORM,
    &virtual_users::FORM,
    &arrivals::FORM,
    &not_yet(
        "capacity",
        "Searches for the highest load that keeps the thresholds.",
    ),
];

const fn not_yet(name: &'static str, doc: &'static str) -> LoadForm {
    const NONE: Keys = Keys {
        name: "load",
        doc: "",
        keys: &[],
        groups: &[],
    };
    LoadForm {
        name,
        doc,
        state: State::NotYet,
        keys: &NONE,
        read: |_| None,
    }
}

/// The load model that `load` chooses, if it chooses exactly one.
#[must_use]
pub fn chosen(item: Item<'_>) -> Option<&'static LoadForm> {
    let mut forms = LOADS.into_iter().filter(|form| item.has(form.name));
    forms.next().filter(|_| forms.next().is_none())
}

/// One session in the run: `load: once`.
pub(crate) fn once() -> Box<dyn LoadModel> {
    once::in_the_run()
}

/// Reads `load`.
pub(crate) fn read(item: Item<'_>) -> Option<Box<dyn LoadModel>> {
    if item.is_map() {
        let form = chosen(item).filter(|form| form.state == State::Built)?;
        return (form.read)(item);
    }
    let text = item.text()?;
    if text == "once" {
        return Some(once());
    }
    item.problem(
        ProblemCode::BadValue,
        format!("`{text}` is no load"),
        "write `once`, or an object: `{ virtual_users: 10, for: 30s }`, `{ arrivals: 20/s, for: 30s, max_sessions: 100 }`",
    );
    None
}
