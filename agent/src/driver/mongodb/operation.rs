//! What a stage does: as the plan writes it, and as one try renders it.

use std::fmt;

use mongodb::bson::{Bson, Document};
use mongodb::options::UpdateModifications;
use serde_json::Value as Json;
use testmesh_shared::plan::expr::{JsonTemplate, Scope, Template};
use testmesh_shared::plan::{ErrorKind, Item, ProblemCode};

use super::extended::{self, NotBson};
use crate::driver::contract::StageError;

/// A part of an operation in extended JSON. What has no expression in it is converted once.
#[derive(Debug)]
pub(super) struct Written<T> {
    /// Its key, for messages.
    what: &'static str,
    template: JsonTemplate,
    fixed: Option<T>,
    convert: fn(&Json) -> Result<T, NotBson>,
}

impl<T: Clone> Written<T> {
    /// Reads the value behind a key. `None`: a problem was reported.
    pub(super) fn read(
        item: Item<'_>,
        what: &'static str,
        convert: fn(&Json) -> Result<T, NotBson>,
    ) -> Option<Self> {
        let template = item.json()?;
        let fixed = match template.literal().map(convert) {
            None => None,
            Some(Ok(fixed)) => Some(fixed),
            Some(Err(error)) => {
                item.problem(ProblemCode::BadValue, error.to_string(), example(what));
                return None;
            }
        };
        Some(Self {
            what,
            template,
            fixed,
            convert,
        })
    }

    fn render(&self, scope: &Scope<'_>) -> Result<T, StageError> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        let json =
            (self.template.json(scope)).map_err(|error| StageError::template(self.what, &error))?;
        (self.convert)(&json).map_err(|error| {
            let message = format!("{}: {error}", self.what);
            StageError::new(ErrorKind::Expectation, message).with_code("bad_request")
        })
    }
}

/// What is meant, for somebody who wrote something else behind this key.
fn example(what: &str) -> &'static str {
    match what {
        "change" => "write `change: { $set: { end_time: { $date: \"2026-01-31T12:00:00Z\" } } }`",
        "pipeline" => {
            "write `pipeline: [ { $match: { deleted: false } }, { $group: { _id: $uuid } } ]`"
        }
        "sort" => "write `sort: { start_time: -1, uuid: 1 }`",
        "projection" => "write `projection: { start_time: 1 }`",
        "document" => "write `document: { start_time: { $date: \"2026-01-31T12:00:00Z\" } }`",
        "documents" => "write `documents: [ { start_time: { $date: \"2026-01-31T12:00:00Z\" } } ]`",
        _ => {
            "it is extended JSON, such as `{ start_time: { $gte: { $date: \"2026-01-31T12:00:00Z\" } } }`"
        }
    }
}

/// A part that need not be there.
fn rendered<T: Clone>(
    part: Option<&Written<T>>,
    scope: &Scope<'_>,
) -> Result<Option<T>, StageError> {
    part.map(|part| part.render(scope)).transpose()
}

/// What `update` does: operators, or a pipeline.
///
/// # Errors
///
/// If it would replace the whole document, which servers refuse where several may be meant.
pub(super) fn change(json: &Json) -> Result<UpdateModifications, NotBson> {
    if json.is_array() {
        return extended::documents(json).map(UpdateModifications::Pipeline);
    }
    let document = extended::document(json)?;
    let operators = !document.is_empty() && document.keys().all(|key| key.starts_with('$'));
    if operators {
        Ok(UpdateModifications::Document(document))
    } else {
        Err(NotBson::new(
            "a change is made of operators: `{ $set: { … } }`",
        ))
    }
}

/// An operation, as the plan writes it.
#[derive(Debug)]
pub(super) enum Operation {
    Ping,
    Find {
        of: Template,
        filter: Option<Written<Document>>,
        sort: Option<Written<Document>>,
        projection: Option<Written<Document>>,
        limit: Option<u32>,
    },
    Count {
        of: Template,
        filter: Option<Written<Document>>,
        limit: Option<u32>,
    },
    Aggregate {
        of: Template,
        pipeline: Written<Vec<Document>>,
    },
    Insert {
        into: Template,
        documents: Inserted,
    },
    Update {
        of: Template,
        filter: Written<Document>,
        change: Written<UpdateModifications>,
        many: bool,
        upsert: bool,
    },
    Delete {
        of: Template,
        filter: Written<Document>,
        many: bool,
    },
    Indexes {
        of: Template,
    },
}

/// What `insert` inserts.
#[derive(Debug)]
pub(super) enum Inserted {
    One(Written<Document>),
    Several(Written<Vec<Document>>),
}

/// An operation of one try, rendered.
#[derive(Debug)]
pub(super) struct Request {
    /// Empty for a ping.
    pub(super) collection: String,
    pub(super) does: Does,
}

/// What a request asks for.
#[derive(Debug)]
pub(super) enum Does {
    Ping,
    Find {
        filter: Document,
        sort: Option<Document>,
        projection: Option<Document>,
        limit: Option<u32>,
    },
    Count {
        filter: Document,
        limit: Option<u32>,
    },
    Aggregate {
        pipeline: Vec<Document>,
    },
    Insert {
        documents: Vec<Document>,
    },
    Update {
        filter: Document,
        change: UpdateModifications,
        many: bool,
        upsert: bool,
    },
    Delete {
        filter: Document,
        many: bool,
    },
    Indexes,
}

impl Operation {
    /// What one try asks for.
    ///
    /// # Errors
    ///
    /// A template without a value, and JSON that is no BSON.
    pub(super) fn render(&self, scope: &Scope<'_>) -> Result<Request, StageError> {
        let (collection, does) = match self {
            Self::Ping => (None, Does::Ping),
            Self::Find {
                of,
                filter,
                sort,
                projection,
                limit,
            } => {
                let does = Does::Find {
                    filter: rendered(filter.as_ref(), scope)?.unwrap_or_default(),
                    sort: rendered(sort.as_ref(), scope)?,
                    projection: rendered(projection.as_ref(), scope)?,
                    limit: *limit,
                };
                (Some(of), does)
            }
            Self::Count { of, filter, limit } => {
                let does = Does::Count {
                    filter: rendered(filter.as_ref(), scope)?.unwrap_or_default(),
                    limit: *limit,
                };
                (Some(of), does)
            }
            Self::Aggregate { of, pipeline } => {
                let pipeline = pipeline.render(scope)?;
                (Some(of), Does::Aggregate { pipeline })
            }
            Self::Insert { into, documents } => {
                let documents = match documents {
                    Inserted::One(document) => vec![document.render(scope)?],
                    Inserted::Several(documents) => documents.render(scope)?,
                };
                (Some(into), Does::Insert { documents })
            }
            Self::Update {
                of,
                filter,
                change,
                many,
                upsert,
            } => {
                let does = Does::Update {
                    filter: filter.render(scope)?,
                    change: change.render(scope)?,
                    many: *many,
                    upsert: *upsert,
                };
                (Some(of), does)
            }
            Self::Delete { of, filter, many } => {
                let does = Does::Delete {
                    filter: filter.render(scope)?,
                    many: *many,
                };
                (Some(of), does)
            }
            Self::Indexes { of } => (Some(of), Does::Indexes),
        };
        let collection = match collection {
            None => String::new(),
            Some(template) => collection_name(template, scope)?,
        };
        Ok(Request { collection, does })
    }
}

/// The name of a collection.
///
/// # Errors
///
/// What no collection can be called.
pub(super) fn collection_name(
    template: &Template,
    scope: &Scope<'_>,
) -> Result<String, StageError> {
    let name = template
        .text(scope)
        .map_err(|error| StageError::template("the collection's name", &error))?;
    if name.is_empty() || name.contains(['\0', '$']) {
        let message = format!("`{name}` is no name of a collection");
        return Err(StageError::new(ErrorKind::Expectation, message).with_code("bad_request"));
    }
    Ok(name.into_owned())
}

/// `find recordings`.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.does {
            Does::Ping => return f.write_str("ping"),
            Does::Find { .. } => "find",
            Does::Count { .. } => "count",
            Does::Aggregate { .. } => "aggregate",
            Does::Insert { .. } => "insert",
            Does::Update { .. } => "update",
            Does::Delete { .. } => "delete",
            Does::Indexes => "indexes",
        };
        write!(f, "{name} {}", self.collection)
    }
}

impl Request {
    /// What is asked for, as somebody reads it who looks at a single session.
    pub(super) fn told(&self) -> String {
        let mut told = Document::new();
        let list =
            |items: &[Document]| Bson::Array(items.iter().cloned().map(Bson::Document).collect());
        match &self.does {
            Does::Ping | Does::Indexes => {}
            Does::Find {
                filter,
                sort,
                projection,
                limit,
            } => {
                told.insert("filter", filter.clone());
                let parts = [("sort", sort), ("projection", projection)];
                for (key, part) in parts {
                    if let Some(part) = part {
                        told.insert(key, part.clone());
                    }
                }
                if let Some(limit) = limit {
                    told.insert("limit", i64::from(*limit));
                }
            }
            Does::Count { filter, limit } => {
                told.insert("filter", filter.clone());
                if let Some(limit) = limit {
                    told.insert("limit", i64::from(*limit));
                }
            }
            Does::Aggregate { pipeline } => {
                told.insert("pipeline", list(pipeline));
            }
            Does::Insert { documents } => {
                told.insert("documents", list(documents));
            }
            Does::Update {
                filter,
                change,
                many,
                upsert,
            } => {
                told.insert("filter", filter.clone());
                let change = match change {
                    UpdateModifications::Document(change) => Bson::Document(change.clone()),
                    UpdateModifications::Pipeline(stages) => list(stages),
                    other => Bson::String(format!("{other:?}")),
                };
                told.insert("change", change);
                told.insert("many", *many);
                told.insert("upsert", *upsert);
            }
            Does::Delete { filter, many } => {
                told.insert("filter", filter.clone());
                told.insert("many", *many);
            }
        }
        told.to_string()
    }
}
