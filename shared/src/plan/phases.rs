//! Named spans of a run's time: `phases: { early: { from: 0s, to: 60s } }`.

use super::item::{EntryItem, Item};
use super::model::{MAX_PHASES, Phase};
use super::problem::ProblemCode;

/// The name of the phase that every scenario has by itself.
const WARM_UP: &str = "warm_up";

/// Reads `phases`. Two of one name are a key that is written twice, which is told where the text is read.
pub(super) fn read(item: Option<Item<'_>>) -> Vec<Phase> {
    let Some(item) = item else { return Vec::new() };
    let entries = item.entries();
    if entries.len() > MAX_PHASES {
        let message = format!(
            "there are {} phases, and at most {MAX_PHASES} may be",
            entries.len()
        );
        item.problem(ProblemCode::BadValue, message, "remove some of them");
        return Vec::new();
    }
    entries.into_iter().filter_map(phase).collect()
}

/// Names that thresholds may match, also of phases with other problems.
pub(super) fn names(item: Option<Item<'_>>) -> Vec<String> {
    let entries = item.map(Item::entries).unwrap_or_default();
    entries.iter().map(|entry| entry.key.to_owned()).collect()
}

fn phase(entry: EntryItem<'_>) -> Option<Phase> {
    entry.check_name();
    if entry.key == WARM_UP {
        entry.value.problem_at(
            entry.key_span,
            ProblemCode::DuplicateName,
            format!("`{WARM_UP}` is the phase of each scenario's own `warm_up`"),
            "choose another name",
        );
    }
    let time = |key: &str| entry.value.key(key).and_then(Item::duration);
    let (from, to) = (time("from")?, time("to")?);
    if from >= to {
        entry.value.problem(
            ProblemCode::Conflict,
            format!("the phase `{}` ends before it begins", entry.key),
            "let `from` be less than `to`",
        );
        return None;
    }
    Some(Phase {
        name: entry.key.to_owned(),
        position: entry.key_span.start,
        from,
        to,
    })
}
