//! What a store of runs must do. The embedded and the shared database come to the same place.
use crate::report::model::Report;
use crate::run::RunOverview;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use testmesh_shared::id::RunId;

/// A sealed run.
#[derive(Clone, Debug)]
pub struct StoredRun {
    /// What lists show.
    pub overview: RunOverview,
    /// The whole result.
    pub report: Arc<Report>,
    /// The rendered files, by name.
    pub files: Arc<Vec<(String, Vec<u8>)>>,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The run could not be kept.
    #[error("failed to store run {run}")]
    Put {
        /// The run.
        run: RunId,
        /// What the store says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What reverts a fault could not be kept or forgotten.
    #[error("failed to store what reverts a fault of run {run}")]
    Revert {
        /// The run.
        run: RunId,
        /// What the store says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A fault that was, or is about to be, injected and is not known to be reverted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRevert {
    /// The run.
    pub run: RunId,
    /// The fault's name in the plan.
    pub fault: String,
    /// How a person reverts it.
    pub by_hand: String,
}

/// Keeps sealed runs.
///
/// The laws that every store keeps, and that `store/laws.rs` tests: what was put is found by its id, whole; a run that is
/// put again replaces itself; lists are sorted, the newest first; a store that is full forgets the oldest run; `put` has
/// happened when its future is done. A revert is kept, once for each run and fault, until it is dropped.
pub trait RunStore: Send + Sync + std::fmt::Debug {
    /// Keeps a run.
    fn put(&self, run: StoredRun) -> BoxFuture<'_, Result<(), StoreError>>;

    /// A run by its id.
    fn find<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Option<StoredRun>, StoreError>>;

    /// Keeps what reverts a fault.
    fn put_revert(&self, revert: StoredRevert) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Forgets it: the fault is reverted.
    fn drop_revert<'a>(
        &'a self,
        run: &'a RunId,
        fault: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// What is left to be reverted of a run, by the fault's name.
    fn reverts<'a>(
        &'a self,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<Vec<StoredRevert>, StoreError>>;

    /// Every run that is kept, the newest first.
    fn list(&self) -> BoxFuture<'_, Result<Vec<RunOverview>, StoreError>>;
}
