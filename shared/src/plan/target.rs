//! Targets: each is read by its driver.

use std::sync::Arc;

use super::item::Item;
use super::keys::State;
use super::model::Target;

/// Reads `targets` into the context, where stages find them.
pub(super) fn read(item: Item<'_>) {
    for entry in item.entries() {
        entry.check_name();
        let forms = entry
            .value
            .entries()
            .into_iter()
            .filter_map(|key| item.context.form(key.key));
        let Some(form) = forms
            .into_iter()
            .next()
            .filter(|form| form.state == State::Built)
        else {
            continue;
        };
        let value = (form.read_target)(entry.value);
        // A target that could not be read is still known, or each of its stages would be a problem.
        let target = Target {
            name: entry.key.to_owned(),
            form: form.name,
            position: entry.key_span.start,
            value: value.unwrap_or_else(|| Arc::new(())),
        };
        item.context.targets.borrow_mut().push(Arc::new(target));
    }
}
