//! Scenarios.

use std::sync::Arc;
use std::time::Duration;

use super::blocks::Blocks;
use super::expr::Names;
use super::item::{EntryItem, Item};
use super::model::{Begin, Scenario};
use super::nearest::nearest;
use super::problem::ProblemCode;
use super::stage::{Place, StageList, StageNames};
use crate::feed::Feed;
use crate::load::{LoadModel, Part, table};

/// How long sessions may go on after the end, unless the plan says so.
const GRACEFUL_STOP: Duration = Duration::from_secs(30);

/// Reads one scenario.
///
/// Names of its stages are known also where something else about it is wrong.
pub(super) fn read<'r>(
    entry: EntryItem<'r>,
    names: &Names,
    blocks: &Blocks<'r>,
    feeds: &[Arc<Feed>],
    known: &mut StageNames,
) -> Option<Scenario> {
    let item = entry.value;
    // What was read elsewhere is not this scenario's.
    item.context.take_read_feeds(&[]);
    check_name(entry);
    let load = item.key("load").and_then(table::read);
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
    let feeds = item.context.take_read_feeds(feeds);
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
    let begin = match item.key("after") {
        Some(after) => after.name().map(Begin::After),
        None => duration("start", Duration::ZERO).map(Begin::At),
    };
    let (mut load, warm_up) = (load?, warm_up?);
    check_warm_up(item, load.as_ref(), warm_up);
    let shortest = feeds
        .iter()
        .filter_map(|feed| Some((feed.sessions()?, &feed.name)));
    if let Some((most, feed)) = shortest.min() {
        let whole = Part::whole(1, 0, entry.key);
        if load.planned(&whole).is_none_or(|planned| planned > most) {
            let message = format!("the load ends with the {most} rows of `feed.{feed}`");
            item.note(
                message,
                "write `at_end: repeat` to go on with the first row",
            );
        }
        load = load.at_most(most);
    }
    Some(Scenario {
        name: entry.key.to_owned(),
        position: entry.key_span.start,
        load,
        feeds,
        begin: begin?,
        sites,
        warm_up,
        graceful_stop: graceful_stop?,
        stages,
        cleanup,
    })
}

fn check_name(entry: EntryItem<'_>) {
    entry.check_name();
    if matches!(entry.key, "setup" | "teardown" | "faults") {
        let key = entry.key;
        let message = format!("`{key}` is the scenario of the plan's own `{key}` in metrics");
        let hint = "choose another name";
        entry
            .value
            .problem_at(entry.key_span, ProblemCode::DuplicateName, message, hint);
    }
}

fn check_warm_up(item: Item<'_>, load: &dyn LoadModel, warm_up: Duration) {
    let end = load.end().unwrap_or(Duration::MAX);
    if let Some(key) = item.key("warm_up").filter(|_| warm_up >= end) {
        let message = "the warm-up is as long as the load, so nothing would be judged";
        key.problem(
            ProblemCode::Conflict,
            message,
            "shorten it, or lengthen the load",
        );
    }
}

/// When a scenario begins, since the run's start; none if that is not known beforehand.
pub(super) fn begins(scenarios: &[Scenario], scenario: &Scenario) -> Option<Duration> {
    let mut begins = Duration::ZERO;
    let mut at = scenario;
    // One that comes back to itself was refused; it has no time here.
    for _ in 0..=scenarios.len() {
        match &at.begin {
            Begin::At(start) => return begins.checked_add(*start),
            Begin::After(name) => {
                at = scenarios.iter().find(|one| one.name == *name)?;
                begins = begins.checked_add(at.load.end()?)?;
            }
        }
    }
    None
}

/// Checks who waits for whom. `entries` are the plan's scenarios.
pub(super) fn check_order(scenarios: &[Scenario], entries: &[EntryItem<'_>]) {
    for scenario in scenarios {
        let Begin::After(name) = &scenario.begin else {
            continue;
        };
        let entry = entries.iter().find(|entry| entry.key == scenario.name);
        let Some(key) = entry.and_then(|entry| entry.value.key("after")) else {
            continue;
        };
        let names = || entries.iter().map(|entry| entry.key);
        if !names().any(|known| known == name) {
            let hint = nearest(name, names()).map_or_else(
                || format!("there are {}", names().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            key.problem(
                ProblemCode::UnknownName,
                format!("there is no scenario `{name}`"),
                hint,
            );
            continue;
        }
        if waits_for_itself(scenarios, scenario) {
            key.problem(
                ProblemCode::Cycle,
                "scenarios wait for each other",
                "let one of them `start` at a time",
            );
        } else if begins(scenarios, scenario).is_none() {
            check_waiting(scenarios, scenario, key, entry.map(|entry| entry.value));
        }
    }
}

fn waits_for_itself(scenarios: &[Scenario], scenario: &Scenario) -> bool {
    let mut at = scenario;
    for _ in 0..=scenarios.len() {
        let Begin::After(name) = &at.begin else {
            return false;
        };
        match scenarios.iter().find(|one| one.name == *name) {
            Some(next) => at = next,
            None => return false,
        }
    }
    true
}

/// A scenario that waits for one without a planned end waits on each agent by itself, and begins at a time that nobody knows
/// beforehand.
fn check_waiting(
    scenarios: &[Scenario],
    scenario: &Scenario,
    after: Item<'_>,
    item: Option<Item<'_>>,
) {
    let Begin::After(name) = &scenario.begin else {
        return;
    };
    let awaited = scenarios.iter().find(|one| one.name == *name);
    if awaited.is_some_and(|awaited| awaited.sites != scenario.sites) {
        after.problem(
            ProblemCode::Conflict,
            format!("`{name}` ends by its number of sessions, on each agent by itself, and runs at other sites"),
            "give both the same `sites`, or give it an end in time",
        );
    }
    if let Some(key) = item
        .and_then(|item| item.key("warm_up"))
        .filter(|_| !scenario.warm_up.is_zero())
    {
        key.problem(
            ProblemCode::Conflict,
            format!(
                "nobody knows beforehand when `{name}` ends, so its warm-up is no span of the run"
            ),
            "give the scenario before it an end in time, or remove `warm_up`",
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
