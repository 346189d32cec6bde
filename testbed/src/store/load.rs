//! `focus-server recordings load`: fills MongoDB with recordings, and with the rows of a view for plans to compare with.
//!
//! Loading the same again changes nothing: what lies in the range, and what is of the same view, is replaced.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, ensure};
use mongodb::bson::{Document, doc};
use mongodb::{Collection, Database};
use serde::Serialize;
use testmesh_shared::shutdown::Tasks;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::client::{Store, StoreConfig};
use super::schema::{
    BASE_PATHS, INDEXED, date, index, recording, rows as rows_of, unrecognized,
    unrecognized_recording,
};
use crate::archive::{Recorded, Span};
use crate::limits::{LOAD_BATCH, LOAD_BATCHES_AHEAD, LOAD_TIMEOUT, MAX_LOADED};
use crate::rows::{RowDigest, digests};
use crate::server_uri::ServerUri;
use crate::view::View;

/// What `--unrecognized` calls its folders.
const FOLDER_PREFIX: &str = "recording-";

/// What to load, and where.
#[derive(Debug)]
pub struct Load {
    /// The server.
    pub mongodb: ServerUri,
    /// The database.
    pub database: String,
    /// The base path whose recordings they are.
    pub storage_path: String,
    /// The collection of a base path that is not there yet.
    pub guid: String,
    /// Epoch seconds of the recordings, their end not included.
    pub range: Range<u64>,
    /// Length of one recording in seconds.
    pub length: u64,
    /// Folders in which no recording was recognized.
    pub unrecognized: u64,
    /// Whether everything of the base path is removed before.
    pub before: Before,
    /// The view whose rows are listed beside the recordings.
    pub(crate) view: Option<(String, View)>,
}

/// What happens to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// What is in the way is replaced, all else is kept.
    Keep,
    /// The collections of the base path are dropped.
    Drop,
}

/// What was loaded.
#[derive(Debug, Serialize)]
pub struct Loaded {
    database: String,
    base_path: String,
    guid: String,
    recordings: u64,
    unrecognized: u64,
    /// The view of the rows, if there are any.
    view: Option<String>,
    /// Rows of each stream.
    rows: Vec<u64>,
    /// Seconds that it took.
    elapsed: f64,
}

/// Hears how far it is: what is loaded, how many, of how many.
pub type Progress<'a> = &'a (dyn Fn(&str, u64, u64) + Sync);

/// Loads it.
///
/// # Errors
///
/// MongoDB refused or did not answer, or the range is too long. What was loaded until then stays.
///
/// # Cancel safety
///
/// As after an error.
pub async fn load(load: Load, tasks: &Tasks, progress: Progress<'_>) -> anyhow::Result<Loaded> {
    let start = Instant::now();
    let count = load
        .range
        .end
        .saturating_sub(load.range.start)
        .div_ceil(load.length);
    ensure!(
        count > 0 && count <= MAX_LOADED && load.unrecognized <= MAX_LOADED,
        "there must be from 1 to {MAX_LOADED} recordings, not {count}: change --from, --to or --length"
    );
    let config = StoreConfig {
        uri: load.mongodb.clone(),
        database: load.database.clone(),
        storage_path: load.storage_path.clone(),
        patience: LOAD_TIMEOUT,
    };
    // Nothing is queued by a loader.
    let (store, _) = Store::new(config, 0).await?;
    let database = timeout(LOAD_TIMEOUT, store.database())
        .await
        .context("the name of MongoDB's host was not looked up in time")??;
    let guid = base_path(&store, &database, &load).await?;
    let recordings = recordings(&database, &guid, &load, count, progress).await?;
    let unrecognized = unrecognized_folders(&database, &guid, &load, progress).await?;
    let (view, rows) = match load.view {
        Some((name, view)) => {
            let span = Span {
                from: load.range.start.saturating_mul(1_000),
                to: load.range.end.saturating_mul(1_000),
            };
            let rows = rows(
                &database,
                &guid,
                (&name, Arc::new(view)),
                span,
                (tasks, progress),
            )
            .await?;
            (Some(name), rows)
        }
        None => (None, Vec::new()),
    };
    Ok(Loaded {
        database: load.database,
        base_path: load.storage_path,
        guid,
        recordings,
        unrecognized,
        view,
        rows,
        elapsed: start.elapsed().as_secs_f64(),
    })
}

/// The base path's collection: the one that is there, else a new one.
async fn base_path(store: &Store, database: &Database, load: &Load) -> anyhow::Result<String> {
    let found = timeout(LOAD_TIMEOUT, store.guid(database))
        .await
        .context("MongoDB does not answer")?
        .context("failed to read base_paths")?;
    let guid = found.clone().unwrap_or_else(|| load.guid.clone());
    if load.before == Before::Drop {
        for name in [guid.clone(), unrecognized(&guid), rows_of(&guid)] {
            let dropped = database.collection::<Document>(&name).drop().await;
            dropped.with_context(|| format!("failed to drop {name}"))?;
        }
    }
    if found.is_none() {
        let document = doc! { "base_path": &load.storage_path, "guid": &guid, "is_archive": false };
        let inserted = database.collection(BASE_PATHS).insert_one(document).await;
        inserted.context("failed to write base_paths")?;
    }
    let collection = database.collection::<Document>(&guid);
    let indexed = collection.create_indexes(INDEXED.map(index)).await;
    indexed.with_context(|| format!("failed to create the indexes of {guid}"))?;
    Ok(guid)
}

async fn recordings(
    database: &Database,
    guid: &str,
    load: &Load,
    count: u64,
    progress: Progress<'_>,
) -> anyhow::Result<u64> {
    let collection = database.collection::<Document>(guid);
    let (from, to) = (date(load.range.start), date(load.range.end));
    let in_the_way = doc! { "start_time": { "$gte": from, "$lt": to } };
    let removed = collection.delete_many(in_the_way).await;
    removed.context("failed to remove the recordings of the range")?;
    let documents = (0..count).map(|number| {
        let start = load.range.start + number * load.length;
        recording(start, (start + load.length).min(load.range.end))
    });
    insert(&collection, documents, count, ("recordings", progress)).await
}

async fn unrecognized_folders(
    database: &Database,
    guid: &str,
    load: &Load,
    progress: Progress<'_>,
) -> anyhow::Result<u64> {
    let collection = database.collection::<Document>(&unrecognized(guid));
    let ours = doc! { "folder_name": { "$regex": format!("^{FOLDER_PREFIX}") } };
    let removed = collection.delete_many(ours).await;
    removed.context("failed to remove unrecognized recordings")?;
    let count = load.unrecognized;
    let documents =
        (0..count).map(|number| unrecognized_recording(FOLDER_PREFIX, number, load.range.start));
    let about = ("unrecognized recordings", progress);
    insert(&collection, documents, count, about).await
}

async fn insert(
    collection: &Collection<Document>,
    mut documents: impl Iterator<Item = Document>,
    count: u64,
    (what, progress): (&str, Progress<'_>),
) -> anyhow::Result<u64> {
    let mut inserted = 0;
    loop {
        let batch: Vec<_> = documents.by_ref().take(LOAD_BATCH).collect();
        if batch.is_empty() {
            return Ok(inserted);
        }
        let length = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        put(collection, batch).await?;
        inserted += length;
        progress(what, inserted, count);
    }
}

async fn put(collection: &Collection<Document>, batch: Vec<Document>) -> anyhow::Result<()> {
    let name = collection.name();
    timeout(
        LOAD_TIMEOUT,
        collection.insert_many(batch).ordered(false).into_future(),
    )
    .await
    .with_context(|| format!("MongoDB took more than {LOAD_TIMEOUT:?} for a batch of {name}"))?
    .with_context(|| format!("failed to insert into {name}"))?;
    Ok(())
}

/// The rows of a view, stream after stream: `{view, stream, key, digest}`.
async fn rows(
    database: &Database,
    guid: &str,
    (name, view): (&str, Arc<View>),
    recorded: Span,
    (tasks, progress): (&Tasks, Progress<'_>),
) -> anyhow::Result<Vec<u64>> {
    let collection = database.collection::<Document>(&rows_of(guid));
    let removed = collection.delete_many(doc! { "view": name }).await;
    removed.context("failed to remove the rows of the view")?;
    let order = mongodb::IndexModel::builder()
        .keys(doc! { "view": 1, "stream": 1, "key": 1 })
        .build();
    let indexed = collection.create_index(order).await;
    indexed.context("failed to create the index of the rows")?;
    let mut counts = Vec::new();
    for stream in 0..view.streams.len() {
        let stream = u32::try_from(stream).context("too many streams")?;
        let (batches, mut computed) = mpsc::channel(LOAD_BATCHES_AHEAD);
        let of = (Arc::clone(&view), name.to_owned());
        // Hashing every row takes as long as inserting it: both at once.
        let computing = tasks.spawn_blocking("rows", move || {
            compute(&of.0, &of.1, stream, recorded, &batches)
        });
        let mut count = 0;
        while let Some(batch) = computed.recv().await {
            count += u64::try_from(batch.len()).unwrap_or(u64::MAX);
            put(&collection, batch).await?;
            progress(&format!("rows of stream {stream}"), count, 0);
        }
        computing.await.context("failed to compute the rows")??;
        counts.push(count);
    }
    Ok(counts)
}

/// Computes a stream's rows, until nobody takes them any more.
fn compute(
    view: &View,
    name: &str,
    stream: u32,
    recorded: Span,
    batches: &mpsc::Sender<Vec<Document>>,
) -> anyhow::Result<()> {
    let recorded = Recorded::listed([recorded]);
    let mut rows = digests(view, stream, &recorded)?;
    loop {
        let document = |RowDigest { key, digest }| {
            doc! {
                "_id": format!("{name}/{stream}/{key}"),
                "view": name,
                "stream": i64::from(stream),
                "key": i64::try_from(key).unwrap_or(i64::MAX),
                "digest": format!("{digest:016x}"),
            }
        };
        let batch: Vec<_> = rows.by_ref().take(LOAD_BATCH).map(document).collect();
        if batch.is_empty() || batches.blocking_send(batch).is_err() {
            return Ok(());
        }
    }
}
