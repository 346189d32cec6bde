//! Names of databases, collections, fields and indexes, and the documents in them.

use mongodb::IndexModel;
use mongodb::bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use mongodb::options::IndexOptions;

use crate::hash::mix3;

pub(super) const BASE_PATHS: &str = "base_paths";
pub(super) const TASKS: &str = "tasks";

/// The collection of a base path's unrecognized recordings.
pub(super) fn unrecognized(guid: &str) -> String {
    format!("{guid}-unrecognized_recordings")
}

/// The collection of a base path's rows, which a real server does not have.
pub(super) fn rows(guid: &str) -> String {
    format!("{guid}-rows")
}

/// The fields of recordings that are indexed, each alone; only `uuid` is unique.
pub(super) const INDEXED: [&str; 4] = ["start_time", "end_time", "uuid", "deleted"];

/// The index that `missing-index` drops, by the name that MongoDB gives it: the one that lookups use.
pub(super) const START_INDEX: &str = "start_time_1";

/// The index of a field.
pub(super) fn index(field: &str) -> IndexModel {
    let options = IndexOptions::builder()
        .unique((field == "uuid").then_some(true))
        .build();
    IndexModel::builder()
        .keys(doc! { field: 1 })
        .options(options)
        .build()
}

/// A date from epoch seconds.
pub(super) fn date(seconds: u64) -> DateTime {
    let millis = i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    DateTime::from_millis(millis)
}

/// The present in epoch seconds as a date, or null.
pub(super) fn date_or_null(seconds: Option<u64>) -> Bson {
    seconds.map_or(Bson::Null, |seconds| Bson::DateTime(date(seconds)))
}

/// A recording. Its id and `uuid` follow from its start, so that loading the same range again makes the same documents.
pub(super) fn recording(start: u64, end: u64) -> Document {
    doc! {
        "_id": id(1, start),
        "uuid": uuid(start),
        "start_time": date(start),
        "end_time": date(end),
        "deleted": false,
    }
}

/// A folder in which no recording was recognized. Its id follows from its name.
pub(super) fn unrecognized_recording(prefix: &str, number: u64, at: u64) -> Document {
    doc! {
        "_id": id(mix3(2, prefix.len() as u64, 0), number),
        "folder_name": format!("{prefix}{number:06}"),
        "file_count": i64::try_from(number % 7 + 1).unwrap_or(1),
        "update_time": date(at),
    }
}

/// An id that follows from two numbers.
pub(super) fn id(kind: u64, number: u64) -> ObjectId {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&mix3(kind, number, 0x1D).to_be_bytes());
    bytes[8..].copy_from_slice(&mix3(kind, number, 0x2D).to_be_bytes()[..4]);
    ObjectId::from_bytes(bytes)
}

/// A UUID (version 4 in form) that follows from a recording's start.
pub(super) fn uuid(start: u64) -> String {
    let high = mix3(start, 3, 0);
    let low = mix3(start, 4, 0);
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xFFFF,
        high & 0xFFF,
        low >> 48 & 0x3FFF | 0x8000,
        low & 0xFFFF_FFFF_FFFF
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn documents_follow_from_their_place() {
        assert_eq!(
            recording(1_700_000_000, 1_700_000_010),
            recording(1_700_000_000, 1_700_000_010)
        );
        let ids: BTreeSet<_> = (0..10_000).map(|start| id(1, start).bytes()).collect();
        let uuids: BTreeSet<_> = (0..10_000).map(uuid).collect();
        assert_eq!((ids.len(), uuids.len()), (10_000, 10_000));
        let parts: Vec<_> = uuid(5).split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
    }

    #[test]
    fn only_the_uuid_is_unique() {
        let unique = |field| index(field).options.and_then(|options| options.unique);
        assert_eq!(INDEXED.map(unique), [None, None, Some(true), None]);
    }
}
