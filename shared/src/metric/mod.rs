//! What is measured: the table of metrics, the histogram behind every trend, and series that merge exactly.
//!
//! Agents ship counts and histograms, never percentiles; whatever is judged is judged on the merged whole.

pub mod delta;
pub mod gauge;
pub mod histogram;
pub mod series;
pub mod snapshot;
pub mod table;

pub use delta::{DeltaError, TrendDelta};
pub use gauge::Level;
pub use histogram::{Histogram, OutOfRange};
pub use series::{Interner, LabelSet, SERIES_MAX, SeriesFull, SeriesId, SeriesKey};
pub use snapshot::{Change, Snapshot, Value};
pub use table::{Kind, LOOP_LAG_EVERY, METRICS, Metric, MetricId, RateBase, Unit, by_name};
