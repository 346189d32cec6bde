//! What goes on beside a stream while a driver reads it.

use std::fmt;

use futures_util::future::LocalBoxFuture;
use testmesh_shared::plan::expr::Scope;
use tokio::time::Instant;

use super::contract::StageError;

/// The stages of `during`, as a driver sees them: something that it starts once, after the first message, polls beside its
/// reads, and drops with them.
pub trait During: fmt::Debug {
    /// Runs all of it.
    ///
    /// # Errors
    ///
    /// If it failed: the driver cuts its stream and fails with the same error, which tells nothing of its own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts what still runs.
    fn run(&self) -> LocalBoxFuture<'_, Result<(), StageError>>;

    /// Whether all of it has run.
    fn is_over(&self) -> bool;

    /// When the stage of that name began; none: it did not yet.
    fn began(&self, stage: &str) -> Option<Instant>;

    /// Shows expressions what its stages have saved so far.
    fn bind(&self, layer: &mut Scope<'_>);
}
