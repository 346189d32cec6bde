//! Looks recordings up as a real server does: storage path → `base_paths` → `guid` → the collection of that name.

use std::future::Future;

use futures_util::TryStreamExt;
use mongodb::Database;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::FindOptions;
use tracing::{Instrument, Span as TraceSpan};

use super::client::{Store, StoreError};
use super::schema::{BASE_PATHS, date};
use crate::archive::{Lookup, Recorded, Recording, Span};
use crate::limits::{MAX_JOB_RECORDINGS, MAX_RECORDINGS, MONGODB_BATCH};

const OPERATION: &str = "look up recordings in MongoDB";
/// An open recording that began longer ago is stale: nobody writes it any more, so it holds no rows.
const STALE_S: u64 = 86_400;

impl Store {
    /// What of a range was recorded; nothing, if no base path matches the storage path.
    ///
    /// # Errors
    ///
    /// MongoDB did not answer in time, or lists too many recordings. Cancel safe: it only reads.
    pub(crate) async fn recorded(&self, lookup: Lookup) -> Result<Recorded, StoreError> {
        let found = self.find(lookup, MAX_JOB_RECORDINGS).await?;
        if found.len() > MAX_JOB_RECORDINGS {
            let limit = MAX_JOB_RECORDINGS;
            return Err(StoreError::TooMany { limit });
        }
        let now_ms = lookup.now.saturating_mul(1_000);
        let spans = found.into_iter().filter_map(|found| {
            let is_stale = found.start_ms.saturating_add(STALE_S * 1_000) < now_ms;
            let to = match found.end_ms {
                Some(end) => end,
                None if is_stale => return None,
                None => now_ms,
            };
            let from = found.start_ms;
            Some(Span { from, to })
        });
        Ok(Recorded::listed(spans))
    }

    /// The recordings that touch a range, as many as an answer may list.
    ///
    /// # Errors
    ///
    /// MongoDB did not answer in time. Cancel safe: it only reads.
    pub(crate) async fn list(&self, lookup: Lookup) -> Result<Vec<Recording>, StoreError> {
        let mut found = self.find(lookup, MAX_RECORDINGS).await?;
        found.truncate(MAX_RECORDINGS);
        let recording = |found: Found| Recording {
            start: found.start_ms / 1_000,
            end: found.end_ms.map(|end| end.div_ceil(1_000)),
        };
        Ok(found.into_iter().map(recording).collect())
    }

    /// The recordings that touch a range, oldest first, at most one more than `limit`.
    async fn find(&self, lookup: Lookup, limit: usize) -> Result<Vec<Found>, StoreError> {
        let answer = async {
            tokio::time::sleep(lookup.slower).await;
            let failed = |source| StoreError::Failed {
                operation: OPERATION,
                source,
            };
            let database = self.database().await.map_err(failed)?;
            let Some(guid) = self.guid(&database).await.map_err(failed)? else {
                return Ok(Vec::new());
            };
            in_range(&database, &guid, lookup, limit)
                .await
                .map_err(failed)
        };
        self.within_patience(OPERATION, answer).await
    }

    /// The collection of the storage path's recordings; none, if no base path matches it.
    pub(super) async fn guid(&self, database: &Database) -> mongodb::error::Result<Option<String>> {
        let path = &self.config().storage_path;
        let paths = database.collection::<Document>(BASE_PATHS);
        let query = paths.find_one(doc! { "base_path": path });
        let found = spanned(database, BASE_PATHS, "find", query.into_future()).await?;
        let guid = found.and_then(|found| found.get_str("guid").ok().map(str::to_owned));
        if guid.is_none() {
            tracing::debug!(path, "no base path in MongoDB matches the storage path");
        }
        Ok(guid)
    }
}

/// What of a recording is read, in epoch milliseconds.
struct Found {
    start_ms: u64,
    end_ms: Option<u64>,
}

async fn in_range(
    database: &Database,
    guid: &str,
    lookup: Lookup,
    limit: usize,
) -> mongodb::error::Result<Vec<Found>> {
    let (start, end) = (date(lookup.start), date(lookup.end));
    // An open recording reaches to the present.
    let open = doc! { "end_time": Bson::Null };
    let ends = if lookup.start <= lookup.now {
        vec![doc! { "end_time": { "$gt": start } }, open]
    } else {
        vec![doc! { "end_time": { "$gt": start } }]
    };
    let filter = doc! { "deleted": false, "start_time": { "$lt": end }, "$or": ends };
    let options = FindOptions::builder()
        .sort(doc! { "start_time": 1 })
        .projection(doc! { "_id": 0, "start_time": 1, "end_time": 1 })
        .limit(i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX))
        .batch_size(MONGODB_BATCH)
        .build();
    let query = async {
        let recordings = database.collection::<Document>(guid);
        let mut cursor = recordings.find(filter).with_options(options).await?;
        let mut found = Vec::new();
        while let Some(document) = cursor.try_next().await? {
            // A document without a start is no recording that could be played.
            if let Some(start_ms) = millis(&document, "start_time") {
                let end_ms = millis(&document, "end_time");
                found.push(Found { start_ms, end_ms });
            }
        }
        Ok(found)
    };
    spanned(database, guid, "find", query).await
}

fn millis(document: &Document, field: &str) -> Option<u64> {
    let date = document.get_datetime(field).ok()?;
    u64::try_from(date.timestamp_millis()).ok()
}

/// An operation under a client span of its own.
pub(super) async fn spanned<T>(
    database: &Database,
    collection: &str,
    operation: &'static str,
    query: impl Future<Output = mongodb::error::Result<T>>,
) -> mongodb::error::Result<T> {
    let span = client_span(database.name(), collection, operation);
    let answer = query.instrument(span.clone()).await;
    if let Err(error) = &answer {
        span.record("error.type", tracing::field::display(&error.kind));
    }
    answer
}

/// The span of one operation, as OpenTelemetry names its fields.
pub(super) fn client_span(database: &str, collection: &str, operation: &'static str) -> TraceSpan {
    tracing::info_span!(
        "mongodb",
        otel.name = format!("{operation} {collection}"),
        otel.kind = "client",
        db.system = "mongodb",
        db.namespace = database,
        db.collection.name = collection,
        db.operation.name = operation,
        error.type = tracing::field::Empty,
    )
}
