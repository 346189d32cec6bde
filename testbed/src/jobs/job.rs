//! One accepted configure: what it shows, where, and the state that its calls share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use testmesh_shared::shutdown::Shutdown;
use tokio::time::Instant;

use super::calls::Calls;
use super::display::Display;
use crate::archive::Recorded;
use crate::broker::Journal;
use crate::rows::Row;
use crate::store::TaskId;

/// A job.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) slot: u16,
    /// `<slot>-<sequence>`.
    pub(crate) id: String,
    pub(crate) port: u16,
    pub(crate) display: Display,
    /// What a historic job plays, settled when it is configured.
    pub(crate) recorded: Recorded,
    /// Its document in MongoDB; none: there is no MongoDB, or a behavior forgets it.
    pub(crate) task: Option<TaskId>,
    /// What became of its commands.
    pub(crate) journal: Journal,
    /// From when on `/metadata/{job_id}` knows it.
    pub(crate) known_from: Instant,
    /// The line of the shared grid that is line 0 of a live job.
    pub(crate) first_line: u64,
    /// What configure answered, and `/metadata/{job_id}` repeats.
    pub(crate) description: Value,
    pub(crate) calls: Arc<Calls>,
    /// Drains when the job is cleaned up or the testbed ends.
    pub(crate) life: Shutdown,
    pub(crate) extrema: Extrema,
}

/// Running extrema over a job. Values are not negative, so their bits are ordered as they are.
#[derive(Debug)]
pub(crate) struct Extrema {
    least: AtomicU32,
    greatest: AtomicU32,
}

impl Extrema {
    pub(crate) fn new() -> Self {
        Self {
            least: AtomicU32::new(f32::INFINITY.to_bits()),
            greatest: AtomicU32::new(0),
        }
    }

    /// Takes a row in and returns (minimum, maximum) so far.
    pub(crate) fn take_in(&self, row: &Row) -> (f32, f32) {
        let (least, greatest) = (row.least.to_bits(), row.greatest.to_bits());
        let before = self.least.fetch_min(least, Ordering::Relaxed);
        let above = self.greatest.fetch_max(greatest, Ordering::Relaxed);
        (
            f32::from_bits(before.min(least)),
            f32::from_bits(above.max(greatest)),
        )
    }
}
