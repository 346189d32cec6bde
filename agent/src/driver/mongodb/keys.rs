//! The keys of `mongodb` in a plan.

use testmesh_shared::plan::DriverForm;
use testmesh_shared::plan::keys::{Form, Group, Key, Keys, State};

use super::form;
use crate::driver::forms::{CONNECTIONS, TLS};

/// The driver `mongodb`.
pub(crate) static FORM: DriverForm = DriverForm {
    name: "mongodb",
    doc: "Does one operation on a MongoDB database. What is read is converted for expressions: integers are int, dates are int, in milliseconds since the Unix epoch as `now()` is, object ids are text in hex, binary values are bytes, decimals are text, regular expressions are `{pattern, options}` and timestamps `{t, i}`. What is written is extended JSON, relaxed or canonical: `{ $oid: TEXT }`, `{ $date: TEXT or milliseconds }`, `{ $numberLong: TEXT or int }`, `{ $binary: { base64: TEXT, subType: TEXT } }` and so on, so that what was read can be written back. `status` is 0, or the code of the error that the server answered with, in which case `body` is `{code, name, message}`. Nothing is tried again unless the stage says so, whatever the connection string says.",
    state: State::Built,
    stage: Form::Object(&STAGE),
    target: Some(&TARGET),
    read: form::read,
    read_target: form::read_target,
};

static TARGET: Keys = Keys {
    name: "mongodb target",
    doc: "A database of a MongoDB server, replica set or sharded cluster.",
    keys: &[
        Key::new(
            "mongodb",
            Form::Template,
            "The connection string, `mongodb://…` or `mongodb+srv://…`; its options hold, except those on retries and on the size of the pool.",
        )
        .required(),
        Key::new("database", Form::Text, "The database.").required(),
        Key::new(
            "timeout",
            Form::Duration,
            "Bounds each operation with the search for a server that can do it, beside the stage's own time-outs.",
        )
        .default("30s"),
        Key::new(
            "max_body",
            Form::Size,
            "Documents with more bytes together fail with `protocol`, code `too_large`.",
        )
        .default("4MiB"),
        Key::new(
            "connections",
            CONNECTIONS,
            "Who shares connections. `{ shared: N }` is one client for each worker thread, as an application has one, whose pool has its part of N connections: who finds none free waits, and that is in the stage's duration. Otherwise each session or virtual user has a client of its own, with up to 10 connections, and one more to each server that watches it.",
        )
        .default("{ shared: 10 }"),
        Key::new(
            "tls",
            Form::Object(&TLS),
            "How to trust the servers, and who we are, instead of what the connection string says about it.",
        ),
    ],
    groups: &[],
};

/// What a stage may do: its key, and the other keys that it takes.
pub(super) const OPERATIONS: [(&str, &[&str]); 8] = [
    ("ping", &[]),
    ("find", &["filter", "sort", "projection", "limit"]),
    ("count", &["filter", "limit"]),
    ("aggregate", &["pipeline"]),
    ("insert", &["document", "documents"]),
    ("update", &["filter", "change", "many", "upsert"]),
    ("delete", &["filter", "many"]),
    ("indexes", &[]),
];

const NAMES: &[&str] = &[
    "ping",
    "find",
    "count",
    "aggregate",
    "insert",
    "update",
    "delete",
    "indexes",
];

static STAGE: Keys = Keys {
    name: "mongodb",
    doc: "One operation. `find`, `aggregate` and `indexes` give `docs`, a list; the others give `body`, a map. Of documents that no expression reads, only number and size are looked at.",
    keys: &[
        Key::new("target", Form::Target("mongodb"), "Which database.").required(),
        Key::new(
            "ping",
            Form::Bool,
            "`true`: asks the server for a sign of life. `body` is `{ok}`.",
        ),
        Key::new(
            "find",
            Form::Template,
            "The collection whose documents are read.",
        ),
        Key::new(
            "count",
            Form::Template,
            "The collection whose documents are counted. `body` is `{count}`.",
        ),
        Key::new(
            "aggregate",
            Form::Template,
            "The collection that `pipeline` begins with.",
        ),
        Key::new(
            "insert",
            Form::Template,
            "The collection that `document` or `documents` go into. `body` is `{inserted, ids}`; a document without `_id` gets an object id.",
        ),
        Key::new(
            "update",
            Form::Template,
            "The collection in which `change` is made. `body` is `{matched, modified, upserted}`, the last of them an id or null.",
        ),
        Key::new(
            "delete",
            Form::Template,
            "The collection that loses documents. `body` is `{deleted}`.",
        ),
        Key::new(
            "indexes",
            Form::Template,
            "The collection whose indexes are listed, each with `key`, `name` and its options.",
        ),
        Key::new(
            "filter",
            Form::Json,
            "Which documents. `find` and `count` take all without it; `update` and `delete` need it, and `{}` is all.",
        ),
        Key::new("sort", Form::Json, "Their order: `{ start_time: 1 }`."),
        Key::new(
            "projection",
            Form::Json,
            "Which of their fields: `{ start_time: 1 }`.",
        ),
        Key::new(
            "limit",
            Form::Int(1, super::form::MOST_DOCUMENTS),
            "How many at most. Without it, more than 10,000 fail with `protocol`, code `too_large`.",
        ),
        Key::new("document", Form::Json, "The document to insert."),
        Key::new("documents", Form::Json, "The documents to insert, a list."),
        Key::new(
            "change",
            Form::Json,
            "What `update` does: operators such as `{ $set: { … } }`, or a pipeline.",
        ),
        Key::new(
            "pipeline",
            Form::Json,
            "The stages of the aggregation, a list.",
        ),
        Key::new(
            "many",
            Form::Bool,
            "Whether all documents of `filter` are updated or deleted, and not the first one only.",
        )
        .default("false"),
        Key::new(
            "upsert",
            Form::Bool,
            "Whether `update` inserts a document if there is none.",
        )
        .default("false"),
    ],
    groups: &[
        Group::ExactlyOne(NAMES),
        Group::AtMostOne(&["document", "documents"]),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_and_what_it_takes_is_a_key() {
        assert_eq!(OPERATIONS.map(|(name, _)| name), NAMES);
        for (name, takes) in OPERATIONS {
            for key in takes.iter().chain([&name]) {
                assert!(STAGE.key(key).is_some(), "{key}");
            }
        }
    }
}
