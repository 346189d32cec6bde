//! The seam for faults: their timeline, stored reverts and leases come here.
//!
//! A run without faults has an empty timeline, which the report already carries; the wire already has `Fault` with a lease
//! and `FaultState`. What a link says of faults is accepted and told as a finding, because this build injects none.
use crate::report::model;

/// The faults of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    faults: Vec<model::Fault>,
}

impl Timeline {
    /// As the report lists them.
    pub fn report(&self) -> Vec<model::Fault> {
        self.faults.clone()
    }
}
