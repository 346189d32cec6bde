//! Jobs: their slots, ports and lives.

mod calls;
mod display;
mod job;
mod lifecycle;
mod ports;
mod registry;

pub(crate) use calls::{CallGuard, Calls};
pub(crate) use display::Display;
pub(crate) use job::{Extrema, Job};
pub(crate) use lifecycle::{Beginning, run};
pub(crate) use ports::Ports;
pub(crate) use registry::{Admission, AdmitError, OnConflict, Registry};
