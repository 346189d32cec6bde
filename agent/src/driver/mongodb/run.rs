//! Does one operation, and reads what it gives up to its limits.

use futures_util::FutureExt as _;
use futures_util::future::{Either, LocalBoxFuture, select};
use mongodb::bson::{Bson, Document, RawBson, RawDocumentBuf, doc};
use mongodb::error::Error;
use mongodb::{Collection, Cursor};
use testmesh_shared::plan::ErrorKind;
use testmesh_shared::plan::expr::Value;
use tokio::time::Instant;

use super::client::Client;
use super::failure::{Refusal, failure};
use super::form::{MongodbStage, target_of};
use super::operation::{Does, Request};
use super::value;
use crate::driver::contract::{Attempt, Body, Driver, Results, StageError};
use crate::driver::limits;
use crate::driver::transcript::Said;

impl Driver for MongodbStage {
    fn results(&self) -> &'static [&'static str] {
        &["status", "body", "docs"]
    }

    fn run<'a>(
        &'a self,
        attempt: &'a Attempt<'a>,
    ) -> LocalBoxFuture<'a, Result<Results, StageError>> {
        async move {
            let limit = target_of(&self.target).timeout;
            match tokio::time::timeout(limit, self.operate(attempt)).await {
                Ok(result) => result,
                Err(_) => {
                    let message =
                        format!("no whole answer within the target's time-out of {limit:?}");
                    Err(StageError::new(ErrorKind::Timeout, message))
                }
            }
        }
        .boxed_local()
    }
}

/// What an operation gave.
enum Answer {
    Body(Value),
    Docs(Docs),
}

/// Documents that were read.
struct Docs {
    count: usize,
    /// None if nobody wants to see them.
    values: Option<Vec<Value>>,
}

/// Why an operation gave nothing.
enum Failed {
    /// The client's error, which may well be the server's answer.
    Client(Error),
    Stage(StageError),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

impl MongodbStage {
    async fn operate(&self, attempt: &Attempt<'_>) -> Result<Results, StageError> {
        let target = target_of(&self.target);
        let uri = (target.uri.text(attempt.scope))
            .map_err(|error| StageError::template("the connection string", &error))?;
        let request = self.operation.render(attempt.scope)?;
        let asked = Instant::now();
        let client = Client::open(target, &self.target.name, &uri, attempt.connections).await?;
        let doing = format!("{request} in {}", client.shown);
        if let Some(listener) = attempt.listener {
            listener.asked(&Said {
                what: &doing,
                headers: &[],
                body: &request.told(),
            });
        }
        let work = std::pin::pin!(self.ask(attempt, &client, request, asked, &doing));
        let lost = std::pin::pin!(client.health.lost(asked));
        // A server that answers in the moment that it is given up has answered.
        let answer = match select(work, lost).await {
            Either::Left((answer, _)) => answer,
            Either::Right((error, _)) => Err(Failed::Stage(StageError {
                message: format!("{doing}: {}", error.message),
                ..error
            })),
        };
        if let Some(took) = client.connects() {
            attempt.meter.connect(took);
        }
        let results = match answer {
            Ok(answer) => results(answer),
            Err(Failed::Stage(error)) => return Err(error),
            Err(Failed::Client(error)) => match Refusal::of(&error) {
                None => return Err(failure(&doing, &error)),
                Some(refusal) => refused(&refusal, &doing),
            },
        };
        attempt.meter.status(results.status.unwrap_or_default());
        tell(attempt, &results, asked);
        Ok(results)
    }

    /// Asks the server, and reads all of its answer.
    async fn ask(
        &self,
        attempt: &Attempt<'_>,
        client: &Client,
        request: Request,
        asked: Instant,
        doing: &str,
    ) -> Result<Answer, Failed> {
        let answered = || attempt.meter.first_byte(asked.elapsed());
        let of = (client.database).collection::<Document>(&request.collection);
        let map = |entries: Vec<(&'static str, Value)>| Answer::Body(Value::map(entries));
        let reading = Reading {
            doing,
            most: limits::DOCUMENTS,
            bytes: target_of(&self.target).max_body,
            keep: attempt.stage.reads("docs") || attempt.listener.is_some(),
        };
        Ok(match request.does {
            Does::Ping => {
                client.database.run_command(doc! { "ping": 1 }).await?;
                answered();
                map(vec![("ok", Value::from(true))])
            }
            find @ Does::Find { .. } => {
                let (cursor, most) = find_in(&of, find, reading.most).await?;
                answered();
                Answer::Docs(Reading { most, ..reading }.all(cursor).await?)
            }
            Does::Count { filter, limit } => {
                let count = match limit {
                    None => of.count_documents(filter).await?,
                    Some(limit) => of.count_documents(filter).limit(u64::from(limit)).await?,
                };
                answered();
                map(vec![("count", Value::from(count))])
            }
            Does::Aggregate { pipeline } => {
                let cursor = of.aggregate(pipeline).with_type::<RawDocumentBuf>().await?;
                answered();
                Answer::Docs(reading.all(cursor).await?)
            }
            Does::Indexes => {
                let list = doc! { "listIndexes": &request.collection };
                let cursor = client.database.run_cursor_command(list).await?;
                answered();
                let cursor = cursor.with_type::<RawDocumentBuf>();
                Answer::Docs(reading.all(cursor).await?)
            }
            write => {
                let body = change(&of, write).await?;
                answered();
                map(body)
            }
        })
    }
}

/// Begins to read documents, and says how many may come.
async fn find_in(
    of: &Collection<Document>,
    does: Does,
    most: usize,
) -> Result<(Cursor<RawDocumentBuf>, usize), Failed> {
    let Does::Find {
        filter,
        sort,
        projection,
        limit,
    } = does
    else {
        return Err(defect(&format!("{does:?} finds nothing")));
    };
    let raw = of.clone_with_type::<RawDocumentBuf>();
    let mut find = raw.find(filter);
    if let Some(sort) = sort {
        find = find.sort(sort);
    }
    if let Some(projection) = projection {
        find = find.projection(projection);
    }
    let most = match limit {
        None => most,
        Some(limit) => {
            find = find.limit(i64::from(limit));
            usize::try_from(limit).unwrap_or(usize::MAX)
        }
    };
    Ok((find.await?, most))
}

/// A testmesh that contradicts itself.
fn defect(message: &str) -> Failed {
    Failed::Stage(StageError::new(ErrorKind::Internal, message))
}

/// Does what changes the collection, and says what became of it.
async fn change(
    of: &Collection<Document>,
    does: Does,
) -> Result<Vec<(&'static str, Value)>, Failed> {
    Ok(match does {
        Does::Insert { documents } => {
            let done = of.insert_many(documents).await?;
            let mut ids: Vec<_> = done.inserted_ids.into_iter().collect();
            ids.sort_by_key(|(at, _)| *at);
            let count = Value::from(ids.len() as u64);
            let ids: Result<_, _> = ids.iter().map(|(_, id)| value_of(id)).collect();
            vec![("inserted", count), ("ids", Value::list(ids?))]
        }
        Does::Update {
            filter,
            change,
            many,
            upsert,
        } => {
            let done = match many {
                true => of.update_many(filter, change).upsert(upsert).await?,
                false => of.update_one(filter, change).upsert(upsert).await?,
            };
            let upserted = done.upserted_id.as_ref().map(value_of).transpose()?;
            vec![
                ("matched", Value::from(done.matched_count)),
                ("modified", Value::from(done.modified_count)),
                ("upserted", upserted.unwrap_or(Value::NULL)),
            ]
        }
        Does::Delete { filter, many } => {
            let done = match many {
                true => of.delete_many(filter).await?,
                false => of.delete_one(filter).await?,
            };
            vec![("deleted", Value::from(done.deleted_count))]
        }
        other => return Err(defect(&format!("{other:?} changes nothing"))),
    })
}

fn value_of(bson: &Bson) -> Result<Value, Failed> {
    let garbage = |reason: String| {
        Failed::Stage(StageError::new(ErrorKind::Protocol, reason).with_code("garbage"))
    };
    let raw = RawBson::try_from(bson.clone()).map_err(|error| garbage(error.to_string()))?;
    value::element(raw.as_raw_bson_ref()).map_err(|reason| garbage(format!("an id {reason}")))
}

/// How documents are read.
struct Reading<'a> {
    doing: &'a str,
    most: usize,
    bytes: usize,
    keep: bool,
}

impl Reading<'_> {
    /// Reads all documents of an answer. One that is too large is not read to its end: its cursor is closed at the server.
    async fn all(&self, mut cursor: Cursor<RawDocumentBuf>) -> Result<Docs, Failed> {
        let (mut count, mut bytes) = (0, 0);
        let mut values = self.keep.then(Vec::new);
        while cursor.advance().await? {
            let raw = cursor.current();
            count += 1;
            bytes += raw.as_bytes().len();
            if count > self.most {
                let message = format!("more than {} documents (write a `limit`)", self.most);
                return Err(self.failed("too_large", &message));
            }
            if bytes > self.bytes {
                let limit = self.bytes;
                let message =
                    format!("the documents are larger than the limit of {limit} bytes (max_body)");
                return Err(self.failed("too_large", &message));
            }
            if let Some(values) = &mut values {
                let value = value::document(raw);
                values.push(value.map_err(|reason| {
                    self.failed("garbage", &format!("document {count} {reason}"))
                })?);
            }
        }
        Ok(Docs { count, values })
    }

    fn failed(&self, code: &'static str, message: &str) -> Failed {
        let message = format!("{}: {message}", self.doing);
        Failed::Stage(StageError::new(ErrorKind::Protocol, message).with_code(code))
    }
}

fn results(answer: Answer) -> Results {
    let (body, docs) = match answer {
        Answer::Body(body) => (Body::Value(body), None),
        Answer::Docs(docs) => {
            let count = Value::from(docs.count as u64);
            let body = Value::map([("count", count)]);
            (Body::Value(body), docs.values.map(Value::list))
        }
    };
    Results {
        status: Some(0),
        body,
        docs,
        ..Results::default()
    }
}

/// The server's answer is an error. It fails the stage unless one of its expressions reads `status`.
fn refused(refusal: &Refusal, doing: &str) -> Results {
    let mut body = vec![
        ("code", Value::from(i64::from(refusal.code))),
        ("name", Value::from(refusal.name.as_str())),
        ("message", Value::from(refusal.message.as_str())),
    ];
    if let Some(index) = refusal.index {
        body.push(("index", Value::from(index as u64)));
    }
    Results {
        status: Some(i64::from(refusal.code)),
        body: Body::Value(Value::map(body)),
        docs: Some(Value::list(Vec::new())),
        failure: Some(refusal.failure(doing)),
        ..Results::default()
    }
}

fn tell(attempt: &Attempt<'_>, results: &Results, asked: Instant) {
    let Some(listener) = attempt.listener else {
        return;
    };
    let what = format!(
        "{} in {:.1?}",
        match results.status {
            None | Some(0) => "ok".to_owned(),
            Some(code) => format!("error {code}"),
        },
        asked.elapsed()
    );
    let text = match (&results.docs, &results.body) {
        (Some(docs), _) if results.failure.is_none() => docs.to_json().to_string(),
        (_, Body::Value(body)) => body.to_json().to_string(),
        _ => String::new(),
    };
    listener.answered(&Said {
        what: &what,
        headers: &[],
        body: &text,
    });
}
