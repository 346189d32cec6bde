//! What a driver brings to the plan format: its keys, and how they are read.

use std::any::Any;
use std::fmt::Debug;

/// What a driver read from one stage.
pub trait DriverStage: Any + Debug + Send + Sync {
    /// For the driver to find its own type again.
    fn as_any(&self) -> &dyn Any;

    /// Whether the stage has a stream: it then has no default time-out as a whole, but one to the
    /// first message and one between two.
    fn streams(&self) -> bool {
        false
    }
}

/// One driver's part of the plan format.
#[derive(Debug)]
pub struct DriverForm {
    /// The key in a stage, and in a target: `http`.
    pub name: &'static str,
}
