//! The store of local runs and of tests: the last runs, in memory.
use super::contract::{RunStore, StoreError, StoredRun};
use crate::run::RunOverview;
use futures_util::future::{BoxFuture, ready};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use testmesh_shared::id::RunId;

/// Keeps a bounded number of runs. Ids of runs sort by their start, so the first one is the oldest.
#[derive(Debug)]
pub struct MemoryStore {
    most: usize,
    runs: Mutex<BTreeMap<RunId, StoredRun>>,
}

impl MemoryStore {
    /// An empty store that keeps this many runs, and at least one.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            runs: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunId, StoredRun>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunStore for MemoryStore {
    fn put(&self, run: StoredRun) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut runs = self.lock();
        runs.insert(run.overview.id.clone(), run);
        while runs.len() > self.most {
            runs.pop_first();
        }
        Box::pin(ready(Ok(())))
    }

    fn find<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Option<StoredRun>, StoreError>> {
        Box::pin(ready(Ok(self.lock().get(run).cloned())))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<RunOverview>, StoreError>> {
        let newest_first = self
            .lock()
            .values()
            .rev()
            .map(|run| run.overview.clone())
            .collect();
        Box::pin(ready(Ok(newest_first)))
    }
}
