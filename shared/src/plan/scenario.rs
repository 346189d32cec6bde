//! Scenarios.

use std::time::Duration;

use super::blocks::Blocks;
use super::expr::Names;
use super::item::{EntryItem, Item};
use super::load;
use super::model::{Load, Scenario, UsersUntil};
use super::problem::ProblemCode;
use super::stage::{Place, StageList, StageNames};

/// How long sessions may go on after the end, unless the plan says so.
const GRACEFUL_STOP: Duration = Duration::from_secs(30);

/// Reads one scenario.
///
/// Names of its stages are known also where something else about it is wrong.
pub(super) fn read<'r>(
    entry: EntryItem<'r>,
    names: &Names,
    blocks: &Blocks<'r>,
    known: &mut StageNames,
) -> Option<Scenario> {
    let item = entry.value;
    check_name(entry);
    let load = item.key("load").and_then(load::read);
    let sites = item.key("sites").map(sites).unwrap_or_default();
    let duration = |key: &str, default| item.key(key).map_or(Some(default), Item::duration);
    let warm_up = duration("warm_up", Duration::ZERO);
    let graceful_stop = duration("graceful_stop", GRACEFUL_STOP);

    // Cleanup reads what any stage saved, and its names are unique with theirs.
    let mut list = StageList::new(Place::Session, names.clone(), blocks);
    let mut stages = |key: &str| {
        item.key(key)
            .map(|stages| list.read(stages))
            .unwrap_or_default()
    };
    let (stages, cleanup) = (stages("stages"), stages("cleanup"));
    let none = list.is_empty();
    list.name_stages(known);
    known.incomplete |= !item.has("stages");
    // Blocks may be empty too.
    if item
        .key("stages")
        .is_some_and(|key| none || key.items().is_empty())
    {
        let message = "the scenario has no stages";
        item.problem_at(
            entry.key_span,
            ProblemCode::BadValue,
            message,
            "write at least one",
        );
    }
    let (load, warm_up) = (load?, warm_up?);
    check_warm_up(item, &load, warm_up);
    Some(Scenario {
        name: entry.key.to_owned(),
        position: entry.key_span.start,
        load,
        sites,
        warm_up,
        graceful_stop: graceful_stop?,
        stages,
        cleanup,
    })
}

fn check_name(entry: EntryItem<'_>) {
    entry.check_name();
    if matches!(entry.key, "setup" | "teardown") {
        let key = entry.key;
        let message = format!("`{key}` is the scenario of the plan's own `{key}` in metrics");
        let hint = "choose another name";
        entry
            .value
            .problem_at(entry.key_span, ProblemCode::DuplicateName, message, hint);
    }
}

fn check_warm_up(item: Item<'_>, load: &Load, warm_up: Duration) {
    let Load::VirtualUsers {
        until: UsersUntil::For(time),
        ..
    } = load
    else {
        return;
    };
    if let Some(key) = item.key("warm_up").filter(|_| warm_up >= *time) {
        let message = "the warm-up is as long as the load, so nothing would be judged";
        key.problem(
            ProblemCode::Conflict,
            message,
            "shorten it, or lengthen `for`",
        );
    }
}

fn sites(item: Item<'_>) -> Vec<(String, u32)> {
    let mut sites = Vec::new();
    for entry in item.entries() {
        entry.check_name();
        let weight = entry.value.int(1..=1_000_000);
        if let Some(weight) = weight.and_then(|weight| u32::try_from(weight).ok()) {
            sites.push((entry.key.to_owned(), weight));
        }
    }
    sites
}
