//! Servers whose behaviour is known to the microsecond or to the byte, and the arithmetic to compare a report with it.
//!
//! They run on threads of their own in the test's process; testmesh, which they calibrate, runs in another. What a server did
//! is in its log, so that a test can tell a wrong measurement from a machine that was busy.

mod answers;
mod freeze;
mod report;
mod rows;
mod statistics;
mod streams;
mod yardstick;

pub use answers::{Answered, Answers};
pub use freeze::Freeze;
pub use report::{Reading, reading};
pub use rows::{DataFault, Place, ROWS_PER_CHUNK};
pub use statistics::{exponential, goodness_of_fit, quantile, serial_correlation};
pub use streams::{Emission, Streams, Then};
pub use yardstick::{Yardstick, loop_lateness};
