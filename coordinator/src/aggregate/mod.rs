//! Merging: batches of all agents become the totals, windows, rows and findings of one run, each exactly once.
mod activity;
mod aggregator;
pub mod agree;
mod findings;
mod ingest;
mod rollup;
mod screenshots;
mod sliding;
mod totals;
mod windows;

pub use crate::phase::Span;
pub use aggregator::{Aggregator, IngestError, Taken};
pub use findings::{Findings, Novelty, Slowest};
pub use ingest::{Admission, Ingest};
pub use rollup::Rollup;
pub use sliding::{Lane, LaneWindows, Sliding, WindowSample};
pub use totals::{Extremes, Matcher, Selector, Summary, Totals, to_f64};
pub use windows::{Cell, Frozen, Windows};
