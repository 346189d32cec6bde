//! `feeds: { views: { file: views.csv, unique: true } }`: files whose rows sessions take.

use std::sync::Arc;

use super::expr::Names;
use super::item::{EntryItem, Item};
use super::keys::{Form, Key, Keys};
use super::model::Scenario;
use super::problem::ProblemCode;
use super::vars::is_identifier;
use crate::feed::{AtEnd, Feed, Format, Kind, Order, Table};

const ORDERS: &[&str] = &["sequential", "shuffled", "random"];
const ENDS: &[&str] = &["repeat", "stop"];

/// One feed.
pub(super) static FEED: Keys = Keys {
    name: "feed",
    doc: "A file whose rows sessions take: each session of a scenario that reads `feed.NAME.COLUMN` takes one row, which is the same for all its stages. Which one follows from the session's number, so that all agents together take the rows that one agent would take.",
    groups: &[],
    keys: &[
        Key::new(
            "file",
            Form::File,
            "`.csv` or `.tsv`, whose first line names the columns; `.json`, a list of objects; `.jsonl`, an object on each line.",
        )
        .required(),
        Key::new(
            "types",
            Form::Map(&Form::Word(Kind::WORDS)),
            "Types of columns of a CSV file, whose cells are text otherwise.",
        ),
        Key::new(
            "order",
            Form::Word(ORDERS),
            "`sequential`: session i takes row i. `shuffled`: the same, in an order that follows from the run's seed. `random`: each session draws a row from the seed, whatever others drew.",
        )
        .default("sequential"),
        Key::new(
            "unique",
            Form::Bool,
            "No two sessions of the run, on whatever agents, take the same row. One scenario may read such a feed.",
        )
        .default("false"),
        Key::new(
            "at_end",
            Form::Word(ENDS),
            "What follows when there is no row for a session's number: `repeat` takes the first again, `stop` starts no session with such a number. With `stop` a load ends with its rows, and whatever its `for` says: arrivals after as many, a virtual user after its share of them (session i belongs to user i mod N). A scenario `after` it waits for its planned end all the same. The default is `repeat`, and `stop` with `unique`.",
        ),
    ],
};

/// Reads `feeds`.
pub(super) fn read(item: Option<Item<'_>>) -> Vec<Arc<Feed>> {
    let entries = item.map(Item::entries).unwrap_or_default();
    entries.into_iter().filter_map(feed).map(Arc::new).collect()
}

fn feed(entry: EntryItem<'_>) -> Option<Feed> {
    let item = entry.value;
    if !is_identifier(entry.key) {
        let message = format!("`{}` cannot be read as `feed.…`", entry.key);
        let hint = "names of feeds are made of letters, digits and `_`";
        item.problem_at(entry.key_span, ProblemCode::BadValue, message, hint);
    }
    let order = item
        .key("order")
        .map_or(Some("sequential"), |key| key.word(ORDERS));
    let order = order.map(|word| match word {
        "shuffled" => Order::Shuffled,
        "random" => Order::Random,
        _ => Order::Sequential,
    });
    let unique = item.key("unique").map_or(Some(false), Item::bool);
    let at_end = item.key("at_end").map(|key| key.word(ENDS));
    let table = table(item);
    let (order, unique) = (order?, unique?);
    let at_end = match at_end {
        Some(word) if word? == "stop" => AtEnd::Stop,
        Some(_) => AtEnd::Repeat,
        None if unique => AtEnd::Stop,
        None => AtEnd::Repeat,
    };
    check(item, order, unique, at_end);
    Some(Feed {
        name: entry.key.to_owned(),
        table: table?,
        order,
        unique,
        at_end,
    })
}

fn table(item: Item<'_>) -> Option<Table> {
    let kinds = item.key("types").map(Item::entries).unwrap_or_default();
    let kinds: Vec<_> = kinds
        .into_iter()
        .map(|entry| {
            let kind = entry.value.word(Kind::WORDS).and_then(Kind::of)?;
            Some((entry.key.to_owned(), kind))
        })
        .collect();
    let key = item.key("file")?;
    let file = key.file();
    let kinds: Option<Vec<_>> = kinds.into_iter().collect();
    let (kinds, file) = (kinds?, file?);
    let Some(format) = Format::of(&file.path) else {
        let message = format!("the ending of `{}` says no format of rows", file.path);
        let hint = format!("there are {}", Format::ENDINGS);
        key.problem(ProblemCode::File, message, hint);
        return None;
    };
    if let Some(types) = item.key("types").filter(|_| !format.is_text()) {
        let hint = "remove `types`";
        types.problem(ProblemCode::Conflict, "JSON has types of its own", hint);
        return None;
    }
    match Table::read(format, &file.bytes, &kinds) {
        Ok(table) => Some(table),
        Err(problem) => {
            let message = format!("`{}`: {problem}", file.path);
            key.problem(ProblemCode::File, message, problem.hint);
            None
        }
    }
}

fn check(item: Item<'_>, order: Order, unique: bool, at_end: AtEnd) {
    let at = |key| item.key(key).unwrap_or(item);
    if order == Order::Random && (unique || at_end == AtEnd::Stop) {
        let message =
            "sessions that draw their rows draw some of them twice, and are never at the end";
        let hint = "write `order: shuffled`, or remove `unique` and `at_end`";
        at("order").problem(ProblemCode::Conflict, message, hint);
    } else if unique && at_end == AtEnd::Repeat {
        let message = "rows that come again are not unique";
        let hint = "write `at_end: stop`, or remove `unique`";
        at("at_end").problem(ProblemCode::Conflict, message, hint);
    }
}

/// Lets sessions read the feeds. Those that could not be read may have any column.
pub(super) fn name(item: Option<Item<'_>>, feeds: &[Arc<Feed>], names: &mut Names) {
    let entries = item.map(Item::entries).unwrap_or_default();
    if entries.is_empty() {
        names.explain("feed", "the plan has no `feeds`");
        return;
    }
    names.add_fields("feed", entries.iter().map(|entry| entry.key));
    for feed in feeds {
        names.add_fields(format!("feed.{}", feed.name), feed.table.columns());
    }
}

/// A feed whose rows are unique in the run is for one scenario, and each is for one at least.
pub(super) fn check_readers(item: Option<Item<'_>>, feeds: &[Arc<Feed>], scenarios: &[Scenario]) {
    for feed in feeds {
        let Some(entry) = item.and_then(|item| item.entry(&feed.name)) else {
            continue;
        };
        let readers: Vec<&str> = scenarios
            .iter()
            .filter(|scenario| scenario.feeds.iter().any(|read| read.name == feed.name))
            .map(|scenario| scenario.name.as_str())
            .collect();
        if readers.is_empty() {
            let message = format!("no scenario reads `feed.{}`", feed.name);
            entry.value.note(message, "remove it, or read its columns");
        } else if feed.unique && readers.len() > 1 {
            let message = format!(
                "the scenarios {} read this feed, whose rows are to be unique in the run",
                readers.join(", ")
            );
            let hint = "give each a feed of its own, or remove `unique`";
            entry
                .value
                .problem_at(entry.key_span, ProblemCode::Conflict, message, hint);
        }
    }
}
