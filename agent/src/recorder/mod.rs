//! The recorder: what one worker measured, without a lock or an atomic on the hot path.
//!
//! Each worker thread owns one [`Recorder`] per run; sessions, stages and drivers record through cheap handles
//! ([`StageMeter`], [`RowWitness`]) that share it by `Rc`. Every value is kept by the second of the run in which its stage
//! or session started, or in which a message arrived: the current second in dense arrays indexed by [`CounterId`] and
//! [`TrendId`], older seconds in a map. Once a second the worker [cuts](Recorder::cut) a [`Delta`], plain data that can
//! leave the thread; [`Merge`] adds the deltas of all workers. Deltas add up: cutting more often changes nothing.
//!
//! The one lock, in the [`Catalog`], is taken when a series is seen for the first time.

mod catalog;
mod delta;
mod finding;
mod frame;
mod gauge;
mod lag;
#[cfg(test)]
mod laws;
mod meter;
mod recording;
mod slow;
mod witness;

pub use catalog::{Catalog, CounterId, GaugeId, SeriesKey, TrendId};
pub use delta::{Delta, Merge};
pub use finding::{Finding, FindingKey, Severity};
pub use meter::{Outcome, StageMeter, StageNotes, StageSeries, outcome_word};
pub(crate) use recording::nanos;
pub use recording::{Recorder, RunClock};
pub use slow::{SlowSession, SlowStage, Slowest};
pub use witness::{GroupKey, NoRoom, RowWitness, SeenRow, SeenStream, SessionView};
