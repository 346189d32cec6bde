//! Calibration: whether testmesh measures true.
//!
//! Each file guards one thing. A server whose behaviour is known (`testmesh_e2e::calibration`) is measured by the real
//! binaries, and the report is compared with what must come out. What is measured in real time is named `alone_…`, so that no
//! other test runs beside it; `docs/calibration.md` says which bounds are held, and how.

mod data;
mod latency;
mod ledger;
mod merge;
mod poisson;
mod rate;
mod reader;
mod stall;
mod standstill;
mod streams;

use std::path::{Path, PathBuf};

/// A plan of this suite.
fn plan(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/calibration/plans")
        .join(name)
}
