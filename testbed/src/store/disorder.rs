//! What behaviors leave in the database: an index that is missing, recordings that should not be there. Level-triggered:
//! the database is brought to what the behaviors want, from whatever state it is in, so that a testbed that was killed
//! leaves nothing behind that the next one does not mend.

use mongodb::bson::{Bson, Document, doc};
use mongodb::{Collection, Database};

use super::client::{Store, StoreError};
use super::schema::{
    INDEXED, START_INDEX, date_or_null, id, index, unrecognized, unrecognized_recording,
};
use crate::behavior::{Behavior, Kind, Strength};
use crate::limits::{LOW_RECOGNITION_MAX, LOW_RECOGNITION_STEP};
use crate::recordings::STALE_S;

/// What `low-recognition` calls its folders.
const LOW_PREFIX: &str = "testbed-low-recognition-";
const STALE_UUID: &str = "7e57bed0-0000-4000-8000-000000000117";
const NULL_UUID: &str = "7e57bed0-0000-4000-8000-000000000000";

/// What is wrong in the database on purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Disorder {
    missing_index: bool,
    stale_recording: bool,
    null_fields: bool,
    low_recognition: bool,
}

impl Disorder {
    /// What the behaviors that are on want.
    pub(super) fn of(behaviors: &[Behavior]) -> Self {
        let is_on = |kind| {
            let rate_zero = Strength::Rate(0.0);
            behaviors
                .iter()
                .any(|one| one.kind() == kind && one.strength() != rate_zero)
        };
        Self {
            missing_index: is_on(Kind::MissingIndex),
            stale_recording: is_on(Kind::StaleRecording),
            null_fields: is_on(Kind::NullFields),
            low_recognition: is_on(Kind::LowRecognition),
        }
    }
}

impl Store {
    /// Brings the collections of the storage path to a disorder, or out of it. False: no base path matches it yet.
    ///
    /// # Errors
    ///
    /// MongoDB refused or did not answer. What was done until then stays; to call it again completes it.
    pub(super) async fn bring_to(&self, wanted: Disorder, now: u64) -> Result<bool, StoreError> {
        let operation = "bring MongoDB to what the behaviors want";
        let failed = |source| StoreError::Failed { operation, source };
        let database = self.database().await.map_err(failed)?;
        let Some(guid) = self.guid(&database).await.map_err(failed)? else {
            return Ok(false);
        };
        let bring = async {
            let recordings = database.collection::<Document>(&guid);
            indexes(&recordings, wanted.missing_index).await?;
            let stale = stale_recording(now);
            present(&recordings, stale, wanted.stale_recording).await?;
            present(&recordings, null_recording(now), wanted.null_fields).await?;
            recognition(&database, &guid, wanted.low_recognition, now).await
        };
        bring.await.map_err(failed)?;
        Ok(true)
    }
}

/// All four indexes, or all but one.
async fn indexes(recordings: &Collection<Document>, missing: bool) -> mongodb::error::Result<()> {
    let fields = INDEXED
        .into_iter()
        .filter(|field| !(missing && *field == INDEXED[0]));
    recordings.create_indexes(fields.map(index)).await?;
    let names = recordings.list_index_names().await?;
    if missing && names.iter().any(|name| name == START_INDEX) {
        recordings.drop_index(START_INDEX).await?;
    }
    Ok(())
}

async fn present(
    recordings: &Collection<Document>,
    document: Document,
    wanted: bool,
) -> mongodb::error::Result<()> {
    let this = doc! { "_id": document.get("_id") };
    if wanted {
        recordings
            .update_one(this, doc! { "$setOnInsert": without_id(document) })
            .upsert(true)
            .await?;
    } else {
        recordings.delete_one(this).await?;
    }
    Ok(())
}

/// An upsert takes the id from its filter.
fn without_id(mut document: Document) -> Document {
    document.remove("_id");
    document
}

/// A recording that began 117 hours ago and that nobody closed.
fn stale_recording(now: u64) -> Document {
    doc! {
        "_id": id(3, 0),
        "uuid": STALE_UUID,
        "start_time": date_or_null(Some(now.saturating_sub(STALE_S))),
        "end_time": Bson::Null,
        "deleted": false,
    }
}

/// A recording that was closed and lacks what every recording must have: whether it is deleted.
fn null_recording(now: u64) -> Document {
    let start = now.saturating_sub(3_600);
    doc! {
        "_id": id(4, 0),
        "uuid": NULL_UUID,
        "start_time": date_or_null(Some(start)),
        "end_time": date_or_null(Some(start + 10)),
        "deleted": Bson::Null,
    }
}

/// So many unrecognized recordings that about 62 % of all are recognized, as observed; or none of them.
async fn recognition(
    database: &Database,
    guid: &str,
    low: bool,
    now: u64,
) -> mongodb::error::Result<()> {
    let folders = database.collection::<Document>(&unrecognized(guid));
    let ours = doc! { "folder_name": { "$regex": format!("^{LOW_PREFIX}") } };
    if !low {
        folders.delete_many(ours).await?;
        return Ok(());
    }
    let recognized = database.collection::<Document>(guid);
    let recognized = recognized
        .count_documents(doc! { "deleted": false })
        .await?;
    let wanted = (recognized * 6 / 10 + 1).min(LOW_RECOGNITION_MAX);
    let have = folders.count_documents(ours.clone()).await?;
    if have == wanted {
        return Ok(());
    }
    folders.delete_many(ours).await?;
    let mut numbers = 0..wanted;
    while !numbers.is_empty() {
        let step = numbers.start..wanted.min(numbers.start + LOW_RECOGNITION_STEP);
        numbers.start = step.end;
        let documents = step.map(|number| unrecognized_recording(LOW_PREFIX, number, now));
        folders.insert_many(documents).await?;
    }
    Ok(())
}
