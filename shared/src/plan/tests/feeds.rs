//! Feeds: what reads them, and what is wrong with them.

use super::accept::with_stages;
use super::fake::{plan, read};
use super::refuse::check_all;
use crate::feed::{AtEnd, Order};
use crate::load::Part;

const STAGE: &str = "      - { name: a, http: { target: web, get: '/${feed.views.height}' } }\n";

fn with(feeds: &str, stages: &str) -> String {
    with_stages(stages).replacen(
        "scenarios:",
        &format!("feeds: {{ {feeds} }}\nscenarios:"),
        1,
    )
}

#[test]
fn a_feed_is_read_by_the_scenarios_that_name_it() {
    let two = with(
        "views: { file: views.csv, types: { height: int } }, users: { file: users.jsonl, order: shuffled, at_end: stop }",
        STAGE,
    ) + "  t:\n    load: { virtual_users: 5, sessions: 9 }\n    stages:\n      - { name: b, http: { target: web, get: / }, expect: \"has(feed.users.admin) || feed['users'].name == 'ann'\" }\n";
    let plan = plan(&two);
    let [views, users] = &plan.feeds[..] else {
        panic!("{:?}", plan.feeds)
    };
    assert_eq!(
        (views.order, views.at_end),
        (Order::Sequential, AtEnd::Repeat)
    );
    assert_eq!((users.order, users.at_end), (Order::Shuffled, AtEnd::Stop));
    let read = |scenario: &str| -> Vec<&str> {
        let feeds = &plan.scenario(scenario).unwrap().feeds;
        feeds.iter().map(|feed| feed.name.as_str()).collect()
    };
    assert_eq!(read("s"), ["views"]);
    // `feed['users']` reads `feed` as a whole.
    assert_eq!(read("t"), ["views", "users"]);
    let whole = Part::whole(1, 1, "t");
    let load = &plan.scenario("t").unwrap().load;
    assert_eq!(
        load.planned(&whole),
        Some(2),
        "as many as `users` has rows for"
    );
    assert_eq!(plan.files.len(), 2, "they travel with the plan");
}

#[test]
fn unique_rows_end_the_load() {
    let text = with("views: { file: views.csv, unique: true }", STAGE);
    let text = text.replacen(
        "load: once",
        "load: { arrivals: 10/s, for: 5s, max_sessions: 9 }",
        1,
    );
    let plan = plan(&text);
    let feed = &plan.feeds[0];
    assert_eq!((feed.unique, feed.at_end), (true, AtEnd::Stop));
    let load = &plan.scenarios[0].load;
    assert_eq!(load.planned(&Part::whole(1, 1, "s")), Some(2));
}

#[test]
fn a_feed_that_nobody_reads_is_noted() {
    let text = with(
        "views: { file: views.csv }",
        "      - { name: a, http: { target: web, get: / } }\n",
    );
    let (_, notes) = read(&text, &[]).unwrap();
    assert!(
        notes[0]
            .to_string()
            .contains("no scenario reads `feed.views`"),
        "{notes:?}"
    );
}

#[test]
fn what_is_wrong_with_a_feed_has_its_place_and_a_way_out() {
    let other = "  t:\n    load: once\n    stages:\n      - { name: b, http: { target: web, get: '/${feed.views.label}' } }\n";
    let cases: Vec<(String, &[&str], &[&str])> = vec![
        (
            with("views: { file: views.csv }", &STAGE.replace("height", "hight")),
            &[],
            &["13:50: not_in_scope: there is no `feed.views.hight` here (did you mean `feed.views.height`?)"],
        ),
        (
            with("view: { file: views.csv }", STAGE),
            &[],
            &["13:50: not_in_scope: there is no `feed.views` here (did you mean `feed.view`?)"],
        ),
        (
            with_stages(STAGE),
            &[],
            &["12:50: not_in_scope: `feed` is not in scope (the plan has no `feeds`)"],
        ),
        (
            with("views: { file: views.csv, unique: true }", STAGE) + other,
            &[],
            &["8:10: conflict: the scenarios s, t read this feed, whose rows are to be unique in the run (give each a feed of its own, or remove `unique`)"],
        ),
        (
            with("views: { file: views.csv, unique: true, at_end: repeat }", STAGE),
            &[],
            &["8:58: conflict: rows that come again are not unique (write `at_end: stop`, or remove `unique`)"],
        ),
        (
            with("views: { file: views.csv, order: random, unique: true }", STAGE),
            &[],
            &["8:43: conflict: sessions that draw their rows draw some of them twice, and are never at the end (write `order: shuffled`, or remove `unique` and `at_end`)"],
        ),
        (
            with("views: { file: none.csv }", STAGE),
            &[],
            &["8:25: file: `none.csv`: it has no rows (a feed needs at least one)"],
        ),
        (
            with("views: { file: torn.csv }", STAGE),
            &[],
            &["8:25: file: `torn.csv`: line 2 has 1 cells, and the first line has 2 (mend the file; cells with commas need quotes)"],
        ),
        (
            with("views: { file: a.bin }", STAGE),
            &[],
            &["8:25: file: the ending of `a.bin` says no format of rows (there are `.csv`, `.tsv`, `.json`, `.jsonl`)"],
        ),
        (
            with("views: { file: views.csv, types: { label: int } }", STAGE),
            &[],
            &["8:25: file: `views.csv`: line 2: `wide` in column `label` is no whole number (mend the file, or `types`)"],
        ),
        (
            with("views: { file: users.jsonl, types: { name: int } }", &STAGE.replace("height", "name")),
            &[],
            &["8:45: conflict: JSON has types of its own (remove `types`)"],
        ),
        (
            with("views: { file: views.csv }", STAGE)
                .replacen("scenarios:", "setup:\n  - { name: up, http: { target: web, get: '/${feed.views.height}' } }\nscenarios:", 1),
            &[],
            &["10:47: not_in_scope: `feed` is not in scope (only sessions of scenarios take rows)"],
        ),
    ];
    check_all(&cases);
}
