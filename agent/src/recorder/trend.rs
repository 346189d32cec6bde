//! Placeholder for the shared histogram.
use std::time::Duration;
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Trend { values: Vec<u64> }
impl Trend {
    pub fn record(&mut self, value: Duration) -> bool {
        let Ok(ns) = u64::try_from(value.as_nanos()) else { return false };
        self.values.push(ns);
        true
    }
    pub fn count(&self) -> u64 { self.values.len() as u64 }
    pub fn merge(&mut self, other: &Self) { self.values.extend_from_slice(&other.values); }
}
