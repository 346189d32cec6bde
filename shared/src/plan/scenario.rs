//! Scenarios.

use std::time::Duration;

use super::expr::Names;
use super::item::{EntryItem, Item, is_name};
use super::load;
use super::model::{Load, Scenario, UsersUntil};
use super::problem::ProblemCode;
use super::stage::{Place, StageList};

/// How long sessions may go on after the end, unless the plan says so.
const GRACEFUL_STOP: Duration = Duration::from_secs(30);

/// Reads one scenario.
pub(super) fn read(
    entry: EntryItem<'_>,
    names: &Names,
    blocks: Option<Item<'_>>,
) -> Option<Scenario> {
    let item = entry.value;
    if !is_name(entry.key) {
        let message = format!("`{}` is not a name", entry.key);
        item.problem_at(
            entry.key_span,
            ProblemCode::BadValue,
            message,
            "names are made of letters, digits, `_`, `-` and `.`",
        );
    }
    if matches!(entry.key, "setup" | "teardown") {
        let message = format!(
            "`{}` is the scenario of the plan's own `{}` in metrics",
            entry.key, entry.key
        );
        item.problem_at(
            entry.key_span,
            ProblemCode::DuplicateName,
            message,
            "choose another name",
        );
    }
    let load = item.key("load").and_then(load::read);
    let sites = item.key("sites").map(sites).unwrap_or_default();
    let warm_up = item
        .key("warm_up")
        .map_or(Some(Duration::ZERO), Item::duration);
    let graceful_stop = item
        .key("graceful_stop")
        .map_or(Some(GRACEFUL_STOP), Item::duration);

    let mut list = StageList::new(Place::Session, names.clone(), blocks);
    let stages = item
        .key("stages")
        .map(|stages| list.read(stages))
        .unwrap_or_default();
    list.enter_cleanup();
    let cleanup = item
        .key("cleanup")
        .map(|stages| list.read(stages))
        .unwrap_or_default();
    if item
        .key("stages")
        .is_some_and(|stages| stages.items().is_empty())
    {
        item.problem_at(
            entry.key_span,
            ProblemCode::BadValue,
            "the scenario has no stages",
            "write at least one",
        );
    }
    let (load, warm_up) = (load?, warm_up?);
    if let (
        Some(at),
        Load::VirtualUsers {
            until: UsersUntil::For(time),
            ..
        },
    ) = (item.key("warm_up"), &load)
        && warm_up >= *time
    {
        at.problem(
            ProblemCode::Conflict,
            "the warm-up is as long as the load, so nothing would be judged",
            "shorten it, or lengthen `for`",
        );
    }
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

fn sites(item: Item<'_>) -> Vec<(String, u32)> {
    let mut sites = Vec::new();
    for entry in item.entries() {
        if !is_name(entry.key) {
            let message = format!("`{}` is not a name", entry.key);
            item.problem_at(
                entry.key_span,
                ProblemCode::BadValue,
                message,
                "names are made of letters, digits, `_`, `-` and `.`",
            );
        }
        if let Some(weight) = entry
            .value
            .int(1..=1_000_000)
            .and_then(|weight| u32::try_from(weight).ok())
        {
            sites.push((entry.key.to_owned(), weight));
        }
    }
    sites
}
