//! What is read from the keys of `mongodb`.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::Document;
use testmesh_shared::plan::expr::{EvalError, Scope, Template};
use testmesh_shared::plan::form::STAGE_TIMEOUT;
use testmesh_shared::plan::{DriverStage, Item, Pool, ProblemCode, Target as Named};

use super::client;
use super::extended;
use super::keys::OPERATIONS;
use super::operation::{Inserted, Operation, Written, change};
use crate::driver::contract::Drives;
use crate::driver::forms;
use crate::driver::limits;
use crate::driver::transport::Tls;

/// What `limit` may be, at most: more are no answer that expressions could be about.
pub(super) const MOST_DOCUMENTS: i64 = 1_000_000;

/// A database.
#[derive(Debug)]
pub(crate) struct Target {
    pub(super) uri: Uri,
    pub(super) database: String,
    /// Bounds each operation.
    pub(super) timeout: Duration,
    pub(super) max_body: usize,
    pub(super) connections: Pool,
    /// The plan's own words about TLS.
    pub(super) tls: Option<Tls>,
}

/// A connection string: known when the plan is loaded, unless a secret is in it.
pub(super) enum Uri {
    Known(String),
    Secret(Template),
}

/// Without the connection string, which may well have a password in it.
impl std::fmt::Debug for Uri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(_) => f.write_str("Known"),
            Self::Secret(template) => f.debug_tuple("Secret").field(template).finish(),
        }
    }
}

impl Uri {
    pub(super) fn text(&self, scope: &Scope<'_>) -> Result<Cow<'_, str>, EvalError> {
        match self {
            Self::Known(uri) => Ok(Cow::Borrowed(uri)),
            Self::Secret(template) => template.text(scope),
        }
    }
}

/// A stage with an operation.
#[derive(Debug)]
pub(super) struct MongodbStage {
    pub(super) target: Arc<Named>,
    pub(super) operation: Operation,
}

/// The database behind a name.
pub(super) fn target_of(named: &Named) -> &Target {
    named
        .value()
        .expect("a target of `mongodb` was read by `mongodb`")
}

pub(super) fn read_target(item: Item<'_>) -> Option<Arc<dyn Any + Send + Sync>> {
    let uri = item.key("mongodb").and_then(|uri| read_uri(item, uri));
    let database = item.key("database").and_then(read_database);
    let timeout = forms::optional(item, "timeout", Item::duration);
    let max_body = forms::size(item, "max_body", limits::BODY_BYTES);
    let connections = forms::connections(item, Pool::Shared(limits::MONGODB_CONNECTIONS));
    // Whether the certificates can be used at all.
    let valid = forms::tls(item, &[]);
    let tls = forms::optional(item, "tls", forms::read_tls);
    valid?;
    Some(Arc::new(Target {
        uri: uri?,
        database: database?,
        timeout: timeout?.unwrap_or(STAGE_TIMEOUT),
        max_body: max_body?,
        connections: connections?,
        tls: tls?,
    }))
}

fn read_uri(target: Item<'_>, item: Item<'_>) -> Option<Uri> {
    let template = item.template()?;
    if template.is_secret() {
        return Some(Uri::Secret(template));
    }
    let text = item.text()?;
    match client::parse(&text) {
        Ok(parsed) => {
            if let Some(tls) = target.key("tls").filter(|_| !client::speaks_tls(&parsed)) {
                let message = "the connection string does not ask for TLS, and `tls` says only how";
                let hint = "write `tls=true` in it, or remove `tls`";
                tls.problem(ProblemCode::Conflict, message, hint);
                return None;
            }
            Some(Uri::Known(text.into_owned()))
        }
        Err(reason) => {
            let hint = "write mongodb://[USER:PASSWORD@]HOST:PORT[/][?OPTION=VALUE]";
            let message = format!("the connection string {reason}");
            item.problem(ProblemCode::BadValue, message, hint);
            None
        }
    }
}

fn read_database(item: Item<'_>) -> Option<String> {
    let name = item.text()?;
    // What servers refuse on any system.
    if name.is_empty() || name.len() > 63 || name.contains(['/', '\\', '.', ' ', '"', '$', '\0']) {
        let message = format!("`{name}` is no name of a database");
        let hint = "names have 1 to 63 characters, and none of / \\ . \" $ and space";
        item.problem(ProblemCode::BadValue, message, hint);
        return None;
    }
    Some(name.into_owned())
}

pub(super) fn read(item: Item<'_>) -> Option<Box<dyn DriverStage>> {
    let target = item
        .key("target")
        .and_then(|target| target.target("mongodb"));
    let (name, takes) = OPERATIONS.into_iter().find(|(name, _)| item.has(name))?;
    let fits = check_keys(item, name, takes);
    let operation = read_operation(item, name);
    let target = target?;
    fits?;
    Some(Drives::stage(MongodbStage {
        target,
        operation: operation?,
    }))
}

/// Refuses keys that other operations have.
fn check_keys(item: Item<'_>, name: &str, takes: &[&str]) -> Option<()> {
    let mut fits = Some(());
    let others = OPERATIONS.iter().flat_map(|(_, takes)| takes.iter());
    let mut told = Vec::new();
    for key in others.filter(|key| !takes.contains(*key)) {
        let Some(value) = item.key(key).filter(|_| !told.contains(key)) else {
            continue;
        };
        told.push(*key);
        let hint = match takes {
            [] => format!("remove it: `{name}` takes nothing else"),
            takes => format!("remove it: `{name}` takes {}", listed(takes)),
        };
        value.problem(
            ProblemCode::Conflict,
            format!("`{name}` has no `{key}`"),
            hint,
        );
        fits = None;
    }
    fits
}

fn listed(keys: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    keys.join(", ")
}

/// The value of a key that the operation needs.
fn needed<'r, T>(
    item: Item<'r>,
    operation: &str,
    key: &str,
    read: impl FnOnce(Item<'r>) -> Option<T>,
) -> Option<T> {
    let Some(value) = item.key(key) else {
        let hint = match key {
            "filter" => "write which documents; `{}` is all of them",
            "change" => "write what to do with them: `{ $set: { … } }`",
            _ => "write it beside the collection",
        };
        let message = format!("`{operation}` needs the key `{key}`");
        item.problem(ProblemCode::MissingKey, message, hint);
        return None;
    };
    read(value)
}

/// A part in extended JSON that need not be there.
fn written(item: Item<'_>, key: &'static str) -> Option<Option<Written<Document>>> {
    forms::optional(item, key, |value| {
        Written::read(value, key, extended::document)
    })
}

fn needed_filter(item: Item<'_>, operation: &str) -> Option<Written<Document>> {
    needed(item, operation, "filter", |value| {
        Written::read(value, "filter", extended::document)
    })
}

fn flag(item: Item<'_>, key: &str) -> Option<bool> {
    Some(forms::optional(item, key, Item::bool)?.unwrap_or_default())
}

fn limit(item: Item<'_>) -> Option<Option<u32>> {
    let limit = forms::optional(item, "limit", |limit| limit.int(1..=MOST_DOCUMENTS))?;
    Some(limit.and_then(|limit| u32::try_from(limit).ok()))
}

/// Reads an operation. All parts are read before any is missed, so that all problems are found.
fn read_operation(item: Item<'_>, name: &str) -> Option<Operation> {
    if name == "ping" {
        return read_ping(item.key(name)?);
    }
    let of = item.key(name).and_then(Item::template);
    Some(match name {
        "find" => {
            let (filter, sort) = (written(item, "filter"), written(item, "sort"));
            let (projection, limit) = (written(item, "projection"), limit(item));
            Operation::Find {
                of: of?,
                filter: filter?,
                sort: sort?,
                projection: projection?,
                limit: limit?,
            }
        }
        "count" => {
            let (filter, limit) = (written(item, "filter"), limit(item));
            Operation::Count {
                of: of?,
                filter: filter?,
                limit: limit?,
            }
        }
        "aggregate" => {
            let pipeline = needed(item, name, "pipeline", |value| {
                Written::read(value, "pipeline", extended::documents)
            });
            Operation::Aggregate {
                of: of?,
                pipeline: pipeline?,
            }
        }
        "insert" => {
            let documents = read_inserted(item);
            Operation::Insert {
                into: of?,
                documents: documents?,
            }
        }
        "update" => {
            let filter = needed_filter(item, name);
            let change = needed(item, name, "change", |value| {
                Written::read(value, "change", change)
            });
            let (many, upsert) = (flag(item, "many"), flag(item, "upsert"));
            Operation::Update {
                of: of?,
                filter: filter?,
                change: change?,
                many: many?,
                upsert: upsert?,
            }
        }
        "delete" => {
            let (filter, many) = (needed_filter(item, name), flag(item, "many"));
            Operation::Delete {
                of: of?,
                filter: filter?,
                many: many?,
            }
        }
        _ => Operation::Indexes { of: of? },
    })
}

fn read_ping(item: Item<'_>) -> Option<Operation> {
    if item.bool()? {
        return Some(Operation::Ping);
    }
    item.problem(
        ProblemCode::BadValue,
        "a stage that does not ping does nothing",
        "write `ping: true`, or remove the stage",
    );
    None
}

fn read_inserted(item: Item<'_>) -> Option<Inserted> {
    if let Some(document) = item.key("document") {
        let document = Written::read(document, "document", extended::document)?;
        return Some(Inserted::One(document));
    }
    if let Some(documents) = item.key("documents") {
        let convert = |json: &serde_json::Value| {
            let documents = extended::documents(json)?;
            match documents.is_empty() {
                false => Ok(documents),
                true => Err(extended::NotBson::new("there is no document in it")),
            }
        };
        let documents = Written::read(documents, "documents", convert)?;
        return Some(Inserted::Several(documents));
    }
    item.problem(
        ProblemCode::MissingKey,
        "`insert` needs the key `document` or `documents`",
        "write the document beside the collection",
    );
    None
}
