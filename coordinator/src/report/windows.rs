//! `windows.bin`: the merged series per window, for comparison and replay.
//!
//! A MessagePack array of the magic word, the version and the windows, so that a reader can refuse what it does not
//! know before it reads further.
use super::model::Windows;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The first element of the file.
pub const MAGIC: &str = "testmesh.windows";

/// The version that this build writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// Why a `windows.bin` was not written or read.
#[derive(Debug, Error)]
pub enum WindowsError {
    /// The windows could not be encoded.
    #[error("failed to encode windows.bin")]
    Encode(#[source] rmp_serde::encode::Error),
    /// The bytes are not what this build writes.
    #[error("failed to decode windows.bin")]
    Decode(#[source] rmp_serde::decode::Error),
    /// It is another kind of file.
    #[error("not a windows.bin: it begins with `{0}`")]
    Magic(String),
    /// A newer build wrote it.
    #[error("windows.bin has version {0}, this build reads up to {VERSION}")]
    Version(u32),
}

#[derive(Serialize)]
struct Out<'a>(&'static str, u32, &'a Windows);

#[derive(Deserialize)]
struct In(String, u32, Windows);

/// Encodes the windows. Fields are named, so that fields can be added.
///
/// # Errors
/// [`WindowsError::Encode`].
pub fn encode(windows: &Windows) -> Result<Vec<u8>, WindowsError> {
    rmp_serde::to_vec_named(&Out(MAGIC, VERSION, windows)).map_err(WindowsError::Encode)
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// If the bytes are not a `windows.bin`, or one of a newer version.
pub fn decode(bytes: &[u8]) -> Result<Windows, WindowsError> {
    let In(magic, version, windows) = rmp_serde::from_slice(bytes).map_err(WindowsError::Decode)?;
    if magic != MAGIC {
        return Err(WindowsError::Magic(magic));
    }
    if version > VERSION {
        return Err(WindowsError::Version(version));
    }
    Ok(windows)
}

#[cfg(test)]
mod tests {
    use super::{MAGIC, Out, VERSION, WindowsError, decode, encode};
    use crate::report::model::{MetricKind, WindowCell, WindowSeries, Windows};

    fn windows() -> Windows {
        let trend = WindowCell::Trend {
            count: 3,
            sum_ns: 6_000,
            min_ns: 1_000,
            max_ns: 3_000,
            buckets: vec![1, 1, 2, 2],
        };
        let series = |metric: &str, kind, cells| WindowSeries {
            metric: metric.to_owned(),
            labels: [("site".to_owned(), "haifa".to_owned())].into(),
            kind,
            cells,
        };
        Windows {
            resolution_s: 10,
            series: vec![
                series(
                    "stream_rows",
                    MetricKind::Counter,
                    vec![(0, WindowCell::Counter(7)), (20, WindowCell::Counter(9))],
                ),
                series(
                    "streams_open",
                    MetricKind::Gauge,
                    vec![(10, WindowCell::Gauge(600.0))],
                ),
                series("stage_duration", MetricKind::Trend, vec![(10, trend)]),
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(decode(&encode(&windows()).unwrap()).unwrap(), windows());
    }

    #[test]
    fn strangers_are_refused() {
        assert!(matches!(
            decode(b"PK\x03\x04"),
            Err(WindowsError::Decode(_))
        ));
        let newer = rmp_serde::to_vec_named(&Out(MAGIC, VERSION + 1, &windows())).unwrap();
        assert!(matches!(decode(&newer), Err(WindowsError::Version(v)) if v == VERSION + 1));
        let other = rmp_serde::to_vec_named(&Out("other", VERSION, &windows())).unwrap();
        assert!(matches!(decode(&other), Err(WindowsError::Magic(m)) if m == "other"));
    }
}
